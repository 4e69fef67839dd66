"""A run and its data together: what is known before any model is read."""

import math
from dataclasses import dataclass

from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import RunConfig
from raykd.data.fraction import with_fraction
from raykd.data.manifest import Manifest, Shard, read_manifest
from raykd.data.selection import chosen_shards, evaluation_shards, rows_per_epoch
from raykd.errors import ConfigError
from raykd.models.families import family_of
from raykd.tasks.build import build_task
from raykd.tasks.task import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSetup:
    """A run and the prepared data that it reads."""

    config: RunConfig
    manifest: Manifest
    """Its training split has the rows of ``data.fraction`` alone."""

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the run, given as steps or as passes over the data.

        Raises:
            ConfigError: The data lacks a language that is asked for.
        """
        train = self.config.train
        if train.num_steps is not None:
            return train.num_steps
        rows = rows_per_epoch(self.manifest, self.config.data)
        return max(1, math.ceil((train.num_epochs or 0) * rows / train.global_batch_size))

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Names of the classes of the task, or NUMBER; None for language modelling."""
        return self.manifest.labels_of(self.config.task)

    @property
    def num_classes(self) -> int:
        """Classes of the task, or 1 for a number; for language modelling the vocabulary."""
        if self.labels is None:
            return self.manifest.tokenizer.vocab_size
        return 1 if self.predicts_number else len(self.labels)

    @property
    def predicts_number(self) -> bool:
        """Whether the label of a row is a number, and not one of some classes."""
        return self.labels == NUMBER

    @property
    def trained_languages(self) -> tuple[str, ...]:
        """Languages that the run trains on, sorted.

        Raises:
            ConfigError: The data lacks a language that is asked for.
        """
        shards = self.shards(self.config.data.train_split)
        return tuple(sorted({shard.language for shard in shards}))

    @property
    def unseen_languages(self) -> tuple[str, ...]:
        """Languages of ``data.eval_languages`` that the run does not train on, sorted.

        Raises:
            ConfigError: The data lacks a language that is asked for.
        """
        evaluated = set(self.config.data.eval_languages or ())
        return tuple(sorted(evaluated - set(self.trained_languages))) if evaluated else ()

    def shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split in the languages that are trained on.

        Raises:
            DataError: There is no such split.
            ConfigError: The data lacks a language that is asked for.
        """
        return chosen_shards(self.manifest, self.config.data, split)

    def evaluation_shards(self, split: str) -> tuple[Shard, ...]:
        """Return the shards of a split in the languages that are evaluated on.

        Raises:
            DataError: There is no such split.
            ConfigError: The data lacks a language that is asked for.
        """
        return evaluation_shards(self.manifest, self.config.data, split)

    def task(self, model_type: str) -> Task:
        """Return the task of the run, for models of a family.

        Raises:
            ConfigError: The tokenizer or the data lacks what the task needs.
        """
        return build_task(
            self.config.task,
            tokenizer=self.manifest.tokenizer,
            labels=self.labels,
            masking=self.config.data.masking,
            seed=self.config.train.seed,
            summary=family_of(model_type, where="student").summary,
        )


def check_eval_languages(setup: RunSetup) -> None:
    """Refuse to follow evaluations of languages that are left out of them.

    Raises:
        ConfigError: The message names the key and the languages.
    """
    config = setup.config
    mixing, weights, evaluated = (
        config.data.mixing,
        config.teacher_weights,
        config.data.eval_languages,
    )
    keys = {
        "data.mixing.adaptive": mixing is not None and mixing.adaptive is not None,
        "teacher_weights.importance.per=language": weights is not None and weights.is_measured,
    }
    missing = [] if evaluated is None else sorted(set(setup.trained_languages) - set(evaluated))
    if missing and (following := [key for key, is_there in keys.items() if is_there]):
        message = (
            f"data.eval_languages leaves out {missing}, but {' and '.join(following)} follows how "
            "every language that is trained on is evaluated: add them"
        )
        raise ConfigError(message)


def read_setup(config: RunConfig) -> RunSetup:
    """Read what the data of a run says of itself.

    Raises:
        PublicationError: Nothing is committed there.
        DataError: The manifest cannot be.
        ConfigError: ``data.fraction`` leaves no row of a class or language.
    """
    manifest = with_fraction(
        read_manifest(config.data.uri),
        config.data,
        by_class=config.task == "sequence_classification",
    )
    return RunSetup(config=config, manifest=manifest)
