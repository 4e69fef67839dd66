"""What speaks against the questions of a study: arms that are not there, numbers nobody gives."""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from raykd.config.load import plain
from raykd.config.schema.run import RunConfig
from raykd.config.schema.study import PROBES_MEAN, is_probe_metric
from raykd.config.schema.sweep import SweepConfig
from raykd.distill.setup import RunSetup
from raykd.steps import milestone_steps, next_evaluation
from raykd.sweep.plan.checks import metric_problem
from raykd.sweep.plan.planned_runs import PlannedRun
from raykd.sweep.questions.contrast import Measure, contrasts_of

_TEST = "test/"
_WORST = "/worst/"
_STOPPED = (
    "scheduler.asha may stop trials that questions are about: a question of which one was stopped "
    "stays undecided"
)
_LATE = 0.05
"""Share of the steps by which an evaluation may be later than where it is asked for."""


def question_findings(
    sweep: SweepConfig, runs: Sequence[PlannedRun], *, is_tuned: bool
) -> tuple[list[str], list[str]]:
    """Return why the runs of a plan cannot answer its questions, and what else is to be known.

    Args:
        sweep: The sweep.
        runs: Its trials and their probes, the expected ones too.
        is_tuned: The trials have the tuned values that were chosen for them.
    """
    if not sweep.questions:
        return [], []
    trials = {run.record.arm: run for run in runs if run.record.kind == "trial"}
    contrasts, unfit = contrasts_of(plain(sweep), (run.record for run in runs))
    numbers = _Numbers(sweep, runs)
    # In the place of a set: in the order in which they were found.
    measured = dict.fromkeys(
        (name, weight.measure, weight.arm)
        for name, contrast in contrasts.items()
        for weight in contrast.weights
    )
    # Arms for which no value could be chosen are gone: that must not keep others from going on.
    problems, notes = ([], unfit) if is_tuned else (unfit, [])
    notes += [_STOPPED] if sweep.scheduler is not None else []
    for name, measure, arm in measured:
        key, trial = f"questions.{name}", trials[arm]
        problems += [f"{key}.{problem}" for problem in numbers.problems(measure, trial)]
        notes += [f"{key}.{note}" for note in _late_notes(measure, trial)]
    return list(dict.fromkeys(problems)), list(dict.fromkeys(notes))


class _Numbers:
    """Says why runs do not give the numbers that are asked for."""

    def __init__(self, sweep: SweepConfig, runs: Sequence[PlannedRun]) -> None:
        self._sweep = sweep
        self._probes = {
            run.record.coordinates["probe"]: run for run in runs if run.record.kind == "probe"
        }
        # Many questions ask the same of an arm.
        self._of_metric = functools.cache(self._metric_problem)
        self._trials = {run.record.arm: run for run in runs if run.record.kind == "trial"}

    def problems(self, measure: Measure, trial: PlannedRun) -> Iterator[str]:
        """Yield why a trial does not give a number."""
        if is_probe_metric(measure.metric):
            yield from self._probe_problems(measure)
            return
        # Of the study's own metric, the plan of the trials says it.
        if measure.metric != self._sweep.metric:
            problem = self._of_metric(measure.metric, trial.record.arm)
            if problem is not None:
                yield problem
                return
        num_steps, every = trial.record.num_steps, trial.config.train.eval_every_steps
        is_once = next_evaluation(trial.config.train, 1, num_steps) >= num_steps > 0
        if num_steps and _step_of(measure, trial) >= num_steps and measure.at < 1:
            yield (
                f"at={measure.at:g}: no evaluation is there or past it but the one after the last "
                f"step, {num_steps:,} (train.eval_every_steps={every}): add to train.eval_at"
            )
        is_over_steps = measure.area or measure.steps_to is not None
        if is_over_steps and is_once and not trial.config.train.eval_first:
            yield (
                f"{'area' if measure.area else 'steps_to'}: trials are evaluated once, after step "
                f"{num_steps:,} (train.eval_every_steps={every}): evaluate more often"
            )

    def _metric_problem(self, metric: str, arm: str) -> str | None:
        trial = self._trials[arm]
        return _given_problem(metric, trial.config, trial.setup)

    def _probe_problems(self, measure: Measure) -> Iterator[str]:
        metric = measure.metric
        probes = {n: probe for n, probe in self._sweep.probes.items() if "trials" in probe.of}
        _, name, *rest = metric.split("/", 2)
        asked = probes if metric == PROBES_MEAN else {n: p for n, p in probes.items() if n == name}
        if not asked or (metric != PROBES_MEAN and not rest):
            known = ", ".join(probes) or "none"
            yield f"metric={metric}: it must be {PROBES_MEAN}, or probe/NAME/METRIC of {known}"
            return
        fractions = sorted({fraction for probe in asked.values() for fraction in probe.at})
        texts = ", ".join(f"{fraction:g}" for fraction in fractions)
        if measure.area or measure.steps_to is not None:
            if len(fractions) == 1:
                yield f"metric={metric}: trials are probed once, at {texts}: add to the probe's at"
        elif measure.at not in fractions:
            yield f"at={measure.at:g}: trials are not probed there for {metric}, but at {texts}"
        if rest and (run := self._probes.get(name)) is not None:
            inner = rest[0] if rest[0].startswith(_TEST) else f"eval/{rest[0]}"
            if (problem := _given_problem(inner, run.config, run.setup)) is not None:
                yield f"metric={metric}: of the probe, {problem}"


def _given_problem(metric: str, config: RunConfig, setup: RunSetup | None) -> str | None:
    """Return why a run does not give a metric, of its test split or worst language, too."""
    plain_metric = metric.replace(_WORST, "/", 1)
    if metric.startswith(_TEST):
        if config.data.test_split is None:
            return f"metric={metric}: data.test_split is null, so nothing is scored on it"
        # Scored once, on another split, as evaluations are.
        plain_metric = f"eval/{plain_metric.removeprefix(_TEST)}"
        config = replace(config, data=replace(config.data, eval_split=config.data.test_split))
        setup = None if setup is None else replace(setup, config=config)
    if _WORST in metric and plain_metric.count("/") > 1:
        return f"metric={metric}: of the worst language, it must be such as eval/worst/accuracy"
    problem = metric_problem(plain_metric, config, setup)
    if problem is not None:
        return problem.replace(f"metric={plain_metric}", f"metric={metric}", 1)
    if _WORST in metric and setup is not None and len(_languages(setup)) < 2:  # noqa: PLR2004  a worst of several
        return f"metric={metric}: trials are evaluated in one language, {_languages(setup)[0]}"
    return None


def _languages(setup: RunSetup) -> list[str]:
    shards = setup.evaluation_shards(setup.config.data.eval_split or "")
    return sorted({shard.language for shard in shards})


def _step_of(measure: Measure, trial: PlannedRun) -> int:
    """Return the step of the evaluation that counts; 0 where it is not known."""
    num_steps = trial.record.num_steps
    if not num_steps:
        return 0
    (step,) = milestone_steps((measure.at,), num_steps)
    return next_evaluation(trial.config.train, step, num_steps)


def _late_notes(measure: Measure, trial: PlannedRun) -> Iterator[str]:
    step, num_steps = _step_of(measure, trial), trial.record.num_steps
    is_late = step - measure.at * num_steps > _LATE * num_steps
    if is_late and step < num_steps and not is_probe_metric(measure.metric):
        yield (
            f"at={measure.at:g} is read at step {step:,} of {num_steps:,}, the first evaluation "
            "past it"
        )
