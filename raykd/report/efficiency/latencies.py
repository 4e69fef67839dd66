"""How long models take for one example, as measured before: on which machine, and how often.

Measuring is in ``measure``, which needs torch; a report repeats what was measured once.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from raykd.errors import StorageError
from raykd.storage import uris
from raykd.sweep.record import Record

LATENCIES = "latency.json"
"""Name of the file in the directory of a report."""

_USUAL_TOKENS = 128


@dataclass(frozen=True, kw_only=True, slots=True)
class Latency:
    """Time of one forward pass in float32, batch of one row, on a CPU."""

    model: str
    """Id of its ModelSize."""

    tokens: int
    """Length of the row."""

    cpu: str
    threads: int
    """That torch computes with when nobody sets it: those of a process that serves the model."""

    milliseconds: float
    """Median over the timed passes."""

    num_passes: int
    load: float
    """Processes that wanted a core in the minute before, on average: others make it slower."""

    @property
    def where(self) -> tuple[str, int]:
        """What makes two of them comparable: the CPU and the threads."""
        return self.cpu, self.threads


def read_latencies(directory_uris: Iterable[str]) -> tuple[Latency, ...]:
    """Return what is in the first directory that has any; nothing where none can be read."""
    for uri in directory_uris:
        try:
            saved = json.loads(uris.read_bytes(uris.join(uri, LATENCIES)))
            return tuple(Latency(**latency) for latency in saved)
        # Another version's, or one may not look: a report does without, and measures again.
        except (FileNotFoundError, StorageError, ValueError, TypeError):
            continue
    return ()


def comparable(latencies: Sequence[Latency], *, tokens: int) -> dict[str, Latency]:
    """Return the latencies for rows of a length on one machine, the last one, by model."""
    of_length = [latency for latency in latencies if latency.tokens == tokens]
    return {each.model: each for each in of_length if each.where == of_length[-1].where}


def tokens_of_row(records: Iterable[Record]) -> tuple[int, str]:
    """Return how long a row is measured, and why: the mean of the data of the first trial."""
    trial = next((record for record in records if record.kind == "trial"), None)
    if trial is None or not trial.planned_tokens or not trial.num_steps:
        return _USUAL_TOKENS, "as the data is not known"
    rows = trial.num_steps * trial.config["train"]["global_batch_size"]
    return max(1, round(trial.planned_tokens / rows)), "the mean of the training data"
