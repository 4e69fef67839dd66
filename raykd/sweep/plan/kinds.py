"""Kinds of runs: a plan is made once for all runs that differ only in what it does not see.

A thousand trials are often a few kinds: seeds, learning rates and weights of losses change
neither the models nor what a step costs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from raykd.config.schedule import parse_schedule
from raykd.config.schema.losses import LossesConfig
from raykd.config.schema.run import RunConfig
from raykd.config.schema.train import CheckpointConfig, OptimizerConfig, TrackingConfig
from raykd.distill.setup import RunSetup
from raykd.errors import RaykdError
from raykd.planning.flops import RunFlops, cache_flops, run_flops
from raykd.planning.memory import ModelPlan
from raykd.planning.run_plan import Plan, plan_run
from raykd.sweep.model_size import ModelSize
from raykd.sweep.plan.model_sizes import model_sizes
from raykd.sweep.plan.placeholder_models import PlaceholderModels


@dataclass(frozen=True, kw_only=True, slots=True)
class KindPlan:
    """What all runs of a kind would do; by default, nothing is known of it."""

    problems: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    num_steps: int = 0
    planned_tokens: int = 0
    """Estimate from the mean length of the rows; 0 where the data cannot be read."""

    setup: RunSetup | None = None
    """A run of the kind and its data; None where these cannot be read."""

    student: ModelPlan | None = None
    models: Mapping[str, ModelSize] = field(default_factory=dict)
    """Sizes of the models, as in the ledger."""

    flops: RunFlops | None = None
    """None where there are problems."""

    cache_flops: Mapping[str, float] = field(default_factory=dict)
    """Operations, in all, to compute the outputs that are kept, by teacher."""

    memory_bytes: int | None = None
    shared_bytes: int | None = None
    """Part of it that runs of one process have once: the process and the teachers."""


def kind_of(config: RunConfig) -> RunConfig:
    """Return the run that stands for all those whose plans are alike."""
    return replace(
        config,
        name="planned",
        inputs={},
        train=replace(config.train, seed=0),
        losses=_losses_kind(config.losses),
        optimizer=OptimizerConfig(),
        checkpoint=CheckpointConfig(),
        tracking=TrackingConfig(),
    )


class Planner:
    """Plans runs, each kind once, before the models that they need are there."""

    def __init__(self, placeholders: PlaceholderModels) -> None:
        """Begin with no plan.

        Args:
            placeholders: For models that are not there yet; more may be added later on.
        """
        self._placeholders = placeholders
        self._plans: dict[str, KindPlan] = {}

    def of(self, config: RunConfig) -> KindPlan:
        """Return the plan of a run."""
        kind = replace(
            kind_of(self._placeholders.applied(config)), output_uri=self._placeholders.empty_uri
        )
        # As in sharing_key: equal configurations have equal reprs.
        key = repr(kind)
        if key not in self._plans:
            self._plans[key] = self._planned(kind)
        return self._plans[key]

    def _planned(self, kind: RunConfig) -> KindPlan:
        # Fresh, and at a URI where nothing is: the progress of a run is no part of its kind.
        plan = plan_run(kind, fresh=True)
        problems = list(plan.problems)
        flops = None
        caches: dict[str, float] = {}
        if not problems and plan.setup is not None and plan.student is not None:
            try:
                teachers = {name: teacher.config for name, teacher in plan.teachers.items()}
                flops = run_flops(plan.setup, student=plan.student.config, teachers=teachers)
                caches = cache_flops(plan.setup, teachers)
            except RaykdError as error:
                problems.append(str(error))
        return KindPlan(
            problems=tuple(self._placeholders.named(problem) for problem in problems),
            remarks=plan.remarks,
            num_steps=plan.num_steps,
            planned_tokens=_tokens(kind, plan),
            setup=plan.setup,
            student=plan.student,
            models=model_sizes(plan),
            flops=flops,
            cache_flops=caches,
            memory_bytes=plan.memory_bytes,
            shared_bytes=plan.shared_bytes,
        )


def _tokens(kind: RunConfig, plan: Plan) -> int:
    if plan.data is None or not plan.data.train_rows:
        return 0
    # The mean length is that of the split's rows: mixing by language may shift it.
    rows = plan.num_steps * kind.train.global_batch_size
    return round(rows * plan.data.train_tokens / plan.data.train_rows)


def _losses_kind(losses: LossesConfig) -> LossesConfig:
    terms = {f.name: getattr(losses, f.name) for f in fields(losses)}
    kinds = {name: None if term is None else _term_kind(term) for name, term in terms.items()}
    return LossesConfig(**kinds)


def _term_kind(term: Any) -> Any:
    """Return a term with the weight and the temperature that stand for all alike."""
    values = parse_schedule(term.weight).values
    # Always on and never on are two kinds; one that is off for a while keeps its schedule, as what
    # a step computes depends on it.
    weight = "1" if min(values) > 0 else "0" if not any(values) else term.weight
    changes = {"weight": weight}
    if hasattr(term, "temperature"):
        changes["temperature"] = "1"
    return replace(term, **changes)
