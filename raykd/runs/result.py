"""How a run ended: the result that it writes."""

import json
from dataclasses import dataclass

from raykd import strict_json
from raykd.runs.metrics import Record
from raykd.runs.paths import RunPaths
from raykd.runs.stop import StopReason
from raykd.storage import uris


@dataclass(frozen=True, kw_only=True, slots=True)
class RunResult:
    """How a run ended."""

    is_done: bool
    """False where it stopped before its last step, by request."""

    step: int
    num_steps: int
    metrics: Record
    """The newest evaluation; of a run that is done, all that its model scores."""

    model_uri: str | None
    """The exported model of a run that is done."""

    stop_reason: StopReason = StopReason.NONE
    """Why the run is not done."""


def read_result(paths: RunPaths) -> RunResult | None:
    """Return how a run ended, or None when it has not."""
    try:
        saved = json.loads(uris.read_bytes(paths.result))
    except FileNotFoundError:
        return None
    # Only a run that is done writes one: it has no reason to have stopped.
    return RunResult(
        is_done=saved["is_done"],
        step=saved["step"],
        num_steps=saved["num_steps"],
        metrics=strict_json.numbers(saved["metrics"]),
        model_uri=saved["model_uri"],
    )
