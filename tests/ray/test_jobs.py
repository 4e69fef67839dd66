"""Jobs on a cluster that a user has started: submitted, followed, stopped, continued."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from raykd.runs.checkpoint import committed_steps
from raykd.runs.paths import RunPaths

from tests.ray.support.own_ray import OwnRay, own_ray
from tests.ray.support.sweep_drivers import num_steps_done, wait_until
from tests.small_runs import small_data
from tests.sweep_files import write_runs

pytestmark = [pytest.mark.ray, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
TINY = ["train.num_steps=2", "train.eval_every_steps=2", "train.global_batch_size=4"]
ONE_TRIAL = [
    *("questions={}", "teachers={}", "overrides.teachers={}", "controls=false"),
    *("search={optimizer.learning_rate: {grid: [1e-3]}}", "losses={cross_entropy: {}}"),
    *("seeds=[1]", "train.micro_batch_size=4", *TINY),
]


@pytest.fixture(scope="module")
def head() -> Iterator[OwnRay]:
    with own_ray() as ray:
        ray.start_head("--object-store-memory=200000000", num_cpus=2)
        yield ray


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a git repository with the runs of a user and prepared data that git ignores."""
    write_runs(tmp_path)
    (tmp_path / ".gitignore").write_text("/data/\n/runs/\n/sweeps/\n")
    track(tmp_path)
    return tmp_path


def track(directory: Path) -> None:
    for words in (["init", "--quiet"], ["add", "."]):
        subprocess.run(["git", *words], cwd=directory, check=True)  # noqa: S607


def environment(head: OwnRay, **more: str) -> dict[str, str]:
    """Return the environment of somebody who has the token of the cluster."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    known = {"RAY_API_SERVER_ADDRESS": head.job_server, "RAY_AUTH_TOKEN": head.token}
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return kept | known | {"PATH": path, "COLUMNS": "200"} | more


def raykd(
    head: OwnRay, project: Path, *words: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    """Run a command in the project, to its end."""
    return ran(head, project, sys.executable, "-m", "raykd", *words, **more)


def stop_job(head: OwnRay, project: Path, job_id: str) -> None:
    stopped = ran(head, project, "ray", "job", "stop", job_id, RAY_AUTH_MODE="token")
    assert f"Job '{job_id}' was stopped" in stopped.stdout


def ran(
    head: OwnRay, project: Path, *command: str, **more: str
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        cwd=project,
        env=environment(head, **more),
        capture_output=True,
        text=True,
        check=False,
    )


@contextmanager
def follower(
    head: OwnRay, project: Path, *words: str
) -> Iterator[tuple["subprocess.Popen[bytes]", Callable[[], str]]]:
    """Give a command that runs, and what it has printed so far."""
    log = project / "follower.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "raykd", *words],
            cwd=project,
            env=environment(head),
            stdout=stream,
            stderr=stream,
        )
    try:
        yield process, log.read_text
    finally:
        process.kill()
        process.wait()


def shows_step(printed: str, step: int) -> bool:
    return re.search(rf"^step +{step}/", printed, re.MULTILINE) is not None


def commands_of_the_docs() -> Iterator[str]:
    """Yield the commands that the docs show of the three places where raykd runs."""
    text = (ROOT / "docs" / "where-it-runs.md").read_text()
    section = text.partition("# Where it runs\n")[2].partition("\n## ")[0]
    blocks = re.findall(r"```bash\n(.*?)```", section, re.DOTALL)
    for line in "".join(blocks[:3]).replace("\\\n", "").splitlines():
        yield line.partition("  #")[0].strip()


def small(command: str) -> Sequence[str]:
    """Return what makes the work of a command of the docs small."""
    if " sweep configs/sweeps/demo.yaml" in command:
        return ONE_TRIAL
    return TINY if "jobs/train.py" in command else []


def test_the_docs_say_how_to_run_it_in_all_places(head: OwnRay, tmp_path: Path) -> None:
    for name in ("configs", "jobs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    track(tmp_path)
    store = tmp_path / "store"
    for place in (tmp_path, store):
        small_data(place / "data" / "stdlib-docs")
    first, *commands = commands_of_the_docs()
    assert first.startswith("raykd train ")
    assert commands.pop(1) == "export RAY_AUTH_MODE=token"
    assert commands.pop(1) == "ray start --head"
    job_ids: list[str] = []
    printed = {}
    for command in (first, *commands):
        line = command.replace("sweep-demo-1a2b3c4d", "".join(job_ids))
        trained = next((run.name for run in tmp_path.glob("runs/demo-teacher-*")), "none")
        line = re.sub(r"demo-teacher-\w{8}", trained, line)
        line = line.replace("s3://bucket", str(store))
        done = subprocess.run(
            ["bash", "-c", f'{line} "$@"', "bash", *small(command)],  # noqa: S607
            cwd=tmp_path,
            env=environment(head, RAY_AUTH_MODE="token"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout[-3_000:], done.stderr[-3_000:])
        assert head.token not in done.stdout + done.stderr
        printed[command.split(" --")[0]] = done.stdout
        if found := re.match(r"(sweep-demo-\w+): \d+ files", done.stdout):
            job_ids.append(found[1])
    assert len(printed) == 12
    # The job ran in the directory of its submitter: raykd report, beside it, finds its ledger.
    for directory in (tmp_path, store):
        assert len(list(directory.glob("sweeps/demo/records/*.json"))) == 1
    assert len(list(store.glob("runs/demo-teacher-*/result.json"))) == 1
    assert len(set(job_ids)) == 2
    for question in ("list", "status sweep-demo-1a2b3c4d"):
        assert job_ids[0] in printed[f"ray job {question}"]


def test_a_job_that_fails_gives_its_status_and_says_why(head: OwnRay, project: Path) -> None:
    shutil.rmtree(project / "data")
    failed = raykd(head, project, "submit", "train", "teacher.yaml")
    assert failed.returncode == 2
    assert "holds no committed data directory" in failed.stdout
    assert re.search(r"^train-teacher-\w+: failed with exit status 2$", failed.stdout, re.M)


@pytest.mark.parametrize(
    ("token", "why"),
    [("0" * 64, "Invalid authentication token"), ("", "Missing authentication token")],
)
def test_without_its_token_a_cluster_is_no_use(
    head: OwnRay, project: Path, token: str, why: str
) -> None:
    submit = ("submit", "train", "teacher.yaml")
    refused = raykd(head, project, *submit, RAY_AUTH_TOKEN=token, HOME=str(project))
    assert refused.returncode == 2
    (line,) = refused.stderr.splitlines()
    assert line.startswith(f"raykd: {head.job_server}: ")
    assert why in line
    assert "Ensure that the token for the cluster is available in a local file" in line
    assert not token or token not in line


def test_a_job_outlives_its_follower_and_goes_on_after_a_stop(head: OwnRay, project: Path) -> None:
    runs = project / "runs"
    submit = ["submit", "train", "teacher.yaml", "train.num_steps=100000"]
    submit += ["train.log_every_steps=1", "checkpoint.every_steps=1000000"]
    with follower(head, project, *submit) as (process, printed):
        wait_until(lambda: num_steps_done(runs) >= 3, process)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 1
        told = printed()
    name = told.partition(":")[0]
    assert f"{name}: not followed any more; the job itself goes on" in told
    assert f"ray job stop {name} --address {head.job_server}" in told
    with follower(head, project, *submit) as (process, printed):
        wait_until(lambda: shows_step(printed(), 3), process)
        stop_job(head, project, name)
        assert process.wait() == 1
        told = printed()
    assert told.startswith(f"{name}: runs already, with the files of its start; attached to it")
    assert f"{name}: stopped; submit it again to go on" in told
    (run,) = runs.iterdir()
    step = max(committed_steps(RunPaths(str(run)).checkpoints))
    with follower(head, project, *submit) as (process, printed):
        wait_until(lambda: shows_step(printed(), step + 1), process)
        assert printed().startswith(f"{name}-2: ")
        stop_job(head, project, f"{name}-2")
        assert process.wait() == 1
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    steps = [record["step"] for record in records if "train/loss" in record]
    assert steps == list(range(1, len(steps) + 1))
    assert len(steps) > step
