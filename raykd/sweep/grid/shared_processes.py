"""Trials that share a process: what their teachers say of a batch is made once for all.

They read the same batches in the same order and ask the same of the same teachers. Their losses,
temperatures, starts, students and optimizers are their own.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import TypeVar

from raykd.config.schema.run import RunConfig
from raykd.config.schema.teachers import SPARSE_MODES
from raykd.distill.assemble import running_teachers
from raykd.sweep.grid.control import is_control

T = TypeVar("T")


def runs_teachers(config: RunConfig) -> bool:
    """Tell whether a run's steps need what a teacher says, and it is not kept in a cache."""
    cached = [name for name, teacher in config.teachers.items() if teacher.cache is not None]
    running = running_teachers(config, cached=cached, begins=False)
    return bool(running) and not is_control(config)


def scores_vocabulary(config: RunConfig) -> bool:
    """Tell whether a run's steps make scores of a vocabulary from what a cache has."""
    caches = [teacher.cache for teacher in config.teachers.values() if teacher.cache is not None]
    is_dense = any(cache.mode not in SPARSE_MODES for cache in caches)
    return is_dense and config.task.endswith("_lm") and not is_control(config)


def sharing_key(config: RunConfig) -> str | None:
    """Return a text that runs have in common that may share a process; None for others.

    Others are those that would gain nothing, whose caches have all that a step needs, and those
    that must be alone: whose evaluations decide what they read next, that are compiled or
    profiled, whose teachers run beside the student, or that have several workers.
    """
    if not (runs_teachers(config) or scores_vocabulary(config)):
        return None
    # What such a run reads next depends on its own student, so no two of them stay on the same
    # batches.
    adapts = config.data.mixing is not None and config.data.mixing.adaptive is not None
    is_watched = config.train.compile or config.train.profile_steps is not None
    runs_ahead = config.cluster.overlap_teacher
    if adapts or is_watched or runs_ahead or config.cluster.num_workers > 1:
        return None
    # The teacher returns the layers that any term compares; how much a term counts is applied
    # after its forward pass, and does not tell runs apart.
    layers = {name: replace(t, weight="1") for name, t in config.losses.layer_terms.items()}
    # Frozen dataclasses of plain values: equal ones have the same repr, in every process.
    return repr(
        (
            config.task,
            config.data,
            config.train,
            config.teachers,
            config.teacher_weights,
            config.cluster,
            # Which layers of a teacher are compared may depend on how the student begins.
            (layers, config.student) if layers else None,
        )
    )


def by_process(
    items: Iterable[T], *, key: Callable[[T], str | None], most: int
) -> Iterator[tuple[T, ...]]:
    """Yield the runs of each process, in the order of the first of each.

    Those with one key are shared out evenly over as few processes as hold them.

    Args:
        items: Runs, in their order.
        key: Gives the ``sharing_key`` of a run.
        most: Runs in one process.
    """
    if most == 1:
        yield from ((item,) for item in items)
        return
    alike: dict[str | None, list[T]] = {}
    ordered = [(key(item), item) for item in items]
    for of_item, item in ordered:
        alike.setdefault(of_item, []).append(item)
    sizes = {of_items: _even_size(len(group), most) for of_items, group in alike.items()}
    for of_item, item in ordered:
        group = alike[of_item]
        if of_item is None:
            yield (item,)
        elif group and group[0] is item:
            size = sizes[of_item]
            yield tuple(group[:size])
            del group[:size]


def _even_size(number: int, most: int) -> int:
    # 9 runs with at most 4 in a process are 3 + 3 + 3, not 4 + 4 + 1: processes end together.
    return math.ceil(number / math.ceil(number / most))
