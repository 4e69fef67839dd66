"""A configuration or an argument with credentials in it is refused, and they are not repeated."""

from pathlib import Path

import pytest
from raykd.cli.main import main as raykd
from raykd.config.credentials import has_credentials
from raykd.config.load import checked_run, load_sweep, plain
from raykd.errors import ConfigError

from tests.small_runs import small_run
from tests.sweep_files import write_runs, write_sweep

SECRET = "MarkerThatNobodyMaySee"  # noqa: S105  of nothing
LEAKY = f"s3://key:{SECRET}@bucket/x"

REFUSED = [
    LEAKY,
    "s3://key:a/secret+with/slashes@bucket/x",
    "s3://:secret@bucket/x",
    "simplecache::s3://key:secret@bucket/x",
    "http://user:pw@host:5000",
    "http://token@host",
    "http://user:pw@[::1]:80/",
    "https://user:1@host/x",
    "postgresql://user:pw@host/mlflow",
    "mysql+pymysql://user:pw@host:3306/mlflow",
    "https://bucket.s3.amazonaws.com/x?X-Amz-Algorithm=A&X-Amz-Signature=ab",
    "https://storage.googleapis.com/x?X-Goog-Signature=ab",
    "az://container/x?sv=1&sig=ab",
    "s3:/key:secret@bucket/run.yaml",
]
ALLOWED = [
    "s3://bucket/a:b@c",
    "s3://bucket/x?versionId=1",
    "abfs://container@account.dfs.core.windows.net/x",
    "sftp://me@host/x",
    "hf://datasets/owner/name@main/x",
    "http://localhost:5000",
    "http://localhost:5000/x@y",
    "http://[::1]:5000/",
    "sqlite:////home/me/mlflow.db",
    "runs/teacher-1a2b3c4d",
    "1 @ 0.5 -> 0 @ 0.5",
]
RUN_KEYS = [
    "output_uri",
    "data.uri",
    "tracking.mlflow",
    "tracking.wandb",
    "teachers.small.model",
    "student.pretrained",
    "student.init.remap.source",
    "student.projection_sources.de",
    "inputs.x",
    "no.such.key",
]


@pytest.mark.parametrize("text", REFUSED)
def test_credentials_are_recognised(text: str) -> None:
    assert has_credentials(text)


@pytest.mark.parametrize("text", ALLOWED)
def test_what_only_looks_like_credentials_is_allowed(text: str) -> None:
    assert not has_credentials(text)


@pytest.mark.parametrize("key", RUN_KEYS)
def test_a_key_of_a_run_with_credentials_is_refused(key: str, tmp_path: Path) -> None:
    given = plain(small_run(tmp_path))
    section = given
    *parents, last = key.split(".")
    for parent in parents:
        section[parent] = section.get(parent) or {}
        section = section[parent]
    section[last] = LEAKY
    with pytest.raises(ConfigError, match=rf"^run\.yaml: {key}: .*AWS_PROFILE") as raised:
        checked_run(given, origin="run.yaml")
    assert SECRET not in str(raised.value)


def test_a_searched_value_with_credentials_is_refused(tmp_path: Path) -> None:
    grid = {"student.init.remap.source": {"grid": ["here", LEAKY]}}
    path = write_sweep(write_runs(tmp_path), {"search": grid, "overrides": {"data.uri": LEAKY}})
    with pytest.raises(ConfigError, match=r"source\.grid\[1\]") as raised:
        load_sweep(path)
    assert "overrides.data.uri" in str(raised.value)
    assert SECRET not in str(raised.value)


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (["check", "{run}", f"data.uri={LEAKY}"], "overrides: data.uri:"),
        (["check", "{run}", f"no.such.key={LEAKY}"], "overrides: no.such.key:"),
        (["check", "{run}", LEAKY], "overrides: (a key):"),
        (["check", LEAKY], "raykd check: config:"),
        (["train", "{run}", f"output_uri={LEAKY}"], "overrides: output_uri:"),
        (["sweep", "{sweep}", f"output_uri={LEAKY}"], "overrides: output_uri:"),
        (["sweep", "{sweep}", f"teachers.small.model={LEAKY}"], "overrides: teachers.small.model"),
        (["report", LEAKY], "raykd report:"),
        (["evaluate", LEAKY], "raykd evaluate:"),
        (["export", "runs/x", "--output", LEAKY], "raykd export: output:"),
        (["prepare", LEAKY, "--output", "x"], "raykd prepare: sources[0]:"),
        (["prepare", "x.txt", "--output", LEAKY], "raykd prepare: output:"),
        (["prepare", "x.txt", "--output", "x", "--tokenizer", LEAKY], "raykd prepare: tokenizer:"),
        (["doctor", "pair", "a", LEAKY, "--data", "x"], "raykd doctor:"),
    ],
    ids=lambda value: "_".join(value[:2]) if isinstance(value, list) else "",
)
def test_every_command_refuses_credentials_without_repeating_them(
    arguments: list[str], place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sweep = write_sweep(write_runs(tmp_path), {})
    files = {"{run}": str(tmp_path / "base.yaml"), "{sweep}": str(sweep)}
    before = sorted(tmp_path.rglob("*"))
    assert raykd([files.get(word, word) for word in arguments]) == 2
    told = "".join(capsys.readouterr())
    assert told.startswith(f"raykd: {place}")
    assert "AWS_PROFILE" in told
    assert told.count("\n") == 1
    assert SECRET not in told
    assert sorted(tmp_path.rglob("*")) == before
