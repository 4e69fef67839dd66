"""The training of a soak, and its twin that nothing disturbs."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.config.load import as_yaml
from raykd.config.schema.run import RunConfig
from raykd.runs.metrics import MACHINE_METRICS, read_metrics
from raykd.runs.paths import run_paths
from raykd.storage import uris
from safetensors.torch import load_file

from tests.prepared import write_prepared
from tests.small_runs import small_run

ARCHITECTURE = {
    "model_type": "bert",
    "num_layers": 4,
    "hidden_size": 320,
    "num_heads": 4,
    "intermediate_size": 1280,
    "dropout": 0.0,
}
"""5 M parameters: the moments of a checkpoint are uploaded in several parts."""

CHECKPOINT_STEPS = 25


def write_data(path: Path) -> None:
    """Publish a data set of 3,200 rows to train on."""
    rows = {"train": {"de": [200] * 8, "en": [200] * 8}, "validation": {"de": [16], "en": [16]}}
    write_prepared(path, rows)


def training(data_uri: str, output_uri: str, *, num_steps: int, num_workers: int = 0) -> RunConfig:
    """Return a run that reads and writes there; where it lies has no effect on its numbers."""
    return small_run(
        Path("soak"),
        name="soak",
        data__uri=data_uri,
        output_uri=output_uri,
        student__architecture=dict(ARCHITECTURE),
        train__num_steps=num_steps,
        train__global_batch_size=4,
        train__micro_batch_size=4,
        train__log_every_steps=1,
        train__eval_every_steps=max(num_steps // 4, 1),
        optimizer__learning_rate=1e-3,
        checkpoint__every_steps=CHECKPOINT_STEPS,
        cluster__num_workers=num_workers,
        cluster__max_failures=1_000,
    )


def start(
    config: RunConfig, directory: Path, *, notes: Path, log: Path
) -> subprocess.Popen[bytes]:
    """Start ``raykd train`` in a process of its own.

    Args:
        config: What to train.
        directory: For the file of the run, and what the process keeps for a while.
        notes: Where its steps are noted.
        log: Where its output is added.
    """
    (temporary := directory / "tmp").mkdir(parents=True, exist_ok=True)
    run_file = directory / "run.yaml"
    run_file.write_text(as_yaml(config))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TMPDIR": str(temporary)}
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.soak.observed", str(notes), "train", str(run_file)],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """How fast this machine is, with nothing beside the training."""

    start_seconds: float
    """Until the first step is taken."""

    step_seconds: float


def measured_speed(directory: Path, *, num_steps: int = 60) -> Speed:
    """Train a little on the local disk."""
    config = training(str(directory / "data"), str(directory / "rate"), num_steps=num_steps)
    started = time.time()
    process = start(config, directory, notes=directory / "rate.jsonl", log=directory / "rate.log")
    if process.wait():
        raise RuntimeError((directory / "rate.log").read_text())
    times = [note["time"] for note in read_notes(directory / "rate.jsonl", event="step")]
    half = len(times) // 2
    return Speed(
        start_seconds=times[0] - started,
        step_seconds=(times[-1] - times[half]) / (len(times) - 1 - half),
    )


def read_notes(path: Path, *, event: str | None = None) -> list[dict[str, Any]]:
    """Return what was noted, whole lines only, optionally of one kind."""
    if not path.exists():
        return []
    whole, _, _ = path.read_text().rpartition("\n")
    notes = [json.loads(line) for line in whole.splitlines()]
    return [note for note in notes if event in (None, note["event"])]


def run_directory(config: RunConfig, root: Path) -> Path:
    """Return where a run's files lie below the directory of its output."""
    return root / run_paths(config).name


def final_tensors(directory: Path, *, num_steps: int) -> dict[str, Any]:
    """Return the tensors of the exported model and of the last checkpoint of a run."""
    last = directory / "checkpoints" / f"step-{num_steps:08d}"
    files = [
        directory / "model" / "model.safetensors",
        last / "student" / "model.safetensors",
        *sorted((last / "optimizer").glob("*.safetensors")),
    ]
    found: dict[str, Any] = {}
    for file in files:
        kind = file.relative_to(directory).parts[0]
        found |= {f"{kind}/{name}": tensor for name, tensor in load_file(file).items()}
    return found


def step_records(directory: Path) -> list[dict[str, float]]:
    """Return what a run's metrics say of each step, without what they say of the machine."""
    records = read_metrics(uris.join(str(directory), "metrics.jsonl"))
    return [
        {name: value for name, value in record.items() if name not in MACHINE_METRICS}
        for record in records
    ]
