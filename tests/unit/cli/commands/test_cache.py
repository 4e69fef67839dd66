"""raykd cache: plans, builds, goes on, and says what it does."""

from pathlib import Path

import pytest
from raykd.cli.main import main
from raykd.config.load import as_yaml
from raykd.models.load import save_model

from tests.small_runs import small_data, small_run
from tests.tiny_models import tiny_model


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    """Write a run with a teacher whose outputs are kept."""
    small_data(tmp_path / "data")
    model = tiny_model("bert", "masked_lm", hidden_size=16, num_heads=2, intermediate_size=32)
    save_model(model, tmp_path / "teacher")
    config = small_run(
        tmp_path,
        teachers={"big": {"model": str(tmp_path / "teacher"), "cache": {"mode": "hidden"}}},
        losses={"forward_kl": {}},
    )
    (tmp_path / "run.yaml").write_text(as_yaml(config))
    return tmp_path / "run.yaml"


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]


def test_a_cache_is_built_once_and_training_finds_it(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(config_path)]) == 0
    said = lines(capsys)
    place = f"{config_path.parent}/cache/"
    assert said[0].startswith(f"cache of teacher big: writing hidden float16 to {place}")
    assert said[-2].startswith("cache of teacher big: 111 of 111 rows, 0.")
    assert said[-1] == "the caches are complete"
    assert main(["cache", str(config_path)]) == 0
    assert lines(capsys) == ["the caches are complete"]
    assert main(["train", str(config_path)]) == 0
    assert not any("writing" in line for line in lines(capsys))


def test_a_plan_writes_nothing(config_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(config_path), "--plan"]) == 0
    said = lines(capsys)
    assert said[0] == "teacher big"
    assert said[1] == "mode bytes/token GB mass KL error grad error angle read"
    kept = [" ".join(line.split()[:2]) for line in said[2:]]
    assert {"hidden exact", "hidden int8", "top_k 64", "sampled 16"} <= {*kept}
    (exact,) = [line.split() for line in said if line.startswith("hidden exact")]
    assert exact[4:8] == ["1.000", "0.00%", "0.00%", "0.00°"]
    assert not (config_path.parent / "cache").exists()


def test_check_says_what_would_be_kept(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check", str(config_path), "train.num_steps=17"]) == 0
    said = " ".join(lines(capsys))
    assert "cache big hidden float16 of 201 rows, masked in 2 ways, in" in said


def test_a_cluster_without_workers_is_refused(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(config_path), "--address", "auto"]) == 2
    assert "--address: cluster.num_workers is 0" in capsys.readouterr().err


def test_a_run_without_a_cache_is_refused(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(config_path), "teachers.big.cache=null"]) == 2
    assert "no teacher has a cache; add teachers.NAME.cache={}" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_names_the_key(
    config_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = config_path.parent / "file"
    blocked.write_text("")
    assert main(["cache", str(config_path), f"teachers.big.cache.uri={blocked}/x"]) == 2
    assert (
        "is a file, not a directory; name another teachers.big.cache.uri"
        in capsys.readouterr().err
    )
