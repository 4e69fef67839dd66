"""Which caches of teachers' outputs a run reads: their keys, their places, what they must hold."""

import hashlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace

import numpy as np

from raykd.cached_teachers.modes import candidates_of
from raykd.config.inputs import models_by_teacher
from raykd.config.schedule import parse_schedule
from raykd.config.schema.losses import LossesConfig
from raykd.config.schema.run import RunConfig
from raykd.config.schema.teachers import CacheConfig
from raykd.data.manifest import Shard
from raykd.data.selection import training_reads
from raykd.distill.setup import RunSetup
from raykd.errors import ConfigError
from raykd.models.fingerprint import fingerprints, hub_commit
from raykd.models.locations import is_location
from raykd.storage import uris
from raykd.tasks.masked_lm import mask_epochs
from raykd.teachers.cache.key import CacheKey, Masks
from raykd.teachers.cache.parts import Coverage
from raykd.teachers.cache.payload import Payload

DIRECTORY = "cache"
"""Name of the directory of caches, beside the prepared data."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheTarget:
    """The cache of one teacher, as a run needs it."""

    teacher: str
    """Its name in the run."""

    section: CacheConfig
    root: str
    """Directory of caches."""

    template: CacheKey
    """The key, but for what is kept."""

    coverages: tuple[Coverage, ...]
    temperatures: tuple[float, ...]
    """Temperatures of the run's losses on scores."""

    candidates: tuple[Payload, ...]
    """What mode auto chooses from; the only one where nothing is to choose."""

    def key(self, payload: Payload) -> CacheKey:
        """Return the key of the cache that keeps something."""
        return replace(self.template, payload=payload)

    def uri(self, payload: Payload) -> str:
        """Return where it lies."""
        return uris.join(self.root, self.key(payload).name)

    @property
    def choice_uri(self) -> str:
        """Where it is kept what mode auto has chosen."""
        # All that the choice follows from: other runs with the same make the same.
        question = {
            "key": self.template.content,
            "temperatures": self.temperatures,
            "max_gradient_error": self.section.max_gradient_error,
            "candidates": [asdict(payload) for payload in self.candidates],
        }
        digest = hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()
        return uris.join(self.root, f"auto-{digest[:16]}.json")

    @property
    def payload(self) -> Payload | None:
        """What is kept; None where mode auto has not chosen yet."""
        if len(self.candidates) == 1:
            return self.candidates[0]
        try:
            chosen = Payload(**json.loads(uris.read_bytes(self.choice_uri)))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        return chosen if chosen in self.candidates else None

    def choose(self, payload: Payload) -> None:
        """Keep what mode auto has chosen, for all runs with the same question."""
        uris.write_bytes(self.choice_uri, json.dumps(asdict(payload)).encode())


def cache_targets(setup: RunSetup) -> dict[str, CacheTarget]:
    """Return the caches that a run reads, by the names of the teachers.

    Raises:
        ConfigError: There is no place beside the data.
        RaykdError: A teacher or the data cannot be read.
    """
    return {
        name: _target(name, section.cache, setup)
        for name, section in setup.config.teachers.items()
        if section.cache is not None
    }


def _target(name: str, section: CacheConfig, setup: RunSetup) -> CacheTarget:
    config, manifest = setup.config, setup.manifest
    candidates = candidates_of(section, setup)
    masks = None
    if config.task == "masked_lm":
        masks = Masks(masking=config.data.masking, seed=config.train.seed)
    return CacheTarget(
        teacher=name,
        section=section,
        root=root_of(name, section, config),
        template=CacheKey(
            teacher=_weights(name, config),
            dtype=config.teachers[name].dtype,
            data=manifest.fingerprint,
            tokenizer=manifest.tokenizer.fingerprint,
            task=config.task,
            masks=masks,
            payload=candidates[0],
        ),
        coverages=coverages_of(name, setup),
        temperatures=_temperatures(config.losses),
        candidates=candidates,
    )


def root_of(name: str, section: CacheConfig, config: RunConfig) -> str:
    """Return the directory of caches of a teacher.

    Raises:
        ConfigError: There is none beside the data.
    """
    if section.uri is not None:
        return uris.absolute(section.uri)
    # Beside the data, not in it: a prepared directory is published, and nothing is added to it.
    parent, _, directory = uris.absolute(config.data.uri).rstrip("/").rpartition("/")
    if not parent or not directory or parent.endswith(":/"):
        message = (
            f"teachers.{name}.cache: there is no directory around data.uri={config.data.uri}; say "
            f"where with teachers.{name}.cache.uri"
        )
        raise ConfigError(message)
    return uris.join(parent, DIRECTORY)


def _weights(name: str, config: RunConfig) -> str:
    """Return what is known of a teacher's weights themselves, whatever run made them."""
    named = models_by_teacher(config)[name]
    # Not the name of the run that made them: equal weights have one cache.
    if is_location(named.source):
        return fingerprints(named.source).weights
    if (commit := hub_commit(named.source, named.revision)) is None:
        message = f"teachers.{name}.cache: it is not known which version {named.source} is"
        raise ConfigError(message)
    return f"{named.source}@{commit}"


def _temperatures(losses: LossesConfig) -> tuple[float, ...]:
    """Return the temperatures of the terms on scores, where they are extreme."""
    temperatures: set[float] = set()
    for name in losses.teacher_terms:
        temperature = getattr(getattr(losses, name), "temperature", None)
        if temperature is not None:
            temperatures |= set(parse_schedule(temperature).values)
    # A schedule passes through all between: what a cache loses is measured at both ends.
    return tuple(sorted({min(temperatures), max(temperatures)})) if temperatures else (1.0,)


def coverages_of(name: str, setup: RunSetup) -> tuple[Coverage, ...]:
    """Return what a run needs of a teacher: rows to train on, then those to evaluate on."""
    served = setup.config.teachers[name].languages
    needed = [*_trained_on(setup)]
    for split in setup.config.data.scored_splits.values():
        needed += _whole(setup.evaluation_shards(split))
    return tuple(
        each for each in _merged(needed) if served is None or each.shard.language in served
    )


def _trained_on(setup: RunSetup) -> Iterator[Coverage]:
    """Yield the rows of all steps, as they are masked in each epoch."""
    config, manifest = setup.config, setup.manifest
    reads = training_reads(
        manifest,
        config.data,
        seed=config.train.seed,
        global_batch_size=config.train.global_batch_size,
        num_steps=setup.num_steps,
    )
    for stream in reads:
        # The last epoch ends with the run: of it only the record batches that are read are needed.
        *whole, last = _mask_epochs(config, stream.whole_epochs + 1)
        for epoch in sorted(set(whole)):
            yield from _whole(stream.shards, epoch=epoch)
        indices: dict[str, set[int]] = {}
        for batch in stream.last:
            indices.setdefault(batch.uri, set()).add(batch.index)
        for shard in stream.shards:
            if read := indices.get(uris.join(manifest.uri, shard.path)):
                yield Coverage(shard=shard, epoch=last, ranges=_row_ranges(shard, read))


def _mask_epochs(config: RunConfig, count: int) -> list[int]:
    """Return the epoch that decides the masks in each of the first epochs."""
    # Without masks a teacher says the same in every epoch: one is kept.
    if config.task != "masked_lm":
        return [0] * count
    epochs: list[int] = mask_epochs(config.data.masking, np.arange(count)).tolist()
    return epochs


def _whole(shards: Iterable[Shard], *, epoch: int = 0) -> Iterator[Coverage]:
    for shard in shards:
        yield Coverage(shard=shard, epoch=epoch, ranges=(range(shard.rows),))


def _row_ranges(shard: Shard, batches: Collection[int]) -> tuple[range, ...]:
    """Return the rows of some record batches of a shard; those of neighbours are one range."""
    ranges: list[range] = []
    ends = itertools.accumulate(shard.batch_rows, initial=0)
    for index, (start, stop) in enumerate(itertools.pairwise(ends)):
        if index in batches:
            is_next = ranges and ranges[-1].stop == start
            ranges.append(range(ranges.pop().start if is_next else start, stop))
    return tuple(ranges)


def _merged(needed: Iterable[Coverage]) -> Iterator[Coverage]:
    """Yield each shard and epoch once: with all of its rows where these are needed anywhere.

    Some of its rows are needed once at most: in the last epoch of a stream.
    """
    merged: dict[tuple[int, str], Coverage] = {}
    for each in needed:
        place = each.epoch, each.shard.path
        if place not in merged or each.rows == each.shard.rows:
            merged[place] = each
    return iter(merged.values())
