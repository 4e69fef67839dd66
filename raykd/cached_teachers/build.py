"""Caches of teachers' outputs around a run: chosen and built by one driver, opened by all.

Whoever needs a cache that is not complete builds it under a lease, by itself or by its workers;
others that need it meanwhile write some of its parts, then wait, and find it built.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

from raykd.cached_teachers.modes import modes_of
from raykd.cached_teachers.targets import CacheTarget, cache_targets
from raykd.cached_teachers.writer import (
    CacheWatch,
    CacheWriter,
    OnProgress,
    TeacherWriter,
    Workers,
)
from raykd.config.schema.run import RunConfig
from raykd.distill.setup import RunSetup, read_setup
from raykd.distill.world import World
from raykd.errors import StoppedError, StorageDeniedError
from raykd.storage import uris
from raykd.storage.leases.lease import HeldLease, held_lease
from raykd.storage.leases.records import holders_of
from raykd.storage.published import layout
from raykd.storage.remote.probe import check_storage
from raykd.teachers.cache.building import Progress, Watch, build_cache, help_build, is_built
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.planner import ModePlan, cheapest
from raykd.teachers.cache.reading import OpenedCache, opened_cache

Caches = dict[str, OpenedCache]
"""By the name of the teacher."""

_LINE_SECONDS = 15.0


def told_in_lines(tell: Callable[[str], None]) -> OnProgress:
    """Return what tells progress in a line now and then, and when a cache is complete."""
    last = time.monotonic()

    def on_progress(name: str, progress: Progress) -> None:
        nonlocal last
        if not progress.is_whole and time.monotonic() < last + _LINE_SECONDS:
            return
        last = time.monotonic()
        tell(
            f"cache of teacher {name}: {progress.rows:,} of {progress.total_rows:,} rows, "
            f"{progress.num_bytes / 1e6:,.1f} MB"
        )

    return on_progress


def ensure_caches(config: RunConfig, *, watch: CacheWatch, workers: Workers | None = None) -> bool:
    """Build what the caches of a run lack; return whether they are complete then.

    Args:
        config: The run.
        watch: Looks on; where it requests to stop, the caches are not complete.
        workers: Who runs the teachers; None is this process.

    Raises:
        RaykdError: A teacher or the data cannot be read, or the caches not written.
    """
    if not any(teacher.cache for teacher in config.teachers.values()):
        return True
    targets = cache_targets(read_setup(config)).values()
    try:
        return all(_ensured(config, target, watch, workers) for target in targets)
    except StoppedError:
        return False


@contextmanager
def opened_caches(setup: RunSetup, world: World) -> Iterator[Caches]:
    """Yield the caches of a run, open while the block runs.

    Raises:
        PublicationError: One is not complete, or of something else.
    """
    if not any(teacher.cache for teacher in setup.config.teachers.values()):
        yield {}
        return
    # Fingerprints of weights may take long: one worker reads them.
    targets = world.broadcast(cache_targets(setup) if world.rank == 0 else {})
    with ExitStack() as stack:
        opened = {}
        for name, target in targets.items():
            payload = target.payload or target.candidates[0]
            cache = opened_cache(
                target.uri(payload), target.key(payload), languages=setup.manifest.languages
            )
            opened[name] = stack.enter_context(cache)
        yield opened


def planned_caches(
    config: RunConfig, *, watch: CacheWatch, workers: Workers | None = None
) -> dict[str, list[ModePlan]]:
    """Measure the ways to keep what each teacher with a cache says; nothing is written.

    Args:
        config: The run.
        watch: Looks on.
        workers: Who runs the teachers; None is this process.

    Raises:
        RaykdError: A teacher or the data cannot be read.
    """
    plans = {}
    for name, target in cache_targets(read_setup(config)).items():
        ways = list(dict.fromkeys((*modes_of(config), *target.candidates)))
        with (workers or _in_this_process)(config, name, watch) as writer:
            plans[name] = writer.plans(target.coverages, ways, target.temperatures)
    return plans


@contextmanager
def _in_this_process(config: RunConfig, name: str, watch: CacheWatch) -> Iterator[CacheWriter]:
    del watch
    yield TeacherWriter(config, name)


def _ensured(
    config: RunConfig, target: CacheTarget, watch: CacheWatch, workers: Workers | None
) -> bool:
    with ExitStack() as stack:
        opened = (workers or _in_this_process)(config, target.teacher, watch)
        return _Builder(
            target,
            watch,
            opens=lambda: stack.enter_context(opened),
            has_workers=workers is not None,
        ).ensure()


class _Builder:
    """Chooses and builds the cache of one teacher."""

    def __init__(
        self,
        target: CacheTarget,
        watch: CacheWatch,
        *,
        opens: Callable[[], CacheWriter],
        has_workers: bool,
    ) -> None:
        self._target = target
        self._watch = watch
        self._opens = opens
        self._has_workers = has_workers
        self._opened: CacheWriter | None = None

    def ensure(self) -> bool:
        """Return whether the cache is complete, after building what it lacks."""
        target = self._target
        try:
            payload = target.payload
            if payload is not None and self._is_built(payload):
                return True
            # Before the teacher runs: what cannot be written need not be computed.
            check_storage(target.root)
            return self._built(payload or self._chosen())
        except StorageDeniedError as error:
            message = (
                f"{error}; what teacher {target.teacher} says would be kept there: name another "
                f"place with teachers.{target.teacher}.cache.uri"
            )
            raise StorageDeniedError(message) from error

    def _is_built(self, payload: Payload) -> bool:
        target = self._target
        return is_built(target.uri(payload), target.key(payload), target.coverages)

    def _chosen(self) -> Payload:
        """Measure the ways that auto chooses from, unless another process has done so."""
        target, watch = self._target, self._watch
        # Under a lease: runs that start together must read one cache, and so make one choice.
        with self._lease(f"{target.choice_uri}.lease"):
            if (known := target.payload) is not None:
                return known
            plans = self._writer.plans(target.coverages, target.candidates, target.temperatures)
            best = cheapest(plans, max_gradient_error=target.section.max_gradient_error)
            target.choose(best.payload)
        watch.on_message(
            f"cache of teacher {target.teacher}: {best.payload}, {best.bytes_per_token:.1f} bytes "
            f"per token, {best.num_bytes / 1e9:.3f} GB, gradient off by {best.gradient_error:.2%}"
        )
        return best.payload

    def _built(self, payload: Payload) -> bool:
        target, watch = self._target, self._watch
        uri, key = target.uri(payload), target.key(payload)
        lease_uri = uris.join(uri, layout.LEASE)
        # Parts are independent of one another: two that write them are done in half the time.
        if holders_of(lease_uri):
            watch.on_message(f"cache of teacher {target.teacher}: helping to write it to {uri}")
            help_build(uri, key, target.coverages, self._writer, watch.should_stop)
        with self._lease(lease_uri) as lease:
            # Looked at again: the holder that was waited for has mostly built it.
            if self._is_built(payload):
                return True
            watch.on_message(f"cache of teacher {target.teacher}: writing {payload} to {uri}")
            progress = build_cache(
                uri,
                key,
                target.coverages,
                self._writer,
                Watch(
                    on_progress=lambda progress: watch.on_progress(target.teacher, progress),
                    should_stop=lambda: lease.is_lost or watch.should_stop(),
                ),
            )
        return progress.is_whole

    def _lease(self, uri: str) -> AbstractContextManager[HeldLease]:
        """Return a lease that others are waited for with."""
        return held_lease(
            uri,
            has_workers=self._has_workers,
            waits=True,
            on_wait=self._watch.on_message,
            should_stop=self._watch.should_stop,
        )

    @property
    def _writer(self) -> CacheWriter:
        """Runs the teacher, which is loaded when it is first needed."""
        if self._opened is None:
            self._opened = self._opens()
        return self._opened
