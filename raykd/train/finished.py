"""What can be done with a run that has trained: score its model, export it."""

import logging
from dataclasses import dataclass, replace
from functools import partial

from raykd import storage
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.config.yaml_text import read_yaml
from raykd.data.manifest import Manifest, read_manifest
from raykd.distill.assemble import assemble
from raykd.distill.distillation import Distillation
from raykd.distill.models import scored, trained_languages
from raykd.distill.world import World
from raykd.errors import CheckpointError, ConfigError, DataError
from raykd.models.load import model_files
from raykd.models.per_language import PerLanguageModel, single_language_model
from raykd.models.scored import ScoredModel
from raykd.published.directory import read_published
from raykd.tasks.entities import why_no_entities
from raykd.train.checkpoint import KIND, newest_valid_checkpoint, restore_checkpoint
from raykd.train.export import export_model
from raykd.train.metrics import Record, read_metrics
from raykd.train.paths import RunPaths, located
from raykd.train.student.alone import check_alone
from raykd.train.student.companions import companions_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """A run and one of its checkpoints."""

    paths: RunPaths
    config: RunConfig
    checkpoint_uri: str


def evaluate_run(uri: str, *, data_uri: str | None, split: str | None) -> Record:
    """Return the metrics of a run's newest checkpoint, or of the checkpoint that is named.

    Args:
        uri: Directory of a run or of a checkpoint.
        data_uri: Prepared data to score on; the run's own where None.
        split: Split to score; the run's ``data.eval_split`` where None.

    Raises:
        ConfigError: There is no run at the URI.
        CheckpointError: The run has no valid checkpoint.
        DataError: The other data was prepared with another tokenizer, or has other classes.
    """
    place = _find(uri)
    config = place.config
    if data_uri is not None:
        config = _on_other_data(config, storage.absolute(data_uri))
    run = _restored(config, place)
    labels = run.task.class_names or ()
    if run.task.name == "token_classification" and (reason := why_no_entities(labels)):
        logger.warning("%s", reason)
    return run.named(run.evaluate(split))


def export_run(
    uri: str, output_uri: str, *, language: str | None = None, checks: bool = True
) -> int:
    """Publish the model of a run or checkpoint; return the step it stands at.

    Args:
        uri: Directory of a run or of a checkpoint.
        output_uri: Directory to appear.
        language: Of a student with a projection per language, the one whose plain model is
            published; None publishes the student as it is.
        checks: Whether the model is loaded by transformers alone and compared with the
            student before it is published; that takes the memory of a second one.

    Raises:
        ConfigError: There is no run at the URI, or its student has one projection for all.
        CheckpointError: The run has no valid checkpoint.
        ModelError: The student has no projection for the language, or transformers reads what
            is to be published otherwise than it was trained.
    """
    place = _find(uri)
    run = _restored(place.config, place)
    student = run.student if language is None else _of_language(run, language)
    records = [r for r in read_metrics(place.paths.metrics) if r["step"] == run.state.step]
    with companions_of(student.model, place.config) as companions:
        export_model(
            model_files(student.model),
            output_uri,
            config=place.config,
            companions=companions,
            metrics=records[-1] if records else {},
            check=partial(check_alone, run=run, student=student) if checks else None,
        )
    return run.state.step


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
        given = read_yaml(storage.read_bytes(paths.config).decode())
    except FileNotFoundError as error:
        message = (
            f"{paths.run}: is no run: it holds no run.yaml; name what raykd train printed (the "
            "directory of a sweep is for raykd report)"
        )
        raise ConfigError(message) from error
    return located(checked_run(given, origin=paths.config))


def _find(uri: str) -> _Place:
    parent, _, _ = uri.rstrip("/").rpartition("/checkpoints/")
    paths = RunPaths(parent or uri.rstrip("/"))
    config = written_config(paths)
    checkpoint = uri if parent else newest_valid_checkpoint(paths.checkpoints)
    if checkpoint is None:
        message = f"{uri}: the run has no valid checkpoint yet"
        raise CheckpointError(message)
    read_published(checkpoint, kind=KIND)
    return _Place(paths=paths, config=config, checkpoint_uri=checkpoint)


def _on_other_data(config: RunConfig, uri: str) -> RunConfig:
    """Return a run as far as its models are scored on data that may lack some languages."""
    other = replace(config, data=replace(config.data, uri=uri))
    _check_same_ids(other, trained_on=read_manifest(config.data.uri))
    there = read_manifest(uri).languages
    teachers = {
        name: replace(
            teacher,
            languages=None
            if teacher.languages is None
            else tuple(language for language in teacher.languages if language in there),
        )
        for name, teacher in config.teachers.items()
    }
    # Weights count in training alone, and may name languages that are not there.
    return replace(other, teachers=teachers, teacher_weights=None)


def _check_same_ids(config: RunConfig, *, trained_on: Manifest) -> None:
    """Refuse data whose token ids or classes mean something else to the model."""
    manifest = read_manifest(config.data.uri)
    if manifest.tokenizer.fingerprint != trained_on.tokenizer.fingerprint:
        message = (
            f"{manifest.uri}: was prepared with another tokenizer than {trained_on.uri}, which "
            f"the run was trained on; prepare it with --tokenizer {trained_on.uri}"
        )
        raise DataError(message)
    theirs, mine = manifest.labels_of(config.task), trained_on.labels_of(config.task)
    if theirs != mine:
        message = (
            f"{manifest.uri}: has the classes {theirs}, but the run was trained on {mine}; "
            "prepare it with --labels in this order"
        )
        raise DataError(message)


def _of_language(run: Distillation, language: str) -> ScoredModel:
    if not isinstance(run.student.model, PerLanguageModel):
        message = f"--language {language}: the student has one projection for all languages"
        raise ConfigError(message)
    model = single_language_model(run.student.model, language)
    return scored(model, run.config, run.manifest)


def _restored(config: RunConfig, place: _Place) -> Distillation:
    trained = trained_languages(place.config, read_manifest(place.config.data.uri))
    run = assemble(config, world=World(), is_restored=True, languages=trained)
    restore_checkpoint(place.checkpoint_uri, run.state)
    return run
