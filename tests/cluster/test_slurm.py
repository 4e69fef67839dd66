"""The Slurm script makes a cluster of its nodes, runs the program there, and leaves nothing."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.cluster.files import CLUSTER

SCRIPT = CLUSTER / "slurm.sh"

STEP = "--overlap --nodes=1 --ntasks=1 --cpus-per-task=1"

SRUN = """#!/bin/bash
# A step of Slurm on this machine: its own options come first.
echo "$@" >> "$STEPS"
while [[ $1 == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
[ "$1 $2" = "show hostnames" ] && tr , '\\n' <<< "$3"
"""
RECORDER = """#!/bin/bash
echo "$(basename "$0") $*" >> "$STEPS"
"""
PYTHON = """#!/bin/bash
# A token, or as many ports as are asked for.
[[ $* == *token_hex* ]] && echo secret || seq -s ' ' 1001 $((1000 + ${*: -1}))
"""
PROGRAM = """#!/bin/bash
# Real nodes are there before the program is; those that only write have to be waited for.
until [ "$(grep -c ' ray start ' "$STEPS")" -ge 3 ]; do sleep 0.05; done
echo "raykd $* with the token $RAY_AUTH_TOKEN $RAY_AUTH_MODE" >> "$STEPS"
exit 7
"""

LEAVING = """#!/bin/bash
# Slurm tells the script that the time is nearly over; a run needs a while to leave.
trap 'sleep 0.2; echo left >> "$STEPS"; exit 3' TERM
kill -TERM "$PPID"
while true; do sleep 0.05; done
"""

CLIENT = """
import sys
from urllib.error import HTTPError
from urllib.request import urlopen
import ray
dashboard = ray.init(address=sys.argv[-1], log_to_driver=False).dashboard_url
print(ray.cluster_resources()["CPU"], end=" CPU, ", flush=True)
try:
    urlopen(f"http://{dashboard}/api/jobs/")
except HTTPError as error:
    print("refused without the token" if error.code == 401 else error)
sys.exit(5)
"""


@dataclass
class Job:
    """A job of Slurm whose nodes are all this machine."""

    directory: Path
    nodes: list[str]
    programs: dict[str, str] = field(default_factory=dict)
    """Programs that take the place of others, beside those of Slurm."""

    @property
    def scratch(self) -> Path:
        return Path(f"/tmp/raykd-{self.id}")  # noqa: S108  the script's own, of this job alone

    @property
    def id(self) -> str:
        return f"test{os.getpid()}"

    @property
    def steps(self) -> list[str]:
        """What was started on the nodes, without the options of Slurm that are always alike."""
        text = (self.directory / "steps").read_text()
        return text.replace(f"{STEP} --nodelist=", "").splitlines()

    def run(self, *words: str) -> int:
        """Run the script to its end, and return its exit status."""
        programs = self.directory / "bin"
        programs.mkdir()
        given = {"srun": SRUN, "scontrol": SCONTROL, **self.programs}
        for name, text in given.items():
            (programs / name).write_text(text)
            (programs / name).chmod(0o755)
        environment = os.environ | {
            "PATH": f"{programs}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            # Ray's files of this user stay as they are.
            "HOME": str(self.directory),
            "STEPS": str(self.directory / "steps"),
            "SLURM_JOB_ID": self.id,
            "SLURM_JOB_NODELIST": ",".join(self.nodes),
            "SLURM_CPUS_PER_TASK": "1",
        }
        with (self.directory / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(SCRIPT), *words], env=environment, stdout=log, stderr=log
            )
            try:
                return process.wait()
            finally:
                # Where the test is over its time: the script takes its Ray along.
                process.terminate()
                process.wait()


def test_a_head_comes_first_then_workers_then_the_program_with_its_status(tmp_path: Path) -> None:
    recorded = {"ray": RECORDER, "python": PYTHON, "raykd": PROGRAM}
    addresses = {"getent": '#!/bin/bash\necho "10.0.0.${2#node} STREAM $2"\n'}
    job = Job(tmp_path, ["node1", "node2", "node3"], recorded | addresses)
    assert job.run("sweep", "study.yaml", "seeds=[1, 2]") == 7
    head, *workers = [line for line in job.steps if " ray start " in line]
    # Workers start beside each other.
    started = [head, *sorted(workers)]
    ways = [(line.split()[0], "--head" in line) for line in started]
    assert ways == [("node1", True), ("node2", False), ("node3", False)]
    assert "--dashboard-host=127.0.0.1" in started[0]
    assert all("--address=10.0.0.1:1001" in line for line in started[1:])
    addresses_given = [line.split("--node-ip-address=")[1].split()[0] for line in started]
    assert addresses_given == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    (program,) = [line for line in job.steps if line.startswith("raykd ")]
    arguments = "sweep study.yaml seeds=[1, 2] --address 10.0.0.1:1001"
    assert program == f"raykd {arguments} with the token secret token"
    removed = [line for line in job.steps if " rm -rf " in line]
    assert removed == [f"{node} rm -rf {job.scratch}" for node in job.nodes]
    # Others of the machine can read command lines.
    assert [line for line in job.steps if "secret" in line] == [program]


def test_the_program_may_leave_before_the_time_is_over(tmp_path: Path) -> None:
    programs = {"ray": RECORDER, "python": PYTHON, "raykd": LEAVING}
    job = Job(tmp_path, ["localhost"], programs)
    assert job.run("train", "run.yaml") == 3
    *_, left, cleaned = job.steps
    assert (left, cleaned) == ("left", f"localhost rm -rf {job.scratch}")


@pytest.mark.ray
@pytest.mark.timeout(600)
def test_the_program_finds_its_ray_which_is_gone_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Its Ray stays on loopback.
    monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
    job = Job(tmp_path, ["localhost"], {"raykd": f"#!{sys.executable}{CLIENT}"})
    assert job.run("train", "run.yaml") == 5, (tmp_path / "log").read_text()
    assert "1.0 CPU, refused without the token" in (tmp_path / "log").read_text()
    assert not job.scratch.exists()
    assert [p.pid for p in psutil.process_iter() if str(job.scratch) in _command(p)] == []


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
