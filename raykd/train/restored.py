"""What can be done with a run that has trained: score its model, export it."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from transformers import PreTrainedConfig, PreTrainedModel

from raykd.config.inputs import DATA
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.config.yaml_text import read_yaml
from raykd.data.manifest import read_manifest
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.distill.assemble import assemble
from raykd.distill.setup import RunSetup, read_setup
from raykd.distill.world import World
from raykd.errors import CheckpointError, ConfigError, DataError, RaykdError
from raykd.models.files import languages_of
from raykd.models.fingerprint import RUN, STEP
from raykd.models.labels import label_list, shown_labels
from raykd.models.load import load_config, load_model, model_files
from raykd.models.per_language import PerLanguageModel, TaskModel, single_language_model
from raykd.runs.checkpoint import (
    KIND,
    model_checkpoint,
    restore_checkpoint,
)
from raykd.runs.export import KIND as MODEL
from raykd.runs.export import ExportedModel, export_model
from raykd.runs.exported import check_alone, check_loads
from raykd.runs.inputs import changed_inputs, with_absolute_paths
from raykd.runs.metrics import Record, scores_of
from raykd.runs.paths import RunPaths
from raykd.storage import uris
from raykd.storage.published import layout
from raykd.storage.published.directory import read_published
from raykd.storage.published.ownership import require_place
from raykd.tasks.entities import why_no_entities

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A run and one of its checkpoints."""

    paths: RunPaths
    config: RunConfig
    checkpoint_uri: str
    step: int

    @property
    def student_uri(self) -> str:
        """The student and its tokenizer, as a directory of transformers."""
        return uris.join(self.checkpoint_uri, layout.STUDENT)

    @property
    def labels(self) -> tuple[str, ...] | None:
        """The classes that the student scores; None for a language model."""
        return None if self.config.task.endswith("_lm") else label_list(self.saved_config)

    @property
    def saved_config(self) -> PreTrainedConfig:
        """The transformers configuration of the student."""
        return load_config(self.student_uri)


def evaluate_run(
    uri: str,
    *,
    data_uri: str | None,
    split: str | None,
    on_change: Callable[[str], None] = logger.warning,
) -> Record:
    """Return the metrics of a run's model, as far as it has trained, or of one of its checkpoints.

    Args:
        uri: Directory of a run or of a checkpoint.
        data_uri: Prepared data to score on; the run's own where None.
        split: Split to score; the run's ``data.eval_split`` where None.
        on_change: Told in a line each which data or teachers are not what the run was trained on.

    Raises:
        ConfigError: There is no run at the URI.
        CheckpointError: The run has no valid checkpoint.
        DataError: The data was prepared with another tokenizer, or has other classes.
    """
    place = _find(uri)
    config = place.config
    if data_uri is not None:
        config = _on_other_data(config, uris.absolute(data_uri))
    changes = changed_inputs(config)
    for line in changes:
        on_change(line)
    setup = read_setup(config)
    if changes or data_uri is not None:
        _check_same_ids(setup, place)
    languages = languages_of(place.saved_config)
    # With the projections of the checkpoint: the data may lack languages that it was trained on.
    run = assemble(setup, world=World(), is_restored=True, languages=languages)
    restore_checkpoint(place.checkpoint_uri, run.state)
    labels = run.task.class_names or ()
    if run.task.name == "token_classification" and (reason := why_no_entities(labels)):
        logger.warning("%s", reason)
    return run.named(run.evaluate(split))


def export_run(
    uri: str,
    output_uri: str,
    *,
    language: str | None = None,
    overwrites: bool = False,
    checks: bool = True,
) -> int:
    """Publish the model of a run or checkpoint; return the step it stands at.

    The checkpoint alone decides what is published, whatever became of data and teachers.

    Args:
        uri: Directory of a run or of a checkpoint.
        output_uri: Directory to appear.
        language: Of a student with a projection per language, the one whose plain model is
            published; None publishes the student as it is.
        overwrites: Whether a model that was published there is replaced.
        checks: Whether the model is loaded by transformers alone and compared with the
            student before it is published; that takes the memory of a second one.

    Raises:
        PublicationError: Something else is at the output, or lies around it.
        ConfigError: There is no run at the URI, or its student has one projection for all.
        CheckpointError: The run has no valid checkpoint.
        ModelError: The student has no projection for the language, or transformers reads what
            is to be published otherwise than it was trained.
    """
    require_place(output_uri, kind=MODEL, overwrites=overwrites)
    place = _find(uri)
    config, step = place.config, place.step
    model = load_model(place.student_uri, config.task, labels=place.labels, new_head="refused")
    if language is not None:
        model = _of_language(model, language)
    with uris.local_copy(place.student_uri) as path:
        exported = ExportedModel(
            model=model_files(model),
            config=config,
            companions=path,
            metrics=scores_of(place.paths.metrics, step),
            origin={RUN: place.paths.name, STEP: step} if language is None else {},
        )
        check = partial(_check_exported, place=place, model=model) if checks else None
        export_model(exported, output_uri, overwrites=overwrites, check=check)
    return step


def written_config(paths: RunPaths) -> RunConfig:
    """Return the configuration that a run was started with.

    Raises:
        ConfigError: There is no run.
    """
    if paths.run.endswith((".yaml", ".yml")):
        message = (
            f"{paths.run}: is a file, not the directory of a run; raykd check names that of a run "
            "file, such as runs/NAME-1a2b3c4d"
        )
        raise ConfigError(message)
    try:
        given = read_yaml(uris.read_bytes(paths.config).decode())
    except FileNotFoundError as error:
        message = (
            f"{paths.run}: is no run: it holds no run.yaml; name what raykd train printed (the "
            "directory of a sweep is for raykd report)"
        )
        raise ConfigError(message) from error
    return with_absolute_paths(checked_run(given, origin=paths.config))


def _find(uri: str) -> _Place:
    parent, _, _ = uri.rstrip("/").rpartition("/checkpoints/")
    paths = RunPaths(parent or uri.rstrip("/"))
    config = written_config(paths)
    checkpoint = uri if parent else model_checkpoint(paths, keep=config.train.keep)
    if checkpoint is None:
        message = f"{uri}: the run has no valid checkpoint yet"
        raise CheckpointError(message)
    published = read_published(checkpoint, kind=KIND)
    step = int(published.content[STEP])
    return _Place(paths=paths, config=config, checkpoint_uri=checkpoint, step=step)


def _on_other_data(config: RunConfig, uri: str) -> RunConfig:
    """Return a run as far as its models are scored on data that may lack some languages.

    Unigrams are left out: they say how often labels are right in the run's own data.
    """
    there = read_manifest(uri).languages
    teachers = {
        name: replace(
            teacher,
            languages=None
            if teacher.languages is None
            else tuple(language for language in teacher.languages if language in there),
        )
        for name, teacher in config.teachers.items()
        if teacher.unigram is None
    }
    return replace(
        config,
        # Nor is anything trained on them: their training split is read whole.
        data=replace(config.data, uri=uri, fraction=1.0),
        teachers=teachers,
        # Weights count in training alone, and may name languages that are not there.
        teacher_weights=None,
        # What was pinned of the run's own data says nothing of these.
        inputs={key: held for key, held in config.inputs.items() if key != DATA},
    )


def _check_same_ids(setup: RunSetup, place: _Place) -> None:
    """Refuse data whose token ids or classes mean something else to the model."""
    manifest = setup.manifest
    tokenizer = tokenizer_info(load_tokenizer(place.student_uri))
    if manifest.tokenizer.fingerprint != tokenizer.fingerprint:
        message = (
            f"{manifest.uri}: was prepared with another tokenizer than that of the run; prepare "
            f"it with --tokenizer {place.student_uri}"
        )
        raise DataError(message)
    theirs, mine = setup.labels, place.labels
    if theirs != mine:
        message = (
            f"{manifest.uri}: has {shown_labels(theirs)}, but the run was trained on "
            f"{shown_labels(mine)}; prepare it with the run's --label-type, and --labels in this "
            "order"
        )
        raise DataError(message)


def _check_exported(path: Path, *, place: _Place, model: TaskModel) -> None:
    """Compare an exported directory with the student, on rows of the run's data if it is there."""
    try:
        setup = read_setup(place.config)
        _check_same_ids(setup, place)
    except RaykdError as error:
        logger.warning(
            "the exported model is loaded, but not tried on rows of its data: %s", error
        )
        check_loads(path, place.config.task)
        return
    check_alone(path, model, setup)


def _of_language(model: TaskModel, language: str) -> PreTrainedModel:
    if not isinstance(model, PerLanguageModel):
        message = f"--language {language}: the student has one projection for all languages"
        raise ConfigError(message)
    return single_language_model(model, language)
