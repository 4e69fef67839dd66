"""What a study finds, by its arms, seeds and questions; and how often it errs.

    python tests/bench/simulated/power.py [--small]

Studies are simulated, with normal noise; a control is shared by about 16 arms. Effects are in
standard deviations of the differences over seeds.

    arms        a tenth of the arms differ: the share of them that is found, by Student's t with
                Holm and by what compares arms (``raykd.report.statistics``); beside it how many
                studies call any of the others better or worse, which is to be at most 0.05
    noise       the same share of studies where no arm differs, for runs that are unequally noisy;
                beside it what the moderated t gives with Holm (limma): why it is not used so
    questions   the share of true claims that are found, of equal effects, with all seeds at once
                and in looks; beside it the mean number of seeds that looks use
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from raykd.report.statistics import Evidence, compare
from raykd.stats.expectations import tested
from raykd.stats.holm import holm
from raykd.stats.means import SIGNIFICANCE, interval
from raykd.stats.moderated import prior_of
from raykd.stats.sequential import looks, sequential_p
from rich.console import Console
from rich.table import Table
from scipy.special import stdtr

from tests.null_studies import NOISES, Array, differences

ARMS_PER_CONTROL = 16
FIRST_LOOK = 3
Rule = Callable[[Array], Sequence[bool]]
"""Which arms are called better or worse, from the differences of all [A, S]."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Size:
    """What is tried."""

    num_studies: int
    arms: tuple[int, ...]
    seeds: tuple[int, ...]
    effects: tuple[float, ...]
    questions: tuple[int, ...]
    question_seeds: tuple[int, ...]


WIDE = Size(
    num_studies=100,
    arms=(8, 40, 126, 400),
    seeds=(3, 5, 8),
    effects=(2.0, 5.0),
    questions=(1, 2, 6, 18),
    question_seeds=(3, 5, 8, 12),
)
FEW = Size(
    num_studies=10, arms=(10,), seeds=(3,), effects=(5.0,), questions=(2,), question_seeds=(6,)
)


def main() -> int:
    """Print the three tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="few studies of few arms")
    size = FEW if parser.parse_args().small else WIDE
    console = Console(width=100)
    console.print(arm_table(size))
    console.print(noise_table(size))
    console.print(question_table(size))
    return 0


def plain(study: Array) -> list[bool]:
    """Test as before there were many arms: Student's t and Holm."""
    estimates = [interval(row) for row in study.tolist()]
    p_values = holm([1.0 if estimate is None else estimate.p for estimate in estimates])
    return [p < SIGNIFICANCE for p in p_values]


def limma(study: Array) -> list[bool]:
    """Test by the moderated t as it is for independent arms, and Holm."""
    num_arms, num_seeds = study.shape
    freedom = num_seeds - 1
    variances = study.var(axis=1, ddof=1)
    prior = prior_of(variances, freedom)
    error = np.sqrt(prior.shrunk(variances[:, None], freedom)[:, 0] / num_seeds)
    together = min(float(prior.freedom) + freedom, num_arms * freedom)
    p_values = holm((2 * stdtr(together, -np.abs(study.mean(axis=1)) / error)).tolist())
    return [p < SIGNIFICANCE for p in p_values]


def compared(study: Array) -> list[bool]:
    """Test as a report does."""
    evidence = {
        str(arm): Evidence(
            control="control",
            differences=dict(enumerate(row)),
            num_planned=len(row),
            missing=None,
        )
        for arm, row in enumerate(study.tolist())
    }
    found = compare(evidence, mode="max").values()
    return [comparison.verdict != "inconclusive" for comparison in found]


def arm_table(size: Size) -> Table:
    """Return what is found of the arms that differ."""
    table = Table(title=f"arms: found, and studies with a false alarm ({size.num_studies} each)")
    for heading in ("arms", "seeds", "effect", "t, Holm", "errs", "report", "errs"):
        table.add_column(heading, justify="right")
    for num_arms in size.arms:
        for num_seeds in size.seeds:
            for effect in size.effects:
                rates = [
                    arm_rates(rule, size.num_studies, (num_arms, num_seeds), effect)
                    for rule in (plain, compared)
                ]
                cells = [f"{rate:.2f}" for pair in rates for rate in pair]
                table.add_row(str(num_arms), str(num_seeds), f"{effect:g}", *cells)
    return table


def arm_rates(
    rule: Rule, num_studies: int, shape: tuple[int, int], effect: float
) -> tuple[float, float]:
    """Return the share of differing arms that is found, and of studies with a false alarm."""
    generator = np.random.default_rng(41)
    num_arms = shape[0]
    num_differing = max(1, num_arms // 10)
    found, alarms = 0, 0
    for _ in range(num_studies):
        num_controls = -(-num_arms // ARMS_PER_CONTROL)
        # Differences of two runs with a deviation of 1 each.
        study = differences(generator, shape, num_controls=num_controls) / 2**0.5
        study[:num_differing] += effect
        called = rule(study)
        found += sum(called[:num_differing])
        alarms += any(called[num_differing:])
    return found / num_studies / num_differing, alarms / num_studies


def noise_table(size: Size) -> Table:
    """Return how often studies in which no arm differs call one better or worse."""
    num_arms, num_seeds = max(size.arms[:2]), 3
    title = f"noise: studies of {num_arms} arms and {num_seeds} seeds with a false alarm"
    table = Table(title=title)
    for heading in ("noise of runs", "t, Holm", "moderated t, Holm", "report"):
        table.add_column(heading, justify="right" if table.columns else "left")
    for noise in NOISES:
        rates = []
        for rule in (plain, limma, compared):
            generator = np.random.default_rng(42)
            num_controls = -(-num_arms // ARMS_PER_CONTROL)
            alarms = sum(
                any(
                    rule(
                        differences(
                            generator,
                            (num_arms, num_seeds),
                            noise=noise,
                            num_controls=num_controls,
                        )
                    )
                )
                for _ in range(2 * size.num_studies)
            )
            rates.append(f"{alarms / size.num_studies / 2:.3f}")
        table.add_row(noise, *rates)
    return table


def question_table(size: Size) -> Table:
    """Return what is found of true claims, at once and in looks."""
    table = Table(title="questions: found with all seeds, and in looks from 3 seeds on")
    for heading in ("questions", "seeds", "effect", "at once", "in looks", "mean seeds"):
        table.add_column(heading, justify="right")
    for number in size.questions:
        for num_seeds in size.question_seeds:
            for effect in (1.0, 2.0):
                at_once, _ = question_rates(
                    size.num_studies, (number, num_seeds), effect, (num_seeds,)
                )
                in_looks, used = question_rates(
                    size.num_studies, (number, num_seeds), effect, looks(FIRST_LOOK, num_seeds)
                )
                cells = f"{at_once:.2f}", f"{in_looks:.2f}", f"{used:.1f}"
                table.add_row(str(number), str(num_seeds), f"{effect:g}", *cells)
    return table


def question_rates(
    num_studies: int, shape: tuple[int, int], effect: float, at: tuple[int, ...]
) -> tuple[float, float]:
    """Return the share of questions that are decided, and the mean number of seeds they use."""
    generator = np.random.default_rng(43)
    decided, used = 0, 0
    for _ in range(num_studies):
        study = (generator.normal(size=shape) + effect).tolist()
        seen: list[list[float]] = [[] for _ in study]
        adjusted, seeds = [1.0] * len(study), [0] * len(study)
        for num_seeds in at:
            for index, values in enumerate(study):
                if adjusted[index] < SIGNIFICANCE:
                    continue
                found = tested(values[:num_seeds], expect="better", margin=None, sign=1)
                seen[index].append(1.0 if found is None else min(found.p_yes, found.p_no))
                seeds[index] = num_seeds
            adjusted = holm([sequential_p(p, at) for p in seen])
        decided += sum(p < SIGNIFICANCE for p in adjusted)
        used += sum(seeds)
    return decided / num_studies / shape[0], used / num_studies / shape[0]


if __name__ == "__main__":
    sys.exit(main())
