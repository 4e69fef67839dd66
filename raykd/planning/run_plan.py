"""What a run would do, found out without starting it; and everything that speaks against it."""

from dataclasses import dataclass, field
from functools import partial

from raykd.config.inputs import Named, models_by_teacher
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import RunSetup, check_eval_languages, read_setup
from raykd.distill.start import StudentStart, plan_start
from raykd.errors import ConfigError, RaykdError
from raykd.models.load import load_config
from raykd.planning.cache_plan import CachePlan, plan_caches
from raykd.planning.memory import (
    DataPlan,
    ModelPlan,
    checkpoint_bytes,
    memory_bytes,
    planned_data,
    shared_bytes,
)
from raykd.planning.model_fit import check_source, remarks
from raykd.planning.model_plans import plan_models
from raykd.planning.objective_fit import objective_problems
from raykd.planning.problems import Problems
from raykd.runs.checkpoint import committed_steps
from raykd.runs.inputs import check_inputs, other_runs, pinned
from raykd.runs.paths import RunPaths, run_paths
from raykd.runs.result import read_result
from raykd.runs.trackers.open import check_trackers
from raykd.storage import uris
from raykd.storage.remote.local_place import require_writable


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would do."""

    run_uri: str
    """Without the hash that its inputs decide, where they cannot be read."""

    progress: str
    """What is there already, and so where the run would begin."""

    problems: tuple[str, ...]
    """Every reason the run cannot start."""

    remarks: tuple[str, ...]
    """What is taken for granted, and what evaluations will lack; each a line."""

    num_steps: int
    """0 where it depends on data that cannot be read."""

    others: tuple[str, ...] = ()
    """What holds something else by now than for runs of the same configuration, where the run
    would begin."""

    setup: RunSetup | None = None
    """None where the data cannot be read."""

    data: DataPlan | None = None
    student: ModelPlan | None = None
    teachers: dict[str, ModelPlan] = field(default_factory=dict)
    caches: dict[str, CachePlan] = field(default_factory=dict)
    """What is kept of teachers' outputs, by their names."""

    start: StudentStart | None = None
    """Where the weights of a built student would come from; None where they are random,
    pretrained or in a checkpoint that the run continues from."""

    memory_bytes: int | None = None
    """Estimate for each worker; None where the models are not known."""

    shared_bytes: int | None = None
    """Part of it that runs of one process have once: the process itself and the teachers."""


def plan_run(config: RunConfig, *, fresh: bool = False) -> Plan:
    """Find out what a run would do; read configurations and manifests, load no weights.

    Args:
        config: The run.
        fresh: It would start over, whatever checkpoints there are.
    """
    problems = Problems()
    place = _place(config, problems)
    begins = fresh or place.is_empty
    problems.collect(lambda: check_trackers(config))
    setup = problems.collect(lambda: read_setup(config))
    if setup is None:
        # What needs no data is still examined: all problems are told at once.
        for named in _loaded_models(config):
            problems.collect(partial(load_config, named.source, revision=named.revision))
        return Plan(
            run_uri=place.uri,
            progress=place.progress,
            problems=problems.found() or place.problems,
            remarks=(),
            num_steps=config.train.num_steps or 0,
        )
    problems.collect(lambda: check_inputs(config))
    data = problems.collect(lambda: planned_data(setup))
    problems.collect(lambda: check_eval_languages(setup))
    problems.note(objective_problems(setup))
    student, teachers = plan_models(setup, problems)
    caches = problems.collect(lambda: plan_caches(setup)) or {}
    start = None
    if student is not None:
        if config.student.init is not None and begins:
            problems.collect(lambda: check_source(setup))
            start = problems.collect(lambda: plan_start(setup, student=student.config))
        if (paths := place.paths) is not None:
            problems.collect(lambda: _check_room(paths, student))
    return Plan(
        run_uri=place.uri,
        progress=place.progress,
        others=place.others,
        problems=problems.found() or place.problems,
        remarks=tuple(
            remarks(
                setup,
                teachers={name: plan.config for name, plan in teachers.items()},
                start=start,
            )
        ),
        num_steps=setup.num_steps if data is not None else 0,
        setup=setup,
        data=data,
        student=student,
        teachers=teachers,
        caches=caches,
        start=start,
        memory_bytes=memory_bytes(setup, student=student, teachers=teachers)
        if student is not None
        and data is not None
        and teachers.keys() == models_by_teacher(config).keys()
        else None,
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


def _loaded_models(config: RunConfig) -> list[Named]:
    """Return the models that a run loads."""
    models, student = [*models_by_teacher(config).values()], config.student
    if student.pretrained is not None:
        models.append(Named(source=student.pretrained, revision=student.revision))
    return models


@dataclass(frozen=True, kw_only=True, slots=True)
class _Place:
    """Where a run stands."""

    uri: str
    progress: str
    paths: RunPaths | None = None
    """None where there is no place, or nobody knows which."""

    is_empty: bool = True
    others: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    """Told where nothing says more of the same."""


def _place(config: RunConfig, problems: Problems) -> _Place:
    """Find out where a run stands; without what its inputs hold, nobody knows."""
    uri = uris.join(uris.absolute(config.output_uri), config.name)
    problems.collect(lambda: require_writable(uri, "output_uri"))
    if problems.found():
        return _Place(uri=uri, progress="no place for a run")
    try:
        named = pinned(config)
    except RaykdError as error:
        progress = "not known before its inputs are there"
        return _Place(uri=uri, progress=progress, problems=(str(error),))
    paths = run_paths(named)
    if read_result(paths) is not None:
        progress = "the run is done; --fresh would start over"
    elif steps := committed_steps(paths.checkpoints):
        progress = f"a checkpoint of step {steps[-1]}; the run continues there"
    else:
        return _Place(
            uri=paths.run,
            progress="nothing yet; the run starts at its first step",
            paths=paths,
            others=tuple(other_runs(named)),
        )
    return _Place(uri=paths.run, progress=progress, paths=paths, is_empty=False)


def _check_room(paths: RunPaths, student: ModelPlan) -> None:
    """Check that there is room for one checkpoint more, of a run that has yet to write any."""
    if read_result(paths) is None:
        num_bytes = checkpoint_bytes(student)
        require_writable(paths.run, "output_uri", num_bytes=num_bytes)
