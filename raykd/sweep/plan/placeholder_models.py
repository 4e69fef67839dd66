"""Models that runs have yet to make, as directories that hold all but the values of weights.

What is found out before a sweep starts needs configurations and tokenizers only. So a run's
checkpoints stand in for themselves before they exist, and a plan is the same before and after.
"""

import copy
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from transformers import PreTrainedConfig

from raykd.config.schema.run import RunConfig
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.setup import RunSetup
from raykd.models.build import build_model, class_fields
from raykd.models.files import (
    PROJECTIONS_FILE,
    WEIGHTS_FILE,
    config_with_languages,
    languages_of,
)
from raykd.models.parts import distinct_tensors
from raykd.models.stored import write_hollow
from raykd.runs.paths import run_paths
from raykd.storage import uris


class PlaceholderModels:
    """Directories that stand in for the models of runs, all their checkpoints alike."""

    def __init__(self, directory: Path) -> None:
        """Keep them in an empty directory."""
        self._directory = directory
        self._paths: dict[str, str] = {}
        """By the URI of the run."""

        self._made: dict[str, str] = {}
        """The same by what is written there."""

    @property
    def empty_uri(self) -> str:
        """A directory where nothing is: a run with its output there is at its first step."""
        return str(self._directory / "runs")

    def add(self, setup: RunSetup, student: PreTrainedConfig) -> None:
        """Stand in for the models of a run.

        Args:
            setup: The run and its data.
            student: The transformers configuration of its student.
        """
        run, config = setup.config, as_trained(setup, student)
        # Hundreds of trials have a handful of models: those of one kind have one directory.
        kind = repr((run.data.uri, run.task, config.to_json_string()))
        if kind not in self._made:
            self._made[kind] = self._written(run, config)
        self._paths[run_paths(run).run] = self._made[kind]

    def _written(self, run: RunConfig, config: PreTrainedConfig) -> str:
        """Write the model of a run, all but the values of its weights; return its directory."""
        path = self._directory / f"model-{len(self._made)}"
        with uris.local_copy(uris.join(run.data.uri, TOKENIZER_DIRECTORY)) as tokenizer:
            shutil.copytree(tokenizer, path)
        # On the meta device tensors have shapes and no memory: a model of any size is planned on a
        # laptop.
        with torch.device("meta"):
            model = build_model(config, run.task)
        # Who loads a model tells its head, and so its task, by the name of the class.
        config.architectures = [type(model).__name__]
        config.save_pretrained(path)
        # Whoever plans looks at the names and the shapes of weights, and reads none.
        shapes = {name: tensor.shape for name, tensor in distinct_tensors(model).items()}
        write_hollow(path / WEIGHTS_FILE, shapes)
        write_hollow(path / PROJECTIONS_FILE, {})
        return str(path)

    def applied(self, config: RunConfig) -> RunConfig:
        """Return a run that names the placeholders where it names models of their runs."""
        student = config.student
        if student.pretrained is not None:
            student = replace(student, pretrained=self._of(student.pretrained))
        if student.init is not None and (source := student.init.method.source) is not None:
            student = replace(student, init=student.init.with_source(self._of(source)))
        teachers = {
            name: replace(teacher, model=teacher.model and self._of(teacher.model))
            for name, teacher in config.teachers.items()
        }
        return replace(config, student=student, teachers=teachers)

    def named(self, text: str) -> str:
        """Return a message with the runs in place of what stands in for them."""
        for run_uri, path in self._paths.items():
            text = text.replace(path, run_uri)
        return text

    def _of(self, uri: str) -> str:
        # The run itself, or what is in it at any depth.
        parts = uri.split("/")
        runs = ("/".join(parts[:depth]) for depth in range(len(parts), 0, -1))
        return next((self._paths[run] for run in runs if run in self._paths), uri)


@contextmanager
def placeholder_models() -> Iterator[PlaceholderModels]:
    """Yield placeholders that are there while the block runs."""
    with tempfile.TemporaryDirectory(prefix="raykd-") as directory:
        yield PlaceholderModels(Path(directory))


def as_trained(setup: RunSetup, student: PreTrainedConfig) -> PreTrainedConfig:
    """Return the configuration that is saved with the student of a run."""
    # update() writes into the configuration that the plan of the run keeps.
    described = copy.deepcopy(student)
    if setup.labels is not None:
        described.update(class_fields(setup.labels))
    languages = None
    if setup.config.student.projections == "per_language":
        known = languages_of(student) or ()
        languages = tuple(dict.fromkeys((*known, *setup.trained_languages)))
    return config_with_languages(described, languages)
