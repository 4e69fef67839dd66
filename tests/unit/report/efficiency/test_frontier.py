"""Quality against cost: what is charged to an arm, and which arms none beats for less."""

from dataclasses import replace

import pytest
from raykd.report.arms import arms_of
from raykd.report.efficiency.frontier import Frontier, frontiers_of, training_flops
from raykd.report.efficiency.latencies import Latency
from raykd.report.efficiency.sizes import sizes_of
from raykd.report.pairing import pairing_of
from raykd.sweep.ledger import Ledger
from raykd.sweep.record import Record

from tests.sized_ledger import sized_ledger, tiny_size
from tests.sweeps import evaluations_of, ledger_of, stage_of, trial_of

TOKENS = 5_000


def frontiers(ledger: Ledger, *latencies: Latency) -> dict[str, Frontier]:
    pairing = pairing_of(ledger)
    rows = sizes_of(list(ledger.records.values()), latencies).rows
    return {f.cost: f for f in frontiers_of(pairing, arms_of(pairing), rows)}


def arm(value: float, flops: float, *, index: int) -> Record:
    trial = trial_of({"arm": index}, evaluations=evaluations_of([value]), is_control=True)
    return replace(trial, flops_per_token={"student": flops})


def on_frontier(*arms: tuple[float, float], mode: str = "min") -> list[int]:
    """Return which of some arms, given by value and cost, are on the frontier."""
    records = [arm(value, flops, index=i) for i, (value, flops) in enumerate(arms)]
    (found,) = frontiers(ledger_of(records, mode=mode)).values()
    return [i for i, point in enumerate(found.points) if point.is_on_frontier]


def test_an_arm_is_charged_with_the_training_of_its_teacher() -> None:
    ledger = sized_ledger()
    found = frontiers(ledger)["flops"]
    control, own, small = found.points
    # A student is 600 FLOPs a token, its teacher beside it 200, that one's training 1,800.
    assert control.cost == TOKENS * 600
    assert own.cost == TOKENS * (600 + 200 + 1_800)
    assert (control.is_control, own.is_control) == (True, False)
    assert [point.label for point in found.best] == [control.label, own.label]
    assert not small.is_on_frontier
    assert (own.mean, small.mean) == pytest.approx((2.1, 4.0))


def test_an_arm_is_charged_alone_for_what_it_shares() -> None:
    ledger = sized_ledger()
    shared = {
        name: replace(run, attempts=tuple(replace(a, num_sharing=4) for a in run.attempts))
        for name, run in ledger.records.items()
    }
    assert frontiers(replace(ledger, records=shared)) == frontiers(ledger)


def test_what_a_teacher_begins_at_is_charged_once_and_a_quarter_costs_a_quarter() -> None:
    encoder = stage_of("encoder", values=[3.0])
    teacher = replace(stage_of("small", values=[3.0]), needs=(encoder.id,))
    milestone = f"{teacher.run_uri}/checkpoints/step-00000025"
    trial = trial_of({}, evaluations=evaluations_of([2.0]))
    quarter = replace(
        trial,
        config={**trial.config, "teachers": {"only": {"model": milestone}}},
        needs=(teacher.id, encoder.id),
    )
    records = {run.id: run for run in (encoder, teacher, quarter)}
    assert training_flops(quarter, records) == TOKENS * (800 + 0.25 * 1_800 + 1_800)
    whole = replace(quarter, config=trial.config)
    assert training_flops(whole, records) == TOKENS * (800 + 1_800 + 1_800)
    assert training_flops(replace(whole, flops_per_token={}), records) is None


@pytest.mark.parametrize(
    ("arms", "best"),
    [
        (((3.0, 1.0), (2.0, 2.0), (2.5, 3.0)), [0, 1]),
        (((2.0, 1.0), (3.0, 2.0)), [0]),
        # As good for less; better for as much.
        (((2.0, 2.0), (2.0, 1.0)), [1]),
        (((3.0, 1.0), (2.0, 1.0), (1.0, 2.0)), [1, 2]),
        # Two that are alike in both.
        (((2.0, 1.0), (2.0, 1.0), (3.0, 2.0)), [0, 1]),
    ],
)
def test_no_arm_on_the_frontier_is_beaten(
    arms: tuple[tuple[float, float], ...], best: list[int]
) -> None:
    assert on_frontier(*arms) == best
    mirrored = [(-value, cost) for value, cost in arms]
    assert on_frontier(*mirrored, mode="max") == best


def test_arms_that_cost_the_same_have_no_frontier() -> None:
    assert frontiers(ledger_of([arm(1.0, 1.0, index=0), arm(2.0, 1.0, index=1)])) == {}
    assert frontiers(ledger_of([])) == {}


def test_latency_is_that_of_the_arms_student() -> None:
    latencies = [
        Latency(
            model=tiny_size(layers).id,
            tokens=10,
            cpu="this",
            threads=1,
            milliseconds=float(layers),
            num_passes=20,
            load=0.0,
        )
        for layers in (2, 3)
    ]
    found = frontiers(sized_ledger(), *latencies)["latency"]
    assert [point.cost for point in found.points] == [3.0, 3.0, 2.0]
    assert [point.mean for point in found.best] == pytest.approx([4.0, 2.1])
    assert "latency" not in frontiers(sized_ledger(), latencies[0])
