"""What users have who set credentials and an endpoint, and nothing else, is enough."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from raykd.storage import uris

from tests.servers.rclone import Rclone

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SMALL = [
    *("train.num_steps=4", "train.global_batch_size=4", "train.micro_batch_size=2"),
    *(
        "train.eval_every_steps=2",
        "checkpoint.every_steps=2",
        "student.architecture.hidden_size=16",
    ),
    "student.architecture.intermediate_size=32",
]


@pytest.mark.parametrize(
    "num_workers",
    [
        pytest.param(0, id="in process"),
        pytest.param(2, id="Ray of its own", marks=pytest.mark.long),
    ],
)
def test_a_plain_user_prepares_trains_and_exports_in_a_store(
    num_workers: int, rclone_server: Rclone, rclone_uri: str, tmp_path: Path
) -> None:
    user = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ACCESS_KEY_ID": rclone_server.access_key,
        "AWS_SECRET_ACCESS_KEY": rclone_server.secret_key,
        "AWS_ENDPOINT_URL": rclone_server.endpoint,
    }

    def raykd(*words: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "raykd", *words],
            cwd=ROOT,
            env=user,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    lines = [f"a line of text, number {number}" for number in range(400)]
    rows = "\n".join(json.dumps({"text": line}) for line in lines)
    uris.write_bytes(f"{rclone_uri}/raw/rows.jsonl", rows.encode())
    data = f"{rclone_uri}/data"
    raykd("prepare", f"{rclone_uri}/raw/*.jsonl", "--output", data, "--validation-fraction=0.1")
    run = ["configs/runs/demo_teacher.yaml", f"data.uri={data}", f"output_uri={rclone_uri}/runs"]
    raykd("train", *run, f"cluster.num_workers={num_workers}", *SMALL)
    (name,) = uris.list_names(f"{rclone_uri}/runs")
    raykd("export", f"{rclone_uri}/runs/{name}", "--output", f"{rclone_uri}/model")
    assert "model.safetensors" in uris.list_names(f"{rclone_uri}/model")
