"""Output in any encoding: what it lacks is a question mark, and the command ends as it should."""

import contextlib
import io
import json
import os
import subprocess
import sys
from pathlib import Path

from raykd.cli.main import main
from raykd.config.load import as_yaml
from raykd.data.manifest import read_manifest

from tests.prepared import write_prepared
from tests.small_runs import small_run


def _printed_in_latin_1(*arguments: str) -> bytes:
    """Return what a command prints to a terminal in ISO 8859-1, having ended well."""
    terminal = io.BytesIO()
    stream = io.TextIOWrapper(terminal, encoding="latin-1", write_through=True)
    with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
        assert main(arguments) == 0
        return terminal.getvalue()


def test_names_in_any_script_are_printed_to_a_terminal_that_has_few(tmp_path: Path) -> None:
    write_prepared(
        tmp_path / "data",
        {
            "train": {"\u65e5\u672c": [9, 6], "de": [10]},
            "validation": {"\u65e5\u672c": [6], "de": [4]},
        },
        labels=("gr\u00f6\u00dfe", "\u5927"),
    )
    config = small_run(tmp_path, task="sequence_classification", train__num_steps=2)
    path = tmp_path / "run.yaml"
    path.write_text(as_yaml(config), "utf-8")
    assert b"ready" in _printed_in_latin_1("check", str(path))
    assert b"accuracy" in _printed_in_latin_1("train", str(path))
    (run,) = (tmp_path / "runs").iterdir()
    assert b"??" in _printed_in_latin_1("evaluate", str(run))
    metrics = json.loads(_printed_in_latin_1("evaluate", str(run), "--json"))
    assert "eval/accuracy/\u65e5\u672c" in metrics


def test_files_are_utf_8_in_any_locale(tmp_path: Path) -> None:
    source = tmp_path / "rows.jsonl"
    rows = [
        {"text": f"text {n}", "label": "gr\u00f6\u00dfe", "lang": "\u65e5\u672c"} for n in range(9)
    ]
    source.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    command = ["-m", "raykd", "prepare", str(source), "--output", str(tmp_path / "data")]
    columns = ["--label-column", "label", "--language-column", "lang", "--num-processes", "1"]
    # Python would take UTF-8 in place of the C locale unless it is told not to.
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ended = subprocess.run(
        [sys.executable, *command, *columns, "--vocab-size", "300"],
        env={**os.environ, **plain},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert b"gr??e" in ended.stdout
    manifest = read_manifest(str(tmp_path / "data"))
    assert (manifest.labels, manifest.languages) == (("gr\u00f6\u00dfe",), ("\u65e5\u672c",))
