"""What speaks against comparing trials as a sweep says: its metric and its scheduler's rungs."""

import itertools
import math
from collections.abc import Iterator

from raykd.config.schema.data import SEEN, UNSEEN
from raykd.config.schema.prepare import NUMBER
from raykd.config.schema.run import RunConfig
from raykd.config.schema.study import is_probe_metric
from raykd.config.schema.sweep import SweepConfig
from raykd.distill.setup import RunSetup
from raykd.errors import RaykdError
from raykd.steps import next_evaluation
from raykd.sweep.plan.planned_runs import PlannedRun
from raykd.sweep.record import Record
from raykd.tasks.entities import why_no_entities

_PREFIX = "eval/"
_ENTITY_F1 = "entity_f1"
_FORGETTING = "forgetting"
_AGREED = "agreement"
_OF_TEACHER = (_AGREED, "teacher")
_NUMBER_METRICS = ("loss", "pearson", "spearman")

_NEARLY = 0.95
"""Share of a rung's tokens that counts as the rung, as in ``raykd.sweep.halving``."""


def comparison_problems(
    sweep: SweepConfig, run: PlannedRun, *, rungs: tuple[int, ...]
) -> Iterator[str | None]:
    """Yield why a run does not give what its sweep compares by; None where it does.

    Args:
        sweep: The sweep.
        run: One of its runs.
        rungs: Tokens at which trials are compared on the way.
    """
    kind, config, setup = run.record.kind, run.config, run.setup
    if kind == "tuning" and sweep.tune is not None:
        metric = sweep.tune.metric or sweep.metric
        yield metric_problem(metric, config, setup) or choice_problem(metric, setup)
    if kind == "trial":
        if not is_probe_metric(sweep.metric):
            problem = metric_problem(sweep.metric, config, setup)
            chooses = sweep.scheduler is not None or sweep.searcher == "optuna"
            yield problem or (choice_problem(sweep.metric, setup) if chooses else None)
        yield rung_problem(rungs, run.record, config)
    if kind == "probe":
        name = run.record.coordinates["probe"]
        yield metric_problem(sweep.probes[name].metric, config, setup)
        prefix = f"probe/{name}/"
        if sweep.metric.startswith(prefix):
            metric = f"{_PREFIX}{sweep.metric.removeprefix(prefix)}"
            yield metric_problem(metric, config, setup)


def choice_problem(metric: str, setup: RunSetup | None) -> str | None:
    """Return why runs must not be chosen by a metric that they give; None where they may.

    Args:
        metric: Such as eval/loss.
        setup: A run and its data; None where these cannot be read.
    """
    unseen = () if setup is None else _unseen_languages(setup)
    group, name, language = _parts(metric)
    if group or not unseen or (language and language not in unseen):
        return None
    return (
        f"metric={metric} counts {', '.join(unseen)}, not trained on, and runs are chosen by it: "
        f"take {_PREFIX}{SEEN}/{name}, or {_PREFIX}{UNSEEN}/{name} where these are to decide"
    )


def metric_problem(metric: str, config: RunConfig, setup: RunSetup | None) -> str | None:
    """Return why a trial's evaluations do not give a metric; None where they do.

    Args:
        metric: Such as eval/accuracy.
        config: The run.
        setup: The same and its data; None where these cannot be read.
    """
    if metric.startswith("test/"):
        return (
            f"metric={metric}: a test split by which trials are compared is none; compare them by "
            f"{_PREFIX}{metric.removeprefix('test/')}"
        )
    if config.data.eval_split is None:
        return f"data.eval_split is null, but trials are compared by metric={metric}"
    group, name, _ = _parts(metric)
    is_number = setup is not None and setup.labels == NUMBER
    # Two numbers that agree to the last digit are an accident.
    of_teacher = name in _OF_TEACHER and not (is_number and name == _AGREED)
    if metric.startswith(_PREFIX) and of_teacher and not group:
        return None if config.teachers else f"metric={metric} needs a teacher; a control has none"
    known = _NUMBER_METRICS if is_number else _metric_names(config)
    agreement = [_AGREED] if config.teachers and not is_number else []
    in_groups = {*known, *agreement} - {_FORGETTING}
    if metric.startswith(_PREFIX) and name in (in_groups if group else known):
        return None if setup is None else _data_problem(metric, setup)
    return (
        f"metric={metric} is none that evaluations of {config.task} give: "
        f"{', '.join(_PREFIX + name for name in known)}, each of a language too, such as "
        f"{_PREFIX}loss/en, and with data.eval_languages of the languages that are trained on, "
        f"or not, such as {_PREFIX}{SEEN}/loss and {_PREFIX}{UNSEEN}/loss"
    )


def rung_problem(rungs: tuple[int, ...], record: Record, config: RunConfig) -> str | None:
    """Return why a trial cannot be compared at rungs; None where it can.

    Args:
        rungs: Tokens of each.
        record: The trial.
        config: The trial's run.
    """
    # There is always an evaluation after the last step.
    if not record.num_steps or not rungs:
        return None
    tokens_of_step = record.planned_tokens / record.num_steps

    def evaluation(tokens: float) -> int:
        step = math.ceil(tokens / tokens_of_step)
        return next_evaluation(config.train, min(max(step, 1), record.num_steps), record.num_steps)

    tokens = tokens_of_step * evaluation(0)
    key = f"train.eval_every_steps={config.train.eval_every_steps}"
    if _NEARLY * tokens > rungs[0]:
        return (
            f"scheduler.asha.first_rung: the first rung, {rungs[0]:,} tokens, comes before the "
            f"first evaluation, {tokens:,.0f} tokens ({key}); raise it, or evaluate more often"
        )
    for early, late in itertools.pairwise(rungs):
        # The second rung would compare the same numbers again, among fewer trials: not what the
        # reduction factor says.
        if evaluation(_NEARLY * early) == evaluation(_NEARLY * late):
            return (
                f"scheduler.asha.reduction_factor: one evaluation would decide for two rungs, "
                f"{early:,} and {late:,} tokens ({key}); raise it, or evaluate more often"
            )
    return None


def _metric_names(config: RunConfig) -> tuple[str, ...]:
    names = ["loss", "accuracy"]
    names += ["perplexity"] if config.task.endswith("_lm") else ["macro_f1", "matthews"]
    if config.task == "token_classification":
        names.append(_ENTITY_F1)
    # Forgetting is measured from the evaluation before the first step.
    if config.student.pretrained is not None and config.train.eval_first:
        names.append(_FORGETTING)
    return tuple(names)


def _unseen_languages(setup: RunSetup) -> tuple[str, ...]:
    try:
        return setup.unseen_languages
    except RaykdError:
        # The plan of the run says so.
        return ()


def _data_problem(metric: str, setup: RunSetup) -> str | None:
    """Return why the data does not give a metric that its task has."""
    group, name, language = _parts(metric)
    try:
        shards = setup.evaluation_shards(setup.config.data.eval_split or "")
    except RaykdError:
        # The plan of the run says so.
        return None
    labels, unseen = setup.manifest.word_labels, _unseen_languages(setup)
    evaluated = sorted({shard.language for shard in shards})
    if name == _ENTITY_F1 and labels is not None and (reason := why_no_entities(labels)):
        return f"metric={metric}: {reason}"
    if language and language not in evaluated:
        return f"metric={metric}: trials are not evaluated in {language}: {', '.join(evaluated)}"
    if group and not unseen:
        return f"metric={metric}: data.eval_languages names no language that is not trained on"
    if group == SEEN and set(evaluated) <= set(unseen):
        return f"metric={metric}: data.eval_languages names no language that is trained on"
    return None


def _parts(metric: str) -> tuple[str, str, str]:
    """Return whether a metric is of seen or unseen languages, its name, and its language.

    What it has not is empty.
    """
    group, _, rest = metric.removeprefix(_PREFIX).partition("/")
    if group in (SEEN, UNSEEN):
        return group, rest, ""
    return "", group, rest
