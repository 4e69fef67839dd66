"""An exported student is the same to transformers alone: ids, scores, and where they are read."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from raykd.batch import Batch
from raykd.config.schema.run import TaskName
from raykd.data.manifest import TOKENIZER_DIRECTORY, Manifest
from raykd.data.prepare.examples import Encoder, Recipe
from raykd.data.prepare.raw_rows import RawRows
from raykd.data.tokenizers import load_tokenizer, tells_pairs_apart, tokenizer_info
from raykd.distill.models import build_student, scored
from raykd.distill.setup import RunSetup
from raykd.models.families import FAMILIES
from raykd.models.labels import label_list
from raykd.models.load import load_config, model_files
from raykd.models.scored import ScoredModel
from raykd.runs.companions import companions_of
from raykd.runs.export import ExportedModel, export_model

from tests.small_runs import TINY_BERT, small_run
from tests.tiny_models import FAMILY_TASKS
from tests.unit.runs.tokenizer_kinds import KINDS, MAX_LENGTH, PAIRS, TEXTS, prepared


@dataclass(frozen=True, kw_only=True)
class Case:
    """One exported directory, what is read by it, and what raykd makes of that."""

    name: str
    given: dict[str, Any]
    ids: list[list[int]]
    scores: list[np.ndarray]


def exported(
    family: str, task: TaskName, manifest: Manifest, directory: Path, **student: Any
) -> tuple[ScoredModel, Path]:
    """Export a student with weights far from zero; return it as raykd reads it."""
    given = student or {"architecture": dict(TINY_BERT) | {"model_type": family}}
    config = small_run(directory, task=task, data__uri=manifest.uri, student=given)
    setup = RunSetup(config=config, manifest=manifest)
    model = build_student(setup).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.3)
            else:
                parameter.normal_(mean=float("norm" in name.lower()), std=0.1)
    output = directory / "model"
    with companions_of(model, config) as companions:
        export_model(
            ExportedModel(
                model=model_files(model), config=config, companions=companions, metrics={}
            ),
            str(output),
        )
    return scored(model, setup).eval(), output


def rows_of(manifest: Manifest, pairs: list[str] | None) -> list[tuple[list[int], list[int]]]:
    """Return ids and segments of the texts as ``raykd prepare`` writes them."""
    directory = f"{manifest.uri}/{TOKENIZER_DIRECTORY}"
    tokenizer = load_tokenizer(directory)
    recipe = Recipe(
        tokenizer_uri=f"{directory}/tokenizer.json",
        max_length=MAX_LENGTH,
        truncation_side=tokenizer.truncation_side,
        packs=False,
        has_types=pairs is not None and tells_pairs_apart(tokenizer),
        labels=None,
        label_type="class",
        validation_fraction=0.0,
        language="und",
    )
    raw = RawRows(
        split="train",
        uri="",
        unit="row",
        numbers=range(len(TEXTS)),
        texts=list(TEXTS),
        pairs=None if pairs is None else list(pairs),
    )
    table = Encoder(recipe).encode([raw]).table
    ids = table["input_ids"].to_pylist()
    types = table["token_type_ids"].to_pylist()
    return [(i, t or [0] * len(i)) for i, t in zip(ids, types, strict=True)]


def scores_of(
    student: ScoredModel, task: TaskName, rows: list[tuple[list[int], list[int]]], pad_id: int
) -> list[np.ndarray]:
    """Return what raykd's student scores: of each row, or of every token of it."""
    lengths = [len(ids) for ids, _ in rows]
    longest = max(lengths)
    mask_BL = torch.arange(longest) < torch.tensor(lengths)[:, None]
    ids_BL = torch.full((len(rows), longest), pad_id)
    types_BL = torch.zeros_like(ids_BL)
    ids_BL[mask_BL] = torch.tensor([i for ids, _ in rows for i in ids])
    types_BL[mask_BL] = torch.tensor([t for _, types in rows for t in types])
    is_of_rows = task == "sequence_classification"
    places = torch.arange(len(rows)) * longest if is_of_rows else mask_BL.flatten().nonzero()[:, 0]
    batch = Batch(
        input_ids_BL=ids_BL,
        attention_mask_BL=mask_BL.long(),
        token_type_ids_BL=types_BL,
        positions_P=places,
        labels_P=torch.zeros_like(places),
        languages_B=torch.zeros(len(rows), dtype=torch.int64),
        row_ids_B=torch.arange(len(rows)),
        epochs_B=torch.zeros(len(rows), dtype=torch.int64),
        num_tokens=sum(lengths),
    )
    with torch.no_grad():
        logits_PK = student(batch).logits_PK.float()
    if is_of_rows:
        return list(logits_PK.numpy())
    return [part.numpy() for part in logits_PK.split(lengths)]


def case(
    family: str, task: TaskName, manifest: Manifest, directory: Path, *, pairs: list[str] | None
) -> Case:
    directory.mkdir()
    student, path = exported(family, task, manifest, directory)
    fingerprint = tokenizer_info(load_tokenizer(str(path))).fingerprint
    assert fingerprint == manifest.tokenizer.fingerprint
    labels = manifest.labels_of(task)
    assert labels is None or label_list(load_config(str(path))) == labels
    rows = rows_of(manifest, pairs)
    assert max(len(ids) for ids, _ in rows) == MAX_LENGTH  # one is cut
    is_free = FAMILIES[family].summary == "last" and FAMILIES[family].positions == "rotary"
    given = {
        "path": str(path),
        "task": task,
        "texts": TEXTS,
        "pairs": pairs,
        "sides": ["default", "left", "right"] if is_free else ["default"],
    }
    return Case(
        name=f"{family} {task} {'pairs' if pairs else 'texts'}",
        given=given,
        ids=[ids for ids, _ in rows],
        scores=scores_of(student, task, rows, manifest.tokenizer.pad_id),
    )


def compare(cases: list[Case], directory: Path) -> None:
    """Read all directories in one fresh process, and compare."""
    asked = directory / "cases.json"
    results_path = directory / "results.npz"
    given = {"cases": [one.given for one in cases], "output": str(results_path)}
    asked.write_text(json.dumps(given))
    program = Path(__file__).with_name("loaded_alone.py")
    command = [sys.executable, "-I", str(program), str(asked)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-3000:]
    with np.load(results_path) as results:
        for index, one in enumerate(cases):
            for row, (ids, expected) in enumerate(zip(one.ids, one.scores, strict=True)):
                where = f"{one.name}, row {row}"
                assert results[f"{index}/ids/{row}"].tolist() == ids, where
                for way in ("single", *one.given["sides"]):
                    scores = results[f"{index}/{way}/{row}"]
                    shown = scores[..., : expected.shape[-1]]
                    np.testing.assert_allclose(
                        shown, expected, rtol=1e-4, atol=1e-4, err_msg=f"{where}, {way}"
                    )


def cases_of(
    families_and_tasks: list[tuple[str, TaskName]], manifest: Manifest, directory: Path
) -> list[Case]:
    """Export every family for every task: on texts, and where rows are classified on pairs."""
    cases = []
    for family, task in families_and_tasks:
        if task == "masked_lm" and manifest.tokenizer.mask_id is None:
            continue
        inputs = [None, PAIRS] if task == "sequence_classification" else [None]
        for pairs in inputs:
            place = directory / f"{family}-{task}-{'pairs' if pairs else 'texts'}"
            cases.append(case(family, task, manifest, place, pairs=pairs))
    return cases


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_family_and_task_is_the_same_to_transformers_alone(
    kind: str, tmp_path: Path
) -> None:
    manifest = prepared(kind, tmp_path)
    compare(cases_of(FAMILY_TASKS, manifest, tmp_path), tmp_path)


def test_decoders_that_classify_are_the_same_to_transformers_alone(tmp_path: Path) -> None:
    manifest = prepared("without padding", tmp_path)
    task: TaskName = "sequence_classification"
    compare(cases_of([("gpt2", task), ("qwen2", task)], manifest, tmp_path), tmp_path)
