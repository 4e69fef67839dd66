"""One way of one case in this process: prints what the watch saw as the last line.

    python -m tests.bench.rivals.one CASE WAY DIRECTORY THREADS [PROFILE]

The way raykd-floor prints the floor of a step instead. With PROFILE, the operators by their own
CPU time go to that file; times are not to be used then.
"""

import contextlib
import importlib.metadata
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from tests.bench.rivals import torchvision_operators
from tests.bench.rivals.cases import CASES, FLOOR, Case, Material
from tests.bench.rivals.watch import Watch

_PACKAGES = ("torch", "transformers", "trl", "textbrewer", "torchdistill")
_MOST_OPERATORS = 40


def take(case: Case, material: Material, watch: Watch, way: str) -> None:
    """Take the steps of a case in one way; only what that way uses is imported."""
    if way.startswith("raykd"):
        take_ours(case, material, watch, way)
        return
    torchvision_operators.declare()
    if way.startswith("transformers"):
        from tests.bench.rivals import hugging_face  # noqa: PLC0415

        kind = hugging_face.Kind(bf16=way.endswith("bf16"), picks_first=way.endswith("picked"))
        hugging_face.train(case, material, watch, kind)
    elif way == "trl":
        from tests.bench.rivals import hugging_face  # noqa: PLC0415

        hugging_face.train_trl(case, material, watch)
    elif way == "textbrewer":
        from tests.bench.rivals import textbrewer_way  # noqa: PLC0415

        textbrewer_way.train(case, material, watch)
    else:
        from tests.bench.rivals import torchdistill_way  # noqa: PLC0415

        torchdistill_way.train(case, material, watch)


def take_ours(case: Case, material: Material, watch: Watch, way: str) -> None:
    """Take the steps with raykd, or make what all ways read."""
    from raykd.cli.quiet import quiet_libraries  # noqa: PLC0415

    quiet_libraries()
    if way == "raykd-material":
        from tests.bench.rivals.material import make_material  # noqa: PLC0415

        make_material(case, material)
    else:
        from tests.bench.rivals import raykd_way  # noqa: PLC0415

        raykd_way.train(case, material, watch, way)


@contextlib.contextmanager
def profiled(path: Path) -> Iterator[None]:
    """Write the operators by their own CPU time to a file."""
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as recorded:
        yield
    averages = recorded.key_averages(group_by_input_shape=True)
    path.write_text(averages.table(sort_by="self_cpu_time_total", row_limit=_MOST_OPERATORS))


def versions() -> dict[str, str]:
    """Return the versions of what is installed here of the compared."""
    found = {}
    for name in _PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def main() -> None:
    """Run what the arguments say."""
    name, way, root, threads, *profile_path = sys.argv[1:]
    # Tools count the cores that they may use, each in its own way: there are not more.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-int(threads) :])
    material = Material(root=Path(root))
    if way == FLOOR:
        from tests.bench.rivals.floor import measured  # noqa: PLC0415

        print(json.dumps(measured(CASES[name], material)))
        return
    watch = Watch()
    with profiled(Path(profile_path[0])) if profile_path else contextlib.nullcontext():
        take(CASES[name], material, watch, way)
    told = {
        "num_warm_up_steps": CASES[name].num_warm_up_steps,
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }
    print(json.dumps(watch.figures() | told))


if __name__ == "__main__":
    main()
