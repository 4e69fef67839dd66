"""The scripts of the papers' studies: what they run is there, and what they lack is told first."""

import json
import os
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
from raykd.cli.main import parse
from raykd.config.load import checked_run, load_sweep
from raykd.config.named_runs import named_runs

SMALL = Path(__file__).parents[2] / "configs" / "papers" / "small"
SCRIPTS = sorted(path.stem for path in SMALL.glob("*.sh") if path.stem != "common")

RAW = [
    *(f"de/{split}.parquet" for split in ("train", "validation", "test")),
    *("books_en/train.parquet", "wikitext2/validation.parquet"),
    *(f"wiki_paragraphs/en/{split}.parquet" for split in ("train", "validation")),
    *(
        f"{folder}/{split}.parquet"
        for folder in ("glue/sst2", "cls/banking77", "pos/ud/en_ewt")
        for split in ("train", "validation")
    ),
]

RECORDER = f"""#!{sys.executable}
import json, sys
with open("commands.jsonl", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""
"""Stands for the program, as nothing is to be trained: it writes down how it is called."""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    for name in ["models/multilingual-e5-small/config.json", *(f"raw/{raw}" for raw in RAW)]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "raykd").write_text(RECORDER)
    (tmp_path / "bin" / "raykd").chmod(0o755)
    return tmp_path


def ran(script: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(SMALL / f"{script}.sh"), *words],
        cwd=cwd,
        env=os.environ | {"PATH": f"{cwd / 'bin'}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def commands(work: Path) -> list[Namespace]:
    lines = (work / "commands.jsonl").read_text().splitlines()
    return [parse(json.loads(line)) for line in lines]


def raw_folders(script: str) -> list[str]:
    return ["raw", "raw"] if script == "dwt_masked" else ["raw"]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_prepares_all_data_that_its_study_reads(script: str, work: Path) -> None:
    done = ran(script, *raw_folders(script), "seeds=[7]", cwd=work)
    assert done.returncode == 0, done.stderr
    *prepared, study = commands(work)
    sweep = load_sweep(study.config, study.overrides)
    assert study.config == SMALL / f"{script}.yaml"
    # What is given behind the raw data goes to the study.
    assert sweep.seeds == (7,)
    runs = [checked_run(run.mapping(), origin=run.key) for run in named_runs(sweep).values()]
    assert {run.data.uri for run in runs} == {command.output for command in prepared}
    # In one precision, which those have that the study's overrides do not reach, too.
    assert len({run.train.precision for run in runs}) == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_raw_data_that_is_not_there_is_told_before_any_work(script: str, work: Path) -> None:
    done = ran(script, "elsewhere", "elsewhere", cwd=work)
    assert done.returncode == 2
    assert f"{script}.sh: elsewhere/" in done.stderr
    assert not (work / "commands.jsonl").exists()


def test_there_is_a_script_for_each_small_study() -> None:
    assert sorted(path.stem for path in SMALL.glob("*.yaml")) == SCRIPTS
