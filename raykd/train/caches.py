"""Caches of teachers' outputs around a run: chosen and built by one process, opened by all.

Whoever needs a cache that is not whole builds it under a lease; others that need it wait, and find
it built.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass

import torch

from raykd import storage
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import Manifest, read_manifest
from raykd.distill.assemble import task_of
from raykd.distill.models import load_teachers, student_config
from raykd.distill.world import World
from raykd.errors import StoppedError, StorageDeniedError
from raykd.remote.probe import check_storage
from raykd.teachers.cache.asking import Asker
from raykd.teachers.cache.building import Progress, Watch, build_cache, is_built
from raykd.teachers.cache.payload import Payload
from raykd.teachers.cache.planner import ModePlan, cheapest, planned_modes
from raykd.teachers.cache.reading import OpenedCache, opened_cache
from raykd.teachers.live import LiveTeacher
from raykd.train.cache_modes import modes_of
from raykd.train.cache_targets import CacheTarget, cache_targets
from raykd.train.lease import HeldLease, held_lease

Caches = dict[str, OpenedCache]
"""By the name of the teacher."""


OnProgress = Callable[[str, Progress], None]
"""Told of the name of a teacher and how far its cache is, after every part."""

_LINE_SECONDS = 15.0

_BATCHES_AT_ONCE = 4
"""Micro-batches of the run that a teacher is asked about together: it keeps nothing of a layer for
a backward pass."""


def told_in_lines(tell: Callable[[str], None]) -> OnProgress:
    """Return what tells progress in a line now and then, and when a cache is whole."""
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


def cache_device(config: RunConfig) -> torch.device:
    """Return where teachers run that are asked in this process: on a GPU, if the run has one."""
    has_gpu = config.cluster.gpus_per_worker > 0 and torch.cuda.is_available()
    return torch.device("cuda" if has_gpu else "cpu")


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheWatch:
    """Who looks on while the caches of a run are made."""

    on_message: Callable[[str], None] = lambda _: None
    """Told in a line what is chosen, and for whom it waits."""

    on_progress: OnProgress = lambda _name, _progress: None

    should_stop: Callable[[], bool] = lambda: False
    """Asked before every part, and while it waits for another; what is written stays."""


def ensure_caches(config: RunConfig, *, device: torch.device, watch: CacheWatch) -> bool:
    """Build what the caches of a run lack; return whether they are whole then.

    Args:
        config: The run.
        device: Where the teachers run.
        watch: Looks on; where it asks to stop, the caches are not whole.

    Raises:
        RaykdError: A teacher or the data cannot be read, or the caches not written.
    """
    if not any(teacher.cache for teacher in config.teachers.values()):
        return True
    manifest = read_manifest(config.data.uri)
    targets = cache_targets(config, manifest).values()
    try:
        return all(
            _Builder(config, manifest, target, device, watch).ensure() for target in targets
        )
    except StoppedError:
        return False


@contextmanager
def opened_caches(config: RunConfig, world: World) -> Iterator[Caches]:
    """Yield the caches of a run, open while the block runs.

    Raises:
        PublicationError: One is not whole, or of something else.
    """
    if not any(teacher.cache for teacher in config.teachers.values()):
        yield {}
        return
    manifest = read_manifest(config.data.uri)
    # Fingerprints of weights may take long: one worker reads them.
    targets = world.from_first(cache_targets(config, manifest) if world.rank == 0 else {})
    with ExitStack() as stack:
        found = {}
        for name, target in targets.items():
            payload = target.payload or target.candidates[0]
            cache = opened_cache(
                target.uri(payload), target.key(payload), languages=manifest.languages
            )
            found[name] = stack.enter_context(cache)
        yield found


def planned_caches(config: RunConfig, *, device: torch.device) -> dict[str, list[ModePlan]]:
    """Measure the ways to keep what each teacher with a cache says; nothing is written.

    Raises:
        RaykdError: A teacher or the data cannot be read.
    """
    manifest = read_manifest(config.data.uri)
    return {
        name: planned_modes(
            _asker(name, config, manifest, device),
            target.coverages,
            list(dict.fromkeys((*modes_of(config), *target.candidates))),
            temperatures=target.temperatures,
        )
        for name, target in cache_targets(config, manifest).items()
    }


class _Builder:
    """Chooses and builds the cache of one teacher."""

    def __init__(
        self,
        config: RunConfig,
        manifest: Manifest,
        target: CacheTarget,
        device: torch.device,
        watch: CacheWatch,
    ) -> None:
        self._config = config
        self._manifest = manifest
        self._target = target
        self._device = device
        self._watch = watch
        self._asks: Asker | None = None

    def ensure(self) -> bool:
        """Return whether the cache is whole, after building what it lacks."""
        target = self._target
        try:
            payload = target.payload
            if payload is not None and self._is_built(payload):
                return True
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
        with self._lease(f"{target.choice_uri}.lease"):
            if (known := target.payload) is not None:
                return known
            plans = planned_modes(
                self._asker, target.coverages, target.candidates, temperatures=target.temperatures
            )
            best = cheapest(plans, max_gradient_error=target.section.max_gradient_error)
            target.choose(best.payload)
        watch.on_message(
            f"cache of teacher {target.teacher}: {best.payload}, {best.bytes_per_token:.1f} bytes "
            f"per token, {best.num_bytes / 1e9:.3f} GB, gradient off by {best.gradient_error:.2%}"
        )
        return best.payload

    def _built(self, payload: Payload) -> bool:
        target, watch = self._target, self._watch
        uri = target.uri(payload)
        with self._lease(storage.join(uri, "lease.json")) as lease:
            if self._is_built(payload):
                return True
            watch.on_message(f"cache of teacher {target.teacher}: writing {payload} to {uri}")
            progress = build_cache(
                uri,
                target.key(payload),
                target.coverages,
                self._asker,
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
            has_workers=False,
            waits=True,
            on_wait=self._watch.on_message,
            should_stop=self._watch.should_stop,
        )

    @property
    def _asker(self) -> Asker:
        if self._asks is None:
            self._asks = _asker(self._target.teacher, self._config, self._manifest, self._device)
        return self._asks


def _asker(name: str, config: RunConfig, manifest: Manifest, device: torch.device) -> Asker:
    """Load a teacher, to be asked."""
    model = load_teachers(config, manifest, names=[name])[name].to(device)
    student = student_config(config, manifest)
    return Asker(
        manifest=manifest,
        task=task_of(config, manifest, model_type=student.model_type),
        teacher=LiveTeacher(model),
        batch_size=_BATCHES_AT_ONCE * config.train.micro_batch_size,
        device=device,
    )
