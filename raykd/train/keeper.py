"""Which checkpoints of a run are written, restored and kept."""

import math
from pathlib import Path

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.distill.distillation import Distillation
from raykd.errors import ConfigError
from raykd.train.checkpoint import (
    BestEvaluation,
    RunState,
    checkpoint_name,
    committed_steps,
    kept_steps,
    restore_checkpoint,
    write_checkpoint,
)
from raykd.train.paths import RunPaths


class CheckpointKeeper:
    """The checkpoints of one run: the first worker writes, all restore the same one."""

    def __init__(
        self, config: RunConfig, paths: RunPaths, run: Distillation, *, tokenizer_path: Path
    ) -> None:
        self._config = config.checkpoint
        self._uri = paths.checkpoints
        self._run = run
        self._tokenizer_path = tokenizer_path
        self._milestones = milestone_steps(config.checkpoint.milestones, run.num_steps)
        self._best: BestEvaluation | None = None
        self.first_evaluation: dict[str, float] | None = None
        """The metrics before the first step, where the run was evaluated there."""

    def restore(self, uri: str) -> None:
        """Continue from a checkpoint.

        Raises:
            ConfigError: The data has changed since the checkpoint was written.
        """
        saved = restore_checkpoint(uri, self._run.state)
        if saved.data_fingerprint != self._run.manifest.fingerprint:
            message = (
                f"{uri}: was trained on other data than {self._run.manifest.uri} holds: its "
                f"fingerprint was {saved.data_fingerprint[:12]} and is "
                f"{self._run.manifest.fingerprint[:12]}. Use --fresh to start over"
            )
            raise ConfigError(message)
        self._best = saved.best
        self.first_evaluation = saved.first_evaluation

    def note_evaluation(self, step: int, *, loss: float) -> None:
        """Remember the step of the lowest loss."""
        if self._best is None or loss < self._best.loss:
            self._best = BestEvaluation(step=step, loss=loss)

    def is_due(self, step: int) -> bool:
        """Tell whether a checkpoint is to be written after a step."""
        return (
            step % self._config.every_steps == 0
            or step in (self._run.num_steps, *self._milestones)
            or step == self._best_step
        )

    def write(self) -> None:
        """Write the run's state and drop the checkpoints that are not kept."""
        if self._run.world.rank != 0:
            return
        state = self._run.state
        run_state = RunState(
            step=state.step,
            tokens=state.tokens,
            data=state.data,
            data_fingerprint=self._run.manifest.fingerprint,
            world_size=self._run.world.size,
            best=self._best,
            first_evaluation=self.first_evaluation,
        )
        write_checkpoint(
            storage.join(self._uri, checkpoint_name(state.step)),
            state,
            run_state=run_state,
            tokenizer_path=self._tokenizer_path,
        )
        self._prune()

    @property
    def _best_step(self) -> int | None:
        """Step of the checkpoint that is kept for its loss, if any is."""
        return self._best.step if self._best is not None and self._config.keep_best else None

    def _prune(self) -> None:
        steps = committed_steps(self._uri)
        kept = kept_steps(
            steps,
            keep_last=self._config.keep_last,
            best_step=self._best_step,
            milestones=self._milestones,
        )
        for step in sorted(set(steps) - kept):
            storage.delete(storage.join(self._uri, checkpoint_name(step)))


def milestone_steps(milestones: tuple[float, ...], num_steps: int) -> tuple[int, ...]:
    """Return the steps of the milestones, given as fractions of the run."""
    return tuple(max(1, math.floor(fraction * num_steps + 0.5)) for fraction in milestones)
