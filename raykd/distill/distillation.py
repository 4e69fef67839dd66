"""A run whose parts are together: it steps, evaluates, and adapts its mixture."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from raykd.batch import Batch, Rows
from raykd.config.schema.data import SEEN
from raykd.config.schema.run import RunConfig
from raykd.data.mixture import adaptive_weights
from raykd.data.selection import with_weights
from raykd.distill.batches import StepReader, evaluation_batches, scores_anything, step_rows
from raykd.distill.evaluate import Evaluation, evaluate
from raykd.distill.loop import LoopOptions, TrainState
from raykd.distill.setup import RunSetup
from raykd.distill.shared import SharedTeacher
from raykd.distill.start import StudentStart
from raykd.distill.step import DistillationStep
from raykd.distill.world import World
from raykd.errors import DataError
from raykd.models.scored import ScoredModel
from raykd.steps import next_evaluation
from raykd.tasks.task import Task
from raykd.teachers.cached import CachedTeacher
from raykd.teachers.controls import PermutedTeacher


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """A run, ready to take its next step."""

    setup: RunSetup
    task: Task
    student: ScoredModel
    objective: DistillationStep
    state: TrainState
    loop_options: LoopOptions
    world: World
    start: StudentStart | None
    """Where the weights of a built student came from; None where they are random, pretrained or
    still to be restored."""

    @property
    def config(self) -> RunConfig:
        """The run."""
        return self.setup.config

    @property
    def num_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.loop_options.num_steps

    def logs_after(self, step: int) -> bool:
        """Tell whether the training loss is reported after a step."""
        return step == self.num_steps or step % self.config.train.log_every_steps == 0

    def evaluates_after(self, step: int) -> bool:
        """Tell whether the student is evaluated after a step."""
        if self.config.data.eval_split is None:
            return False
        return next_evaluation(self.config.train, step, self.num_steps) == step

    @property
    def evaluates_first(self) -> bool:
        """Whether the student is evaluated before the first step, and that is still to come."""
        return self.config.train.eval_first and self.state.step == 0

    def steps(self) -> StepReader:
        """Return this worker's batches of every step from the present state on."""
        return StepReader(
            self.setup, self.task, state=self.state, world=self.world, prefetch_hook=self._fetch
        )

    def _fetch(self, batch: Batch) -> None:
        """Bring here what caches in a store have of a batch."""
        ensemble = self.objective.ensemble
        for teacher in () if ensemble is None else ensemble.teachers.values():
            kept = teacher
            while isinstance(kept, PermutedTeacher | SharedTeacher):
                kept = kept.teacher
            if isinstance(kept, CachedTeacher):
                kept.fetch(batch)

    def next_rows(self) -> Rows:
        """Return the rows of all workers in the next step, in the order of the data."""
        return step_rows(self.setup, self.state.data)

    def evaluate(self, split: str | None = None) -> Evaluation:
        """Score student and teachers on a split, ``data.eval_split`` unless named."""
        data = self.config.data
        batches = evaluation_batches(
            self.setup,
            self.task,
            split=split or data.eval_split or data.train_split,
            world=self.world,
            prefetch_hook=self._fetch,
        )
        return evaluate(
            self.objective,
            batches,
            task=self.task,
            languages=self.setup.manifest.languages,
            unseen=self.setup.unseen_languages,
            world=self.world,
        )

    def require_scored(self) -> None:
        """Refuse a split to evaluate on of which nothing is scored; all workers ask together.

        Raises:
            DataError: The message names the key.
        """
        for key, split in self.config.data.scored_splits.items():
            # Agreed on before anyone raises: who ends alone leaves the others in a collective.
            is_scored = scores_anything(self.setup, self.task, split=split, world=self.world)
            if not self.world.all_reduce_max([int(is_scored)])[0]:
                message = (
                    f"data.{key}={split}: no position of it is scored for {self.task.name}, so "
                    "that nothing can be evaluated; take a larger split, or set it to null"
                )
                raise DataError(message)

    def named(self, evaluation: Evaluation, prefix: str = "eval") -> dict[str, float]:
        """Return the metrics of an evaluation as ``eval/...``, or with another prefix."""
        return {f"{prefix}/{name}": value for name, value in evaluation.metrics().items()}

    def deciding_loss(self, metrics: Mapping[str, float]) -> float:
        """Return the loss by which a checkpoint is the best: unseen languages have no say.

        NaN where no position of a language that is trained on was scored.

        Args:
            metrics: Of an evaluation, as ``named`` returns them.
        """
        name = f"eval/{SEEN}/loss" if self.setup.unseen_languages else "eval/loss"
        return metrics.get(name, math.nan)

    @property
    def mixes_adaptively(self) -> bool:
        """Whether every evaluation decides how languages are drawn after it."""
        return self.config.data.mixing is not None and self.config.data.mixing.adaptive is not None

    def adapt(self, evaluation: Evaluation) -> dict[str, float]:
        """Draw languages by the gaps of an evaluation; return the share of each.

        Raises:
            ValueError: The run does not mix adaptively.
        """
        mixing = self.config.data.mixing
        if mixing is None or mixing.adaptive is None:
            message = "data.mixing.adaptive is null: there is nothing to adapt"
            raise ValueError(message)
        # From counts that were summed over the workers: all draw the same mixture from here on.
        shares = adaptive_weights(
            mixing.adaptive,
            self.state.data.rows,
            gaps=evaluation.accuracy_gaps(),
        )
        self.state.data = with_weights(self.state.data, shares)
        return shares
