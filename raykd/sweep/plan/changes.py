"""What a sweep's plan would change in the ledger that is there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from raykd.config.changed import changed_keys
from raykd.config.inputs import value_at
from raykd.config.load import plain
from raykd.runs.inputs import two_prints
from raykd.sweep.ledger import Ledger
from raykd.sweep.plan.plan import SweepPlan
from raykd.sweep.record import KIND, Record
from raykd.sweep.study.resume import resumed

KIND_NAMES: dict[KIND, str] = {
    "stage": "stage",
    "tuning": "tuning run",
    "trial": "trial",
    "probe": "probe",
}
"""What runs of a kind are called, one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """How a plan differs from a ledger."""

    new: tuple[Record, ...]
    """Runs that the ledger does not know."""

    dropped: tuple[Record, ...]
    """Runs that the sweep file does not ask for any more; what they left stays in storage."""

    changed: dict[str, tuple[object, object]]
    """Key of the sweep file to its value in the ledger and its value in the file."""

    inputs: tuple[str, ...]
    """What holds something else than it did for the runs of the ledger, in words."""

    def lines(self) -> list[str]:
        """Return the difference in words; none where there is none."""
        lines = [
            f"{key}: {_without_empty(old)!r} -> {_without_empty(new)!r}"
            for key, (old, new) in self.changed.items()
        ]
        return [
            *lines,
            *self.inputs,
            *_counted(self.new, "new"),
            *_counted(self.dropped, "dropped"),
        ]


def _without_empty(value: object) -> object:
    """Return a section without what nobody has given a value; anything else as it is."""
    if not isinstance(value, dict):
        return value
    return {k: _without_empty(v) for k, v in value.items() if v not in (None, False, [], {})}


def difference(ledger: Ledger, plan: SweepPlan) -> Difference:
    """Return what the plan adds to a ledger, leaves out of it, and asks for otherwise.

    Trials that were decided on while the sweep ran are in no plan and so never left out.
    """
    planned = {record.id: record for record in plan.records}
    missing = [record for record in ledger.records.values() if record.id not in planned]
    return Difference(
        new=tuple(record for record in planned.values() if record.id not in ledger.records),
        dropped=tuple(record for record in missing if not _may_follow(record, ledger, plan)),
        changed=dict(changed_keys(ledger.sweep, plain(plan.sweep))),
        inputs=tuple(_changed_inputs(ledger.records.values(), planned.values())),
    )


def _may_follow(record: Record, ledger: Ledger, plan: SweepPlan) -> bool:
    """Tell whether results may yet decide on a run that the plan has not."""
    trial = ledger.records.get(record.probed or record.id, record)
    if trial.kind != "trial":
        return False
    has_further_seed = trial.seed in plan.sweep.more_seeds
    return bool(plan.expected) or (plan.is_open and has_further_seed)


def continued(plan: SweepPlan, ledger: Ledger) -> SweepPlan:
    """Return the plan with what the ledger knows of its runs: stopped and failed ones are over."""
    records = resumed(plan.records, ledger.records, retries_failed=False)
    pairs = zip(plan.runs, records, strict=True)
    return replace(plan, runs=tuple(replace(run, record=record) for run, record in pairs))


def _changed_inputs(before: Iterable[Record], after: Iterable[Record]) -> Iterator[str]:
    """Say which places hold something else than they did for the runs before."""
    held, holds = _inputs_of(before), _inputs_of(after)
    for uri in held:
        if held[uri] != (current := holds.get(uri, held[uri])):
            yield (
                f"{uri} holds something else than for the runs there are: "
                f"{two_prints(held[uri], current)}"
            )


def _inputs_of(records: Iterable[Record]) -> dict[str, str]:
    """Return the fingerprints of all inputs, by their places."""
    return {
        value_at(record.config, key): fingerprint
        for record in records
        for key, fingerprint in record.config["inputs"].items()
    }


def _counted(records: Sequence[Record], what: str) -> Iterator[str]:
    for kind, name in KIND_NAMES.items():
        if number := sum(record.kind == kind for record in records):
            yield f"{number} {name}{'s' if number > 1 else ''} {what}"
