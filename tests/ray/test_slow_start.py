"""A local Ray whose node does not come up, as on a machine that does much else."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]

_LATE_AGENT = """
import os, signal, sys
if any(part.endswith("dashboard/agent.py") for part in sys.orig_argv):
    try:
        once = open(os.environ["ONCE"], "x")
    except FileExistsError:
        pass
    else:
        print(os.getpid(), file=once, flush=True)
        signal.pause()
"""
"""Each Python begins with it: the first agent of a node never says where it listens."""

_PROGRAM = """
import ray
from raykd.ray_cluster.connect import LOCAL, ray_cluster
with ray_cluster(LOCAL, num_cpus=1, num_gpus=0):
    print("cores:", ray.cluster_resources()["CPU"])
"""


def test_a_ray_whose_node_does_not_come_up_is_started_again(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(_LATE_AGENT)
    searched = [str(tmp_path), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(filter(None, searched)),
            "ONCE": str(tmp_path / "once"),
            # How long Ray waits for a node that has died.
            "RAY_raylet_start_wait_time_s": "20",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    # Its node has died, and nobody else may end it.
    with suppress(ProcessLookupError):
        os.kill(int((tmp_path / "once").read_text()), signal.SIGKILL)
    assert done.stdout == "cores: 1.0\n", done.stderr
    assert "it is started again" in done.stderr
