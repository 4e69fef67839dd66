"""Whether a run of a sweep starts again after an attempt that failed: the table of raykd.train.

What circumstances did, such as a lost node, counts against ``cluster.max_failures`` and
``cluster.max_preemptions`` of the run, as if it had been started alone. An error that has no known
cause counts against ``max_failures`` of the sweep.
"""

from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.ledger import Record, has_failed
from raykd.train.checkpoint import committed_steps
from raykd.train.failures import Budget, Counters, Decision, Kind, decide
from raykd.train.paths import RunPaths


def decide_retry(record: Record, kind: Kind, sweep: SweepConfig) -> Decision:
    """Decide after the last attempt of a record, which does not say yet how it ended."""
    counters = Counters(
        failures=record.failures,
        preemptions=record.preemptions,
        failures_in_a_row=_failures_in_a_row(record),
    )
    gained = newest_step(record) > record.attempts[-1].first_step
    return decide(kind, counters, _budget(record, kind, sweep), gained=gained)


def newest_step(record: Record) -> int:
    """Return the step of the newest checkpoint of a run, 0 where there is none."""
    steps = committed_steps(RunPaths(record.run_uri).checkpoints)
    return steps[-1] if steps else 0


def _budget(record: Record, kind: Kind, sweep: SweepConfig) -> Budget:
    cluster = record.config["cluster"]
    limit = sweep.max_failures if kind is Kind.FAILED else cluster["max_failures"]
    return Budget(max_failures=limit, max_preemptions=cluster["max_preemptions"])


def _failures_in_a_row(record: Record) -> int:
    """Return how many attempts before the last failed without a newer checkpoint between them."""
    *earlier, last = record.attempts
    found, step = 0, last.first_step
    for attempt in reversed(earlier):
        if not has_failed(attempt) or (found and attempt.first_step != step):
            break
        found, step = found + 1, attempt.first_step
    return found
