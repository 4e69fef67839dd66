"""Make what a case needs: data, student, teacher, and the rows of every step for the peers."""

import itertools
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import transformers
from raykd.batch import Batch, IntArray
from raykd.config.load import checked_run
from raykd.config.schema.run import RunConfig
from raykd.data.manifest import (
    KIND,
    TOKENIZER_DIRECTORY,
    Manifest,
    manifest_content,
    row_schema,
)
from raykd.data.prepare.writer import ShardWriter
from raykd.data.tokenizers import tokenizer_info
from raykd.distill.assemble import assemble
from raykd.distill.setup import read_setup
from raykd.distill.world import World
from raykd.storage.published.publishing import publishing
from tokenizers import Tokenizer
from tokenizers.models import WordLevel

from tests.bench.rivals.cases import LEARNING_RATE, Case, Material, ModelSize
from tests.bench.rivals.rows import NO_LABEL, Row, StepRows, save_rows

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_CLS, _SEP = 2, 3
_BATCH_ROWS = 8
_TEACHER_INITIALIZER_RANGE = 0.1
"""Above the default: a random teacher of the default one says nearly the same of all words."""


def make_material(case: Case, material: Material) -> None:
    """Write everything that the ways of a case read."""
    write_data(case, material)
    torch.manual_seed(0)
    save_model(case, case.teacher, material.teacher, spread=_TEACHER_INITIALIZER_RANGE)
    save_model(case, case.student, material.student, spread=0.02)
    config = run_config(case, material, name="rows", micro_batch_rows=case.batch_rows, changes={})
    run = assemble(read_setup(config), world=World())
    batches = [step.micro_batches[0] for step in itertools.islice(run.steps(), run.num_steps)]
    save_rows(material.rows, [_step_rows(case, batch) for batch in batches])


def run_config(
    case: Case,
    material: Material,
    *,
    name: str,
    micro_batch_rows: int,
    changes: dict[str, Any],
) -> RunConfig:
    """Return the run of a case as a user writes it."""
    values: dict[str, Any] = {
        "name": name,
        "task": case.task,
        "output_uri": str(material.output(name)),
        "data": {"uri": str(material.data), "eval_split": None},
        "teachers": {"teacher": {"model": str(material.teacher)}},
        "student": {"pretrained": str(material.student)},
        "losses": {"cross_entropy": {}, "forward_kl": {"temperature": str(case.temperature)}},
        "optimizer": {
            "learning_rate": LEARNING_RATE,
            "schedule": "constant",
            "warmup_fraction": 0.0,
        },
        "train": {
            "num_steps": case.num_steps,
            "global_batch_size": case.batch_rows,
            "micro_batch_size": micro_batch_rows,
            "log_every_steps": 1,
        },
        "checkpoint": {"every_steps": 10_000},
        "cluster": {"num_workers": 0},
    }
    return checked_run(_merged(values, changes), origin="bench")


def _merged(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(values[key], changes[key])
        for key in values.keys() & changes.keys()
        if isinstance(values[key], dict)
    }
    return values | changes | both


def save_model(case: Case, size: ModelSize, path: Any, *, spread: float) -> None:
    """Save a model of random weights, as one lies on the Hub."""
    shared: dict[str, Any] = {
        "vocab_size": case.vocab_size,
        "initializer_range": spread,
        "pad_token_id": 0,
    }
    if case.num_classes is not None:
        shared["num_labels"] = case.num_classes
        shared["id2label"] = dict(enumerate(class_names(case.num_classes)))
        shared["label2id"] = {label: index for index, label in shared["id2label"].items()}
    if case.task == "causal_lm":
        config: Any = transformers.GPT2Config(
            n_layer=size.num_layers,
            n_embd=size.hidden_size,
            n_head=size.num_heads,
            n_positions=case.max_length,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            bos_token_id=_CLS,
            eos_token_id=_SEP,
            **shared,
        )
        model: Any = transformers.GPT2LMHeadModel(config)
    else:
        config = transformers.BertConfig(
            num_hidden_layers=size.num_layers,
            hidden_size=size.hidden_size,
            num_attention_heads=size.num_heads,
            intermediate_size=4 * size.hidden_size,
            max_position_embeddings=case.max_length,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
            **shared,
        )
        of_task = {
            "masked_lm": transformers.BertForMaskedLM,
            "sequence_classification": transformers.BertForSequenceClassification,
        }
        model = of_task[case.task](config)
    model.save_pretrained(path)


def class_names(num_classes: int) -> tuple[str, ...]:
    """Return the names of the classes, in their order."""
    return tuple(f"class{index:02d}" for index in range(num_classes))


def write_data(case: Case, material: Material) -> None:
    """Publish rows of words drawn by Zipf's law, in one language, as `raykd prepare` does."""
    words = [*_SPECIAL, *(f"w{index}" for index in range(case.vocab_size - len(_SPECIAL)))]
    model = WordLevel({word: index for index, word in enumerate(words)}, unk_token=_SPECIAL[1])
    names = dict(
        zip(
            ("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"),
            _SPECIAL,
            strict=True,
        )
    )
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **names)
    labels = None if case.num_classes is None else class_names(case.num_classes)
    schema = row_schema(case.vocab_size, labels=labels, has_words=False, has_types=False)
    with publishing(str(material.data), kind=KIND) as publication:
        tokenizer.save_pretrained(publication.path / TOKENIZER_DIRECTORY)
        writer = ShardWriter(
            publication.path, schema, split="train", language="en", batch_rows=_BATCH_ROWS
        )
        writer.append(_columns(case))
        manifest = Manifest(
            uri="",
            fingerprint="",
            languages=("en",),
            tokenizer=tokenizer_info(tokenizer),
            max_length=case.max_length,
            labels=labels,
            word_labels=None,
            has_token_types=False,
            options={},
            splits={"train": tuple(writer.close())},
        )
        publication.content.update(manifest_content(manifest))


def _columns(case: Case) -> dict[str, pa.Array]:
    """Draw lengths, and ids with the frequencies of Zipf's law: uniform on a logarithmic scale."""
    generator = np.random.default_rng(0)
    # Twice what is trained on: raykd reads a few steps ahead.
    num_rows = 2 * case.num_steps * case.batch_rows
    draw = _document_pieces if case.num_classes is None else _sentences
    lengths = draw(generator, num_rows, longest=case.max_length)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    uniform = generator.random(offsets[-1])
    ranks = np.exp(uniform * np.log(case.vocab_size - len(_SPECIAL))).astype(np.int64)
    ids = ranks - 1 + len(_SPECIAL)
    ids[offsets[:-1]] = _CLS
    ids[offsets[1:] - 1] = _SEP
    columns = {
        "input_ids": pa.ListArray.from_arrays(
            pa.array(offsets.astype(np.int32)), pa.array(ids.astype(np.uint16))
        ),
        "row_id": pa.array(np.arange(len(lengths))),
    }
    if case.num_classes is not None:
        columns["label"] = pa.array(
            generator.integers(case.num_classes, size=len(lengths)).astype(np.int32)
        )
    return columns


def _document_pieces(generator: np.random.Generator, num_rows: int, *, longest: int) -> IntArray:
    """Return the lengths of rows that documents are cut into: full ones, and what is left over."""
    lengths: list[int] = []
    while len(lengths) < num_rows:
        full, left = divmod(int(generator.lognormal(np.log(400), 1.0)), longest)
        lengths += [longest] * full + ([left] if left >= longest // 8 else [])
    return np.array(lengths[:num_rows])


def _sentences(generator: np.random.Generator, num_rows: int, *, longest: int) -> IntArray:
    """Return lengths of sentences: half have up to 24 tokens, one in fifty 100 or more."""
    drawn = generator.lognormal(np.log(24), 0.7, size=num_rows)
    return np.clip(drawn.astype(np.int64), 5, longest)


def _step_rows(case: Case, batch: Batch) -> StepRows:
    is_token_BL = batch.is_token_BL
    lengths = is_token_BL.sum(1).tolist()
    if case.task == "sequence_classification":
        labels = list(batch.labels_P.clone())
    elif case.task == "causal_lm":
        labels = [ids[:n] for ids, n in zip(batch.input_ids_BL, lengths, strict=True)]
    else:
        labels_BL = torch.full_like(batch.input_ids_BL, NO_LABEL)
        labels_BL.view(-1)[batch.positions_P] = batch.labels_P
        labels = [row[:n] for row, n in zip(labels_BL, lengths, strict=True)]
    rows: list[Row] = [
        {"input_ids": ids[:n].clone(), "labels": label.clone()}
        for ids, n, label in zip(batch.input_ids_BL, lengths, labels, strict=True)
    ]
    return StepRows(rows=tuple(rows))
