"""Ray Tune's searcher, scheduler and callback, all three the same study seen from one side.

Tune keeps the actors and the resources; which run is next, which stops and what a failure means
is decided by the study, whose ledger in storage is the truth. Nothing of Tune's own state is used
again, so nothing of it needs to be saved.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.exceptions import RayTaskError
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ray import cloudpickle
from raykd.sweep.ledger import Record
from raykd.sweep.study import Study
from raykd.train.failures import is_deterministic
from raykd.train.paths import RunPaths

RUN = "run"
"""Argument of a trial that names the run."""


class StudySearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Hands out the runs of a study when what they need is there."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune nothing to keep."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the arguments of the next trial, None for none at present, or the end."""
        record = self._study.next_run()
        if record is not None:
            return trial_arguments(record)
        return Searcher.FINISHED if self._study.is_over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the callback tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger has it."""


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Passes evaluations to a study, and stops the trials that it wants stopped."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune nothing to keep."""
        return {}

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Note an evaluation and decide whether the trial goes on."""
        run_id = trial.config[RUN]
        if "eval/loss" in result:
            metrics = {k: v for k, v in result.items() if k in _TIME or "/" in k}
            self._study.reported(run_id, metrics)
        stops = self._study.should_stop(run_id)
        return str(TrialScheduler.STOP if stops else TrialScheduler.CONTINUE)


class StudyCallback(Callback):  # type: ignore[misc]  # Ray is untyped
    """Tells a study of the starts and ends of trials, and a display of every round."""

    def __init__(self, study: Study, on_step: Callable[[], None]) -> None:
        self._study = study
        self._on_step = on_step

    def __getstate__(self) -> dict[str, Any]:
        """Give Tune nothing to keep."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: Any) -> None:
        """Show where the sweep stands."""
        self._on_step()

    def on_trial_start(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        **info: Any,
    ) -> None:
        """Note a start."""
        self._study.started(trial.config[RUN])

    def on_trial_complete(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        **info: Any,
    ) -> None:
        """Note an end; storage says how far the run came."""
        self._study.ended(trial.config[RUN])

    def on_trial_error(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        **info: Any,
    ) -> None:
        """Note a failure: an error of the run, or the death of its process."""
        cause = _cause(trial)
        self._study.failed(
            trial.config[RUN],
            error_class=type(cause).__name__,
            error=_first_line(cause),
            is_deterministic=is_deterministic(cause),
        )


_TIME = ("step", "tokens")


def trial_arguments(record: Record) -> dict[str, str]:
    """Return what a trial of Tune is given: plain texts."""
    return {
        RUN: record.id,
        "config": json.dumps(record.config),
        "log": RunPaths(record.run_uri).log,
    }


def _cause(trial: Trial) -> BaseException:
    """Return what the trial raised, or what ended its process."""
    if trial.pickled_error_file is None:
        return ChildProcessError("the trial ended without saying why")
    # Tune has just written it, in the scratch directory of this process.
    error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error.cause if isinstance(error, RayTaskError) else error


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
