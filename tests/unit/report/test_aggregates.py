"""Arms over all probes, or all languages, of studies of known scores."""

from dataclasses import replace

import pytest
from raykd.report.summary import Summary, summarise

from tests.study_ledger import study_ledger
from tests.sweeps import evaluations_of, ledger_of, trial_of


def of_languages(*, mode: str) -> Summary:
    """Summarise an arm whose loss is lower than its control's in two of three languages."""
    records = []
    for seed in (1, 2, 3):
        control = trial_of({}, seed=seed, is_control=True)
        arm = trial_of({"weight": 1}, seed=seed, control=control)
        for run, losses in ((control, (1.0, 2.0, 3.0)), (arm, (0.9, 1.8, 3.5))):
            by_language = dict(zip(("de", "en", "fr"), losses, strict=True))
            last = {f"eval/loss/{code}": loss for code, loss in by_language.items()}
            records.append(replace(run, evaluations=evaluations_of([2.0], more=last)))
    return summarise(ledger_of(records, mode=mode))


def test_probes_are_scaled_by_their_floors_and_seeds_without_all_are_left_out() -> None:
    control, one, two = summarise(study_ledger()).aggregates
    assert one.tasks == ("probe/two/accuracy", "probe/four/accuracy")
    assert (control.num_seeds, one.num_seeds, two.num_seeds) == (3, 3, 2)
    # Probe two: (value - 0.5) / 0.5 of 0.71, 0.72, 0.73; four: half of these as they are. Of the
    # six the lowest and the highest are left out.
    assert control.interquartile_mean.value == pytest.approx((0.36 + 0.365 + 0.42 + 0.44) / 4)
    assert control.improvement is None
    assert one.improvement is not None
    assert one.improvement.value == 1.0


@pytest.mark.parametrize(("mode", "share"), [("min", 2 / 3), ("max", 1 / 3)])
def test_languages_are_tasks_and_less_may_be_better(mode: str, share: float) -> None:
    control, arm = of_languages(mode=mode).aggregates
    assert arm.tasks == ("eval/loss/de", "eval/loss/en", "eval/loss/fr")
    assert control.interquartile_mean.value == pytest.approx(2.0)
    assert arm.improvement is not None
    assert arm.improvement.value == pytest.approx(share)


def test_one_task_or_one_seed_has_no_aggregates() -> None:
    of_one_task = tuple({"step": 100, "tokens": 10, "eval/loss": loss} for loss in (3.0, 2.0))
    trials = [trial_of({}, seed=seed, evaluations=of_one_task) for seed in (1, 2)]
    assert summarise(ledger_of(trials)).aggregates == ()
    assert summarise(ledger_of([trial_of({}, evaluations=evaluations_of([2.0]))])).aggregates == ()
