"""Builds a cache, and is killed at the end of writing the records of some later part.

Arguments: a data set that is there, the cache, and the parts that are to be whole.
"""

import os
import signal
import sys
from pathlib import Path

from raykd.batch import Batch, LayersWanted, ModelOutputs
from raykd.teachers.cache.building import AskingWriter, Progress, Watch, build_cache

from tests.unit.cached_teachers.caches import HIDDEN, subject_of


def main() -> None:
    data, uri, parts = sys.argv[1:]
    of = subject_of(Path(data), "masked_lm")
    told: list[Progress] = []

    def teacher(batch: Batch, wanted: LayersWanted) -> ModelOutputs:
        # Told once at the start, and after each part.
        if len(told) > int(parts):
            os.kill(os.getpid(), signal.SIGKILL)
        return of.teacher(batch, wanted)

    build_cache(
        uri,
        of.key(HIDDEN),
        of.coverages(),
        AskingWriter(of.runner_of(teacher)),
        Watch(on_progress=told.append),
    )


if __name__ == "__main__":
    main()
