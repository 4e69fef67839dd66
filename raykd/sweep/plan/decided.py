"""The runs of a sweep, as far as results have decided on them."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from raykd.config.load import plain
from raykd.config.schema.sweep import SweepConfig
from raykd.sweep.grid.entry import with_seed
from raykd.sweep.grid.expand import Expansion
from raykd.sweep.grid.space import Draws
from raykd.sweep.ledger import Ledger
from raykd.sweep.plan.placeholder_models import placeholder_models
from raykd.sweep.plan.planned_runs import PlannedRun, Runs
from raykd.sweep.plan.problems import Problems
from raykd.sweep.questions.answers import answers_of
from raykd.sweep.questions.asked import asked_now
from raykd.sweep.questions.seeds import Look, going_on, is_over, looks_of
from raykd.sweep.record import Record, State


@dataclass(frozen=True, kw_only=True, slots=True)
class MoreSeeds:
    """Trials with further seeds, as far as looks at the results have decided on them."""

    look: Look
    """The one that is waited for, or was the last."""

    is_over: bool
    """Whether all runs of it have ended, so that there is no other."""

    runs: tuple[PlannedRun, ...]
    """The trials up to this look, each followed by its probes."""

    undecided: tuple[str, ...]
    """Questions that they are for: before the first look is over all, but for parts."""

    at_most: tuple[PlannedRun, ...]
    """What may follow, in number and cost."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DecidedRuns:
    """The runs of a sweep; stages and trials with their probes."""

    stages: tuple[PlannedRun, ...]
    tuning: tuple[PlannedRun, ...]
    trials: tuple[PlannedRun, ...]
    """Those with further seeds, too."""

    undecided: tuple[PlannedRun, ...]
    """Trials whose tuned values are still to be chosen, each with the first ones."""

    sample: tuple[PlannedRun, ...]
    """Those of the trials that are of the first sample."""

    more_seeds: MoreSeeds | None
    """None where no seeds may follow."""


def decided_runs(
    sweep: SweepConfig,
    samples: Sequence[Draws],
    records: Mapping[str, Record],
    *,
    expansion: Expansion,
    problems: Problems,
    ledger: Ledger | None,
) -> DecidedRuns:
    """Plan the runs of some samples.

    Args:
        sweep: What is asked for.
        samples: Of its search.
        records: What is known of the sweep's runs: they decide.
        expansion: Of the sweep.
        problems: Takes what speaks against runs.
        ledger: What the sweep was asked before; None before its first start.
    """
    with placeholder_models() as models:
        runs = Runs(models, problems)
        # Before the others: their plans load the placeholders of the stages' models.
        stages = runs.planned_stages(expansion.stages)
        following = expansion.runs(samples, records)
        trials = runs.planned_with_probes(following.trials, expansion)
        undecided = runs.planned_with_probes(following.undecided, expansion)
        first = following if len(samples) == 1 else expansion.runs(samples[:1], records)
        of_first = {entry.id for entry in first.trials}

        def further(seeds: Sequence[int], arms: Collection[str]) -> tuple[PlannedRun, ...]:
            entries = expansion.further(following, seeds=seeds, arms=arms)
            return runs.planned_with_probes(entries, expansion)

        more = _more_seeds(
            sweep,
            trials or undecided,
            # Trials with the first of the tuned values may be there from an earlier start.
            records if trials else {},
            ledger=ledger,
            further=further,
        )
        return DecidedRuns(
            stages=runs.with_probes(expansion.stages, stages, expansion),
            tuning=runs.planned(following.tuning),
            trials=more.runs if more is not None and trials else trials,
            undecided=undecided,
            sample=tuple(r for r in trials if {r.record.id, r.record.probed} & of_first),
            more_seeds=more,
        )


def is_waiting(sweep: SweepConfig, records: Mapping[str, Record]) -> bool:
    """Tell whether nothing more is decided before some runs of a sweep have ended."""
    if any(r.kind == "tuning" and not r.state.is_terminal for r in records.values()):
        return True
    every = (*sweep.seeds, *sweep.more_seeds)
    return bool(sweep.more_seeds) and not is_over(records, every)


def _more_seeds(
    sweep: SweepConfig,
    first: tuple[PlannedRun, ...],
    records: Mapping[str, Record],
    *,
    ledger: Ledger | None,
    further: Callable[[Sequence[int], Collection[str]], tuple[PlannedRun, ...]],
) -> MoreSeeds | None:
    """Look at the results, as far as they are there, and plan what follows from each look.

    Args:
        sweep: What is asked for.
        first: Trials with the first seeds, and their probes.
        records: What is known of them, and of those with further seeds.
        ledger: What was asked before.
        further: Plans trials with some seeds of some arms, and their probes.
    """
    parts = {part for question in sweep.questions.values() for part in question.all}
    runs, names, left = first, set(sweep.questions), list(sweep.more_seeds)
    for look in looks_of(sweep) if first else ():
        seen = {run.record.id: _as_known(run.record, records) for run in runs}
        asked = asked_now(plain(sweep), seen, before=ledger, now=0.0)
        answers = [
            answer
            for answer in answers_of(plain(sweep), seen, asked=asked, seeds=look.seeds)
            if not answer.is_withdrawn
        ]
        is_decided = is_over(seen, look.seeds)
        if is_decided:
            # What was decided once stays so.
            names &= going_on(answers, look.seeds).keys()
        arms = {arm for answer in answers if answer.name in names for arm in answer.weights}
        if not is_decided or not look.following or not arms:
            return MoreSeeds(
                look=look,
                is_over=is_decided,
                runs=runs,
                undecided=tuple(name for name in sweep.questions if name in names - parts),
                at_most=() if is_decided else tuple(_stand_ins(first, arms, left)),
            )
        runs += further(look.following, arms)
        del left[: len(look.following)]
    return None


def _as_known(planned: Record, records: Mapping[str, Record]) -> Record:
    """Return a record with what the ledger knows of its progress; waiting where it does not."""
    # As planned else: what the ledger says of its place in the study may be of another file.
    known = records.get(planned.id, replace(planned, state=State.WAITING, evaluations=()))
    return replace(planned, state=known.state, evaluations=known.evaluations, stop=known.stop)


def _stand_ins(
    first: Iterable[PlannedRun], arms: Collection[str], seeds: Sequence[int]
) -> Iterator[PlannedRun]:
    """Yield what stands for trials of some arms with further seeds, and for their probes.

    Args:
        first: Trials with the first seeds, and their probes.
        arms: Names of arms.
        seeds: The further ones.
    """
    of_arms: dict[str, str] = {}
    for run in first:
        if run.record.kind == "trial" and run.record.arm in arms:
            of_arms.setdefault(run.record.arm, run.record.id)
    ids = {*of_arms.values()}
    whole = [run for run in first if {run.record.id, run.record.probed} & ids]
    for seed in seeds:
        for run in whole:
            # A trial is seen with its seed, on which masks depend; probes have seeds of their own.
            config = with_seed(run.config, seed if run.record.kind == "trial" else None)
            record = replace(run.record, state=State.WAITING, evaluations=())
            yield replace(run, record=record, config=config, first_step=0)
