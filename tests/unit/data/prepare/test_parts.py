from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from raykd.config.schema.prepare import PrepareOptions, SourceOptions, TokenizerOptions
from raykd.data.prepare.examples import Recipe
from raykd.data.prepare.inputs import find_inputs
from raykd.data.prepare.parts import (
    Part,
    Piece,
    Work,
    made_part,
    part_examples,
    submitted_parts,
    unit_pieces,
)
from raykd.data.prepare.pipeline import prepare
from raykd.data.prepare.processes import Processes
from raykd.data.prepare.report import Progress
from raykd.errors import ConfigError, PublicationError
from raykd.storage import uris

from tests.prepared import word_tokenizer


@pytest.fixture
def work(tmp_path: Path, storage_uri: str) -> Work:
    """Return work on two files, whose tokenizer and parts are in a store."""
    for name, word in (("a", "w1"), ("b", "w2")):
        (tmp_path / f"{name}.txt").write_text(f"{word}\n\n" * 9000)
    options = PrepareOptions(
        sources=SourceOptions(train=(str(tmp_path / "a.txt"), str(tmp_path / "b.txt"))),
        tokenizer=TokenizerOptions(source=str(tmp_path / "tokenizer")),
        output_uri=f"{storage_uri}/data",
    )
    word_tokenizer().save_pretrained(tmp_path / "tokenizer")
    content = (tmp_path / "tokenizer" / "tokenizer.json").read_bytes()
    uris.write_bytes(f"{storage_uri}/tokenizer.json", content)
    recipe = Recipe(
        tokenizer_uri=f"{storage_uri}/tokenizer.json",
        max_length=8,
        truncation_side="right",
        packs=False,
        has_types=False,
        labels=None,
        label_type="class",
        validation_fraction=0.0,
        language="en",
    )
    return Work(
        inputs=find_inputs(options), options=options, recipe=recipe, uri=f"{storage_uri}/work"
    )


@dataclass(frozen=True, slots=True)
class Later:
    """A part that is made when it is waited for."""

    piece: Piece
    recipe: Recipe
    waited_for: list[str]

    def result(self) -> Part:
        self.waited_for.append(self.piece.uri)
        return made_part(self.piece, self.recipe)


def pieces_of(work: Work) -> list[Piece]:
    rows = work.inputs.rows(work.options)
    return list(unit_pieces(work, 7, rows))


def test_pieces_have_names_in_the_order_of_their_rows(work: Work) -> None:
    pieces = pieces_of(work)
    names = [piece.uri.removeprefix(f"{work.uri}/") for piece in pieces]
    assert names == ["000007-000000.arrow", "000007-000001.arrow"]
    counts = [sum(len(rows.texts) for rows in piece.rows) for piece in pieces]
    assert sum(counts) == 36_000
    assert 20_000 <= counts[0] < 20_300
    firsts = [(rows.uri, rows.numbers[0]) for piece in pieces for rows in piece.rows]
    assert firsts == sorted(firsts)


def test_a_finished_part_is_found_as_it_was_made(work: Work) -> None:
    made = [made_part(piece, work.recipe) for piece in pieces_of(work)]
    assert sum(part.size.rows for part in made) == 18_000
    assert sum(one.count for part in made for one in part.rejections) == 18_000
    # Of other rows, so that what is found cannot have been made again.
    found = [made_part(replace(piece, rows=[]), work.recipe) for piece in pieces_of(work)]
    assert found == made
    tables = [table for _, table in part_examples(made)]
    assert [table.num_rows for table in tables] == [part.size.rows for part in made]
    assert [row["input_ids"] for row in tables[0].slice(0, 1).to_pylist()] == [[6]]


def test_a_part_that_is_gone_is_noticed(work: Work) -> None:
    made = [made_part(piece, work.recipe) for piece in pieces_of(work)]
    uris.delete(made[1].uri)
    with pytest.raises(FileNotFoundError):
        list(part_examples(made))


def test_only_so_many_pieces_are_under_way(work: Work) -> None:
    waited_for: list[str] = []
    submitted: list[str] = []

    def submit(piece: Piece, recipe: Recipe) -> Later:
        submitted.append(piece.uri)
        assert len(submitted) - len(waited_for) <= 2
        return Later(piece, recipe, waited_for)

    (first, second) = pieces_of(work)
    pieces = [first, second, *(replace(first, uri=f"{first.uri}-{n}") for n in range(4))]
    parts = list(submitted_parts(iter(pieces), work.recipe, submit, num_in_flight=2))
    assert [part.uri for part in parts] == waited_for == submitted


def test_a_machine_that_does_not_reach_the_work_says_so(work: Work) -> None:
    elsewhere = replace(work.recipe, tokenizer_uri=f"{work.uri}/tokenizer.json")
    with pytest.raises(ConfigError, match=r"tokenizer\.json: is not there, on .*--distributed"):
        made_part(pieces_of(work)[0], elsewhere)


class Elsewhere(Processes):
    """Processes of this machine that are taken for others."""

    @property
    def are_elsewhere(self) -> bool:
        return True


class _KilledError(Exception):
    pass


def test_work_that_is_shared_lies_beside_the_output_and_goes_with_its_end(
    work: Work, storage_uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raykd.data.prepare.inputs._UNIT_BYTES", 1)
    options = replace(work.options, max_length=8)
    uris.delete(f"{storage_uri}/tokenizer.json")

    def kill(progress: Progress) -> None:
        raise _KilledError

    with pytest.raises(_KilledError):
        prepare(options, on_progress=kill, tokenisers=Elsewhere(1))
    (name,) = uris.list_names(storage_uri)
    assert name.startswith(".data.prepare-")
    uris.delete(f"{storage_uri}/{name}/000001-000000.arrow")
    resumed = prepare(options, on_progress=lambda _: None, tokenisers=Elsewhere(1))
    assert (resumed.reused_parts, resumed.parts) == (1, 2)
    assert uris.list_names(storage_uri) == ["data"]
    smooth = replace(options, output_uri=f"{storage_uri}/smooth")
    report = prepare(smooth, on_progress=lambda _: None)
    assert report.manifest.fingerprint == resumed.manifest.fingerprint


def test_a_whole_bucket_is_no_output_of_shared_work(work: Work, s3_uri: str) -> None:
    whole = replace(work.options, output_uri=s3_uri)
    with pytest.raises(PublicationError, match="is a whole bucket"):
        prepare(whole, on_progress=lambda _: None, tokenisers=Elsewhere(1))
