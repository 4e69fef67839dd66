"""What a sweep's plan would change in the ledger that is there."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from raykd.config.inputs import value_at
from raykd.config.load import plain
from raykd.runs.inputs import two_prints
from raykd.sweep.ledger import KIND, Ledger, Record
from raykd.sweep.plan.plan import SweepPlan
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
        lines = [f"{key}: {old!r} -> {new!r}" for key, (old, new) in self.changed.items()]
        return [
            *lines,
            *self.inputs,
            *_counted(self.new, "new"),
            *_counted(self.dropped, "dropped"),
        ]


def difference(ledger: Ledger, plan: SweepPlan) -> Difference:
    """Return what the plan adds to a ledger, leaves out of it, and asks for otherwise.

    Trials that were decided on while the sweep ran are in no plan and so never left out.
    """
    planned = {record.id: record for record in plan.records}
    missing = [record for record in ledger.records.values() if record.id not in planned]
    # Else every trial that results have decided on would read as dropped by the sweep file.
    kept = {"trial", "probe"} if plan.is_open else set()
    return Difference(
        new=tuple(record for record in planned.values() if record.id not in ledger.records),
        dropped=tuple(record for record in missing if record.kind not in kept),
        changed=dict(_changes(ledger.sweep, plain(plan.sweep))),
        inputs=tuple(_changed_inputs(ledger.records.values(), planned.values())),
    )


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


def _changes(
    before: dict[str, object], after: dict[str, object], parent: str = ""
) -> Iterator[tuple[str, tuple[object, object]]]:
    """Yield the keys whose values differ, as deep as both are sections."""
    for name in dict.fromkeys((*before, *after)):
        old, new, key = before.get(name), after.get(name), f"{parent}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from _changes(old, new, f"{key}.")
        elif old != new:
            yield key, (old, new)
