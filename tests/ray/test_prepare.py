"""`raykd prepare --distributed` on a real Ray: the bytes of the local way, whatever happens."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from raykd.cli.main import main as raykd
from raykd.cli.prepare_on_ray import RayTokenisers
from raykd.config.schema.prepare import (
    ColumnOptions,
    PrepareOptions,
    SourceOptions,
    TokenizerOptions,
)
from raykd.data.prepare.pipeline import prepare
from raykd.data.prepare.report import PrepareReport, Progress
from raykd.ray_cluster.connect import LOCAL, ray_cluster
from raykd.storage import uris

from tests.conftest import set_s3_environment
from tests.ray.support.running import processes_called

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

NUM_FILES = 4
ROWS_PER_FILE = 600


@pytest.fixture(scope="module", autouse=True)
def local_ray(s3_server: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        # Before Ray starts: its processes inherit this.
        set_s3_environment(monkeypatch, s3_server)
        with ray_cluster(LOCAL, num_cpus=2, num_gpus=0):
            yield


@pytest.fixture(autouse=True)
def many_readers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every file read by a task of its own, and two at a time."""
    monkeypatch.setattr("raykd.data.prepare.inputs._UNIT_BYTES", 1)
    monkeypatch.setattr("raykd.data.prepare.on_ray._CORES_PER_READER", 2)


def written(directory: Path, name: str) -> tuple[str, ...]:
    """Write rows in two languages, some of which are refused, as text and as JSON lines."""
    directory.mkdir()
    for number in range(NUM_FILES):
        rows = [
            {
                "text": "" if index % 150 == 3 else f"word {index} of {index * 7 % 13} {number}",
                "label": index % 3,
                "lang": "en" if index % 4 else "pt-BR",
            }
            for index in range(ROWS_PER_FILE)
        ]
        lines = [str(row["text"]) if name == "text" else json.dumps(row) for row in rows]
        Path(directory, f"{number}.{name}").write_text("".join(f"{line}\n" for line in lines))
    return tuple(sorted(map(str, directory.iterdir())))


@pytest.fixture
def labelled(tmp_path: Path) -> PrepareOptions:
    return PrepareOptions(
        sources=SourceOptions(train=written(tmp_path / "raw", "jsonl"), validation_fraction=0.1),
        columns=ColumnOptions(label="label", language="lang"),
        tokenizer=TokenizerOptions(vocab_size=400),
        output_uri=str(tmp_path / "data"),
        max_length=16,
    )


def ignore(progress: Progress) -> None:
    assert progress.share is None or 0 <= progress.share <= 1


def distributed(options: PrepareOptions, on_progress: Any = ignore) -> PrepareReport:
    tokenisers = RayTokenisers(address=LOCAL, num_cpus=2)
    return prepare(options, on_progress=on_progress, tokenisers=tokenisers)


def local(options: PrepareOptions, tmp_path: Path) -> PrepareReport:
    return prepare(replace(options, output_uri=str(tmp_path / "local")), on_progress=ignore)


def content(uri: str) -> dict[str, bytes]:
    return {name: uris.read_bytes(f"{uri}/{name}") for name in uris.list_files(uri)}


def told(report: PrepareReport) -> PrepareReport:
    """Return a report without what may differ."""
    return replace(report, seconds=0.0, manifest=replace(report.manifest, uri=""))


def test_labelled_rows_from_a_store_to_a_store(
    labelled: PrepareOptions, tmp_path: Path, s3_uri: str
) -> None:
    *trained, tested = labelled.sources.train
    for path in trained:
        uris.write_bytes(f"{s3_uri}/raw/{Path(path).name}", Path(path).read_bytes())
    sources = replace(labelled.sources, train=(f"{s3_uri}/raw",), splits={"test": (tested,)})
    options = replace(labelled, sources=sources, output_uri=f"{s3_uri}/data")
    report, expected = distributed(options), local(options, tmp_path)
    assert content(options.output_uri) == content(expected.manifest.uri)
    assert told(report) == told(expected)
    assert report.parts == NUM_FILES
    assert sorted(report.manifest.splits) == ["test", "train", "validation"]
    assert uris.list_names(s3_uri) == ["data", "raw"]


def test_packed_text_in_a_folder(tmp_path: Path) -> None:
    options = PrepareOptions(
        sources=SourceOptions(train=written(tmp_path / "raw", "txt")),
        tokenizer=TokenizerOptions(vocab_size=400, kind="bpe"),
        output_uri=str(tmp_path / "data"),
        max_length=32,
        packs=True,
    )
    report, expected = distributed(options), local(options, tmp_path)
    assert content(options.output_uri) == content(expected.manifest.uri)
    assert told(report) == told(expected)


@dataclass(kw_only=True)
class Killer:
    """Kills a process of each of these names with SIGKILL, as soon as there is one."""

    titles: list[str]
    killed: list[str] = field(default_factory=list)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        over = threading.Event()
        thread = threading.Thread(target=self._kill, args=[over])
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _kill(self, over: threading.Event) -> None:
        while self.titles and not over.wait(0.01):
            # A process may end while it is looked at.
            with suppress(psutil.NoSuchProcess):
                for process in processes_called(self.titles[0])[:1]:
                    process.kill()
                    self.killed.append(self.titles.pop(0))


def test_killed_workers_change_nothing(labelled: PrepareOptions, tmp_path: Path) -> None:
    titles = ["ray::_tokenise", "ray::_read_unit"]
    killer = Killer(titles=list(titles))
    with killer.at_work():
        report = distributed(labelled)
    assert killer.killed == titles
    expected = local(labelled, tmp_path)
    assert content(labelled.output_uri) == content(expected.manifest.uri)
    assert told(report) == told(expected)


class _InterruptedError(Exception):
    pass


def test_what_is_finished_is_not_made_again(labelled: PrepareOptions, tmp_path: Path) -> None:
    def interrupt(progress: Progress) -> None:
        if progress.stage == "tokenising":
            raise _InterruptedError

    # In this process: which parts are there does not change any more.
    with pytest.raises(_InterruptedError):
        prepare(labelled, on_progress=interrupt)
    (work,) = tmp_path.glob(".data.prepare-*")
    finished = {path.name: path.stat().st_mtime_ns for path in work.glob("*.arrow")}
    assert len(finished) > 1
    (work / max(finished)).unlink()
    del finished[max(finished)]
    made_at: dict[str, int] = {}

    def note(progress: Progress) -> None:
        if progress.stage == "writing":
            made_at.update({path.name: path.stat().st_mtime_ns for path in work.glob("*.arrow")})

    report = distributed(labelled, note)
    assert {name: made_at[name] for name in finished} == finished
    assert report.reused_parts == len(finished) < report.parts == len(made_at)
    expected = local(labelled, tmp_path)
    assert content(labelled.output_uri) == content(expected.manifest.uri)


def test_an_error_of_the_input_is_told_once_as_locally(
    labelled: PrepareOptions, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "raw" / "3.jsonl"
    bad.write_text('{"txt": "other"}\n{"text": \n')
    vocabulary = tmp_path / "vocab.txt"
    vocabulary.write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "word"]))
    arguments = ["prepare", *labelled.sources.train, "--output", labelled.output_uri]
    arguments += ["--tokenizer", str(vocabulary)]
    assert raykd([*arguments, "--distributed"]) == 2
    found = capsys.readouterr().err
    assert f"raykd: {bad}: has no column 'text'" in found
    assert raykd(arguments) == 2
    assert found.splitlines()[-1:] == capsys.readouterr().err.splitlines()[-1:]
