"""How the end of a run reaches the study: raised, or reported while others of its pack go on."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raykd.errors import TrainingFailedError
from raykd.sweep.study import Study
from raykd.train.causes import failure_kind
from raykd.train.failures import Kind
from raykd.train.leave import Leave
from raykd.tune.arguments import RUN
from raykd.tune.leaving import PreemptedError

END = "end"


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """What the study is told of an error."""

    error_class: str
    error: str
    """In one line."""

    kind: Kind
    is_final: bool

    @staticmethod
    def of(cause: BaseException) -> "Failure":
        """Describe what a run raised, or what ended its process."""
        is_final = isinstance(cause, TrainingFailedError)
        if isinstance(cause, PreemptedError):
            kind = Kind.PREEMPTED
        else:
            # What is wrong has been tried again, by the trial itself.
            kind = Kind.FAILED if is_final else failure_kind([cause])
        return Failure(
            error_class=type(cause).__name__,
            error=_first_line(cause),
            kind=kind,
            is_final=is_final,
        )

    def tell(self, study: Study, run_id: str) -> None:
        """Note it for a run."""
        study.failed(
            run_id,
            error_class=self.error_class,
            error=self.error,
            kind=self.kind,
            is_final=self.is_final,
        )


def error_of(end: Leave | Exception) -> Exception | None:
    """Return what to raise at the end of a run, if anything."""
    if isinstance(end, Exception):
        return end
    if end is Leave.PREEMPTED:
        return PreemptedError("its machine is being taken away; it has left")
    return None


def told_end(run: str, end: Leave | Exception) -> dict[str, Any]:
    """Return what a trial reports when one of its runs ends before the last one does."""
    error = error_of(end)
    return {RUN: run, END: None if error is None else Failure.of(error)}


def hear_end(study: Study, result: Mapping[str, Any]) -> None:
    """Tell a study what a trial has reported of the end of a run."""
    failure: Failure | None = result[END]
    if failure is None:
        study.ended(result[RUN])
    else:
        failure.tell(study, result[RUN])


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
