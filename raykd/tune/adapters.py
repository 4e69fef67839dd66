"""Ray Tune's searcher, scheduler and callback, all three the same study seen from one side.

Tune keeps the actors and the resources; which run is next, which stops and what a failure means
is decided by the study, whose ledger in storage is the truth. Nothing of Tune's own state is used
again, so nothing of it needs to be saved.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ray.exceptions import RayTaskError
from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from ray import cloudpickle
from raykd.errors import TrainingFailedError
from raykd.runs.paths import RunPaths
from raykd.runs.retry import FailureKind
from raykd.sweep.record import Record
from raykd.sweep.study.study import Study
from raykd.train.on_ray.failure_cause import failure_kind
from raykd.train.on_ray.stop_request import StopRequests
from raykd.tune.arguments import END, RUN, SHARED_RUNS, runs_of
from raykd.tune.trial import PreemptedError


# Tune pickles its searcher, scheduler and callbacks again and again, to resume from. Here that is
# the ledger's part: hence __getstate__ in all three.
class StudySearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Hands out the runs of a study when what they need is there."""

    def __init__(self, study: Study, requests: StopRequests) -> None:
        super().__init__()
        self._study = study
        self._requests = requests

    def __getstate__(self) -> dict[str, object]:
        """Give Tune nothing to keep."""
        return {}

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """Return the arguments of the next trial, None for none at present, or the end."""
        records = self._study.next_process()
        if records:
            return _arguments(records, self._requests)
        return Searcher.FINISHED if self._study.is_over else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, object] | None = None, error: bool = False
    ) -> None:
        """Do nothing: the callback tells the study."""

    def save(self, checkpoint_path: str) -> None:
        """Save nothing: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing: the ledger has it."""


class StudyScheduler(FIFOScheduler):  # type: ignore[misc]  # Ray is untyped
    """Passes evaluations to a study, and asks the trials to stop that it wants stopped.

    Tune itself stops none: a trial ends by itself when it has written a checkpoint.
    """

    def __init__(self, study: Study, requests: StopRequests) -> None:
        super().__init__()
        self._study = study
        self._requests = requests

    def __getstate__(self) -> dict[str, object]:
        """Give Tune nothing to keep."""
        return {}

    def on_trial_result(
        self, tune_controller: object, trial: Trial, result: dict[str, Any]
    ) -> str:
        """Note an evaluation or an end; the trial waits until it may know what follows from it."""
        if END in result:
            _tell_end(self._study, result[RUN], result[END])
        elif "eval/loss" in result:
            # Ray Train does not name the one run that it has.
            run_id = result.get(RUN, trial.config[RUN])
            # Tune adds fields of its own to every report, and what it gave the trial.
            metrics = {
                name: value
                for name, value in result.items()
                if name in _TIME or ("/" in name and not name.startswith(_GIVEN))
            }
            self._study.reported(run_id, metrics)
        # Its own STOP would kill the trial before its checkpoint.
        self._requests.add(self._study.to_leave)
        return str(TrialScheduler.CONTINUE)


class StudyCallback(TrialProgressCallback):  # type: ignore[misc]  # Ray is untyped
    """Tells a study of the starts and ends of trials, and a display of every round.

    It takes the place of the callback with which Tune prints the ends of trials.
    """

    def __init__(
        self, study: Study, requests: StopRequests, *, on_step: Callable[[], None]
    ) -> None:
        self._study = study
        self._requests = requests
        self._on_step = on_step

    def __getstate__(self) -> dict[str, object]:
        """Give Tune nothing to keep."""
        return {}

    def on_step_end(self, iteration: int, trials: list[Trial], **info: object) -> None:
        """Ask those to stop that time or the user stops, and show where the sweep stands."""
        self._requests.add(self._study.to_leave)
        self._on_step()

    def on_trial_result(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        result: dict[str, object],
        **info: object,
    ) -> None:
        """Print nothing: the scheduler tells the study."""

    def on_trial_start(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        **info: object,
    ) -> None:
        """Note a start."""
        for run_id in runs_of(trial.config):
            self._study.started(run_id)

    def on_trial_complete(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        **info: object,
    ) -> None:
        """Note the end of what has not ended before; storage says how far it came."""
        for run_id in self._open_runs(trial):
            _tell_end(self._study, run_id, None)

    def on_trial_error(
        self,
        iteration: int,
        trials: list[Trial],
        trial: Trial,
        **info: object,
    ) -> None:
        """Note a failure: an error of the last run, or the death of the process."""
        cause = _cause(trial)
        for run_id in self._open_runs(trial):
            _tell_end(self._study, run_id, cause)

    def _open_runs(self, trial: Trial) -> list[str]:
        """Return the runs of a trial whose ends it has not reported."""
        return [run_id for run_id in runs_of(trial.config) if self._study.is_out(run_id)]


_TIME = ("step", "tokens")
_GIVEN = "config/"


def _arguments(records: Sequence[Record], requests: StopRequests) -> dict[str, str]:
    """Return what a trial of some runs is given."""
    shared_runs = [
        {
            "run": record.id,
            "config": record.config,
            "log": RunPaths(record.run_uri).log,
            "stop_key": requests.key(record.id),
        }
        for record in records
    ]
    return {RUN: records[0].id, SHARED_RUNS: json.dumps(shared_runs)}


def _cause(trial: Trial) -> BaseException:
    """Return what the trial raised, or what ended its process."""
    if trial.pickled_error_file is None:
        return ChildProcessError("the trial ended without saying why")
    # Tune has just written it, in the scratch directory of this process.
    error: BaseException = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    return error.cause if isinstance(error, RayTaskError) else error


def _tell_end(study: Study, run_id: str, cause: BaseException | None) -> None:
    """Tell a study that a run has ended: by itself, or by an error."""
    if cause is None:
        study.ended(run_id)
        return
    study.failed(
        run_id,
        error_class=type(cause).__name__,
        error=_first_line(cause),
        kind=_kind(cause),
        is_final=isinstance(cause, TrainingFailedError),
    )


def _kind(cause: BaseException) -> FailureKind:
    if isinstance(cause, PreemptedError):
        return FailureKind.PREEMPTED
    # What is wrong has been tried again, by the trial itself.
    return FailureKind.FAILED if isinstance(cause, TrainingFailedError) else failure_kind([cause])


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
