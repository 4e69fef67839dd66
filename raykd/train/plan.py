"""What a run would do, found out without starting it; and everything that speaks against it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.data.stream import ALL_LANGUAGES, chosen_shards, mixing_weights
from raykd.distill.assemble import num_steps, task_of
from raykd.distill.models import (
    check_layer_terms,
    check_pretrained,
    served_languages,
    student_config,
    teacher_class_order,
    trained_languages,
)
from raykd.distill.projections import check_projections, check_teacher_projections
from raykd.distill.start import StudentStart, plan_start
from raykd.errors import ConfigError, RaykdError
from raykd.models.build import count_parameters
from raykd.models.checks import check_weights
from raykd.models.load import load_config, resolve_model
from raykd.models.locations import is_location
from raykd.teachers.build import check_languages
from raykd.train.cache_plan import CachePlan, plan_caches
from raykd.train.checkpoint import committed_steps
from raykd.train.fit import check_length, check_tokenizer, remarks
from raykd.train.inputs import check_inputs
from raykd.train.paths import RunPaths, run_paths
from raykd.train.sizes import ModelPlan, memory_bytes, shared_bytes
from raykd.train.trackers import check_trackers
from raykd.train.worker import read_result

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class DataPlan:
    """What a run reads."""

    train_rows: int
    train_tokens: int
    eval_rows: int
    shares: dict[str, float]
    """Share of each language in the rows drawn; empty where languages are not mixed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would do."""

    run_uri: str
    found: str
    """What is there already, and so where the run would begin."""

    problems: tuple[str, ...]
    """Every reason the run cannot start."""

    remarks: tuple[str, ...]
    """What is taken for granted, and what evaluations will lack; each a line."""

    num_steps: int
    """0 where it depends on data that cannot be read."""

    data: DataPlan | None
    student: ModelPlan | None
    teachers: dict[str, ModelPlan]
    caches: dict[str, CachePlan]
    """What is kept of teachers' outputs, by their names."""

    start: StudentStart | None
    """Where the weights of a built student would come from; None where they are random,
    pretrained or in a checkpoint that the run continues from."""

    memory_bytes: int | None
    """Estimate for each worker; None where the models are not known."""

    shared_bytes: int | None
    """Of it: what runs of one process have once, the process itself and the teachers."""


def plan_run(config: RunConfig, *, fresh: bool = False) -> Plan:
    """Find out what a run would do; read configurations and manifests, load no weights.

    Args:
        config: The run.
        fresh: It would start over, whatever checkpoints there are.
    """
    paths = run_paths(config)
    begins = fresh or not committed_steps(paths.checkpoints)
    problems = _Problems()
    problems.collect(lambda: check_trackers(config))
    manifest = problems.collect(lambda: read_manifest(config.data.uri))
    if manifest is None:
        return Plan(
            run_uri=paths.run,
            found=_found(paths),
            problems=problems.found(),
            remarks=(),
            num_steps=config.train.num_steps or 0,
            data=None,
            student=None,
            teachers={},
            caches={},
            start=None,
            memory_bytes=None,
            shared_bytes=None,
        )
    problems.collect(lambda: check_inputs(config))
    data = problems.collect(lambda: _plan_data(config, manifest))
    teachers = _plan_teachers(config, manifest, problems)
    student = problems.collect(lambda: _plan_student(config, manifest))
    problems.collect(
        lambda: check_languages(
            config.teacher_weights,
            served_languages(config),
            languages=manifest.languages,
            trained=trained_languages(config, manifest),
        )
    )
    caches = problems.collect(lambda: plan_caches(config, manifest)) or {}
    start = None
    if student is not None:
        if config.student.init is not None and begins:
            start = problems.collect(lambda: plan_start(config, manifest, student=student.config))
        problems.collect(lambda: check_projections(config, manifest, student=student.config))
        problems.collect(lambda: _check_models(config, manifest, student, teachers))
    return Plan(
        run_uri=paths.run,
        found=_found(paths),
        problems=problems.found(),
        remarks=tuple(
            remarks(
                config,
                manifest,
                teachers={name: plan.config for name, plan in teachers.items()},
                start=start,
            )
        ),
        num_steps=num_steps(config, manifest) if data is not None else 0,
        data=data,
        student=student,
        teachers=teachers,
        caches=caches,
        start=start,
        memory_bytes=None
        if student is None or data is None
        else memory_bytes(config, manifest, student=student, teachers=teachers),
        shared_bytes=shared_bytes(config, teachers),
    )


def require_runnable(plan: Plan) -> None:
    """Refuse to start a run that has problems.

    Raises:
        ConfigError: There are some; the message lists all of them.
    """
    if plan.problems:
        lines = "\n".join(f"  - {problem}" for problem in plan.problems)
        message = f"{plan.run_uri}: {len(plan.problems)} problem(s)\n{lines}"
        raise ConfigError(message)


class _Problems:
    """Collects what goes wrong, so that all of it can be told at once."""

    def __init__(self) -> None:
        self._messages: list[str] = []

    def collect(self, find: Callable[[], T]) -> T | None:
        """Return what is found, or None after noting why it cannot be."""
        try:
            return find()
        except RaykdError as error:
            self._messages.append(str(error))
            return None

    def found(self) -> tuple[str, ...]:
        """Return every problem once."""
        return tuple(dict.fromkeys(self._messages))


def _found(paths: RunPaths) -> str:
    if read_result(paths) is not None:
        return "the run is done; --fresh would start over"
    if steps := committed_steps(paths.checkpoints):
        return f"a checkpoint of step {steps[-1]}; the run continues there"
    return "nothing yet; the run starts at its first step"


def _plan_data(config: RunConfig, manifest: Manifest) -> DataPlan:
    train = chosen_shards(manifest, config.data, config.data.train_split)
    split = config.data.eval_split
    evaluated = () if split is None else chosen_shards(manifest, config.data, split)
    shares = mixing_weights(manifest, config.data)
    return DataPlan(
        train_rows=sum(shard.rows for shard in train),
        train_tokens=sum(shard.tokens for shard in train),
        eval_rows=sum(shard.rows for shard in evaluated),
        shares={} if ALL_LANGUAGES in shares else shares,
    )


def _plan_teachers(
    config: RunConfig, manifest: Manifest, problems: _Problems
) -> dict[str, ModelPlan]:
    plans = {}
    for name, section in config.teachers.items():
        key = f"teachers.{name}.model"
        plan = problems.collect(
            lambda: _plan_loaded(key, section.model, section.revision, config, manifest)  # noqa: B023  called at once
        )
        if plan is not None:
            problems.collect(lambda: _check_teacher(name, config, manifest, plan))  # noqa: B023
            plans[name] = plan
    return plans


def _check_teacher(name: str, config: RunConfig, manifest: Manifest, plan: ModelPlan) -> None:
    """Check that a teacher scores the data's classes, in every language it is asked about."""
    teacher_class_order(name, plan.config, config, manifest)
    check_teacher_projections(name, config, manifest, teacher=plan.config)


def _plan_student(config: RunConfig, manifest: Manifest) -> ModelPlan:
    section = config.student
    if section.pretrained is not None:
        return _plan_loaded(
            "student.pretrained", section.pretrained, section.revision, config, manifest
        )
    built = student_config(config, manifest)
    return ModelPlan(config=built, parameters=count_parameters(built, config.task))


def _plan_loaded(
    key: str, source: str, revision: str | None, config: RunConfig, manifest: Manifest
) -> ModelPlan:
    """Describe a model that is loaded, once it is known to fit the data."""
    loaded = load_config(source, revision=revision)
    check_length(key, source, loaded, manifest)
    check_tokenizer(key, source, manifest)
    if is_location(where := resolve_model(source)):
        check_weights(where, source)
    return ModelPlan(config=loaded, parameters=count_parameters(loaded, config.task))


def _check_models(
    config: RunConfig, manifest: Manifest, student: ModelPlan, teachers: dict[str, ModelPlan]
) -> None:
    """Check what the student has to do with the task, and its layers with the teachers'."""
    if config.student.pretrained is not None:
        check_pretrained(config, manifest, student.config)
    task_of(config, manifest, model_type=student.config.model_type)
    if teachers.keys() == config.teachers.keys():
        check_layer_terms(
            config,
            student=student.config,
            teachers={name: plan.config for name, plan in teachers.items()},
        )
