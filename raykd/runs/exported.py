"""What transformers alone makes of an exported directory, compared with the run that it is of."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from tokenizers import Tokenizer
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast

from raykd.batch import Batch
from raykd.config.schema.run import TaskName
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.distill.batches import first_batches
from raykd.distill.models import scored
from raykd.distill.setup import RunSetup
from raykd.distill.world import World
from raykd.errors import ModelError
from raykd.models.build import AUTO_CLASSES
from raykd.models.per_language import PerLanguageModel, TaskModel
from raykd.models.quiet import quiet_transformers
from raykd.models.scored import ScoredModel
from raykd.storage import uris

_NUM_TEXTS = 8
_TOLERANCE = 1e-3
"""Difference of scores, absolute and relative: of float32 after other paddings and kernels."""

_Loaded = TypeVar("_Loaded")


def check_alone(path: Path, model: TaskModel, setup: RunSetup) -> None:
    """Read a few texts of a run's data by transformers alone, and compare ids and scores.

    Args:
        path: Local directory of the exported model.
        model: The one that was exported: a task model of transformers, or a PerLanguageModel.
        setup: The run and its data, which give the texts.

    Raises:
        ModelError: transformers cannot load the directory, or the ids or scores of a text are
            others; the message shows the first.
    """
    manifest, task = setup.manifest, setup.config.task
    uri = uris.join(manifest.uri, TOKENIZER_DIRECTORY, "tokenizer.json")
    trained = Tokenizer.from_str(uris.read_bytes(uri).decode())
    tokenizer, exported = check_loads(path, task)
    # What from_pretrained reads of a model with several heads is that of the first language.
    plain = model.model if isinstance(model, PerLanguageModel) else model
    student = scored(plain, setup).eval()
    texts = _texts(setup, trained, model_type=plain.config.model_type)
    with quiet_transformers(), torch.no_grad():
        _check_ids(tokenizer, trained, texts, max_length=manifest.max_length)
        if texts:
            inputs = tokenizer(
                texts,
                truncation=True,
                max_length=manifest.max_length,
                padding=True,
                return_tensors="pt",
            )
            is_of_texts = task == "sequence_classification"
            _check_scores(exported, student, inputs, is_of_texts=is_of_texts)


def check_loads(path: Path, task: TaskName) -> tuple[PreTrainedTokenizerFast, PreTrainedModel]:
    """Return tokenizer and model of a directory, as transformers alone loads them.

    Raises:
        ModelError: It cannot.
    """
    with quiet_transformers():
        tokenizer = _loaded(AutoTokenizer.from_pretrained, path)
        return tokenizer, _loaded(AUTO_CLASSES[task].from_pretrained, path).eval()


def _texts(setup: RunSetup, tokenizer: Tokenizer, *, model_type: str) -> list[str]:
    """Return texts like those of the data, of whose rows there are ids alone."""
    batch = next(first_batches(setup, setup.task(model_type), world=World()))
    rows = zip(batch.input_ids_BL, batch.is_token_BL, strict=True)
    texts = [tokenizer.decode(ids_L[is_token_L].tolist()) for ids_L, is_token_L in rows]
    readable = (text for text in texts if tokenizer.encode(text, add_special_tokens=False).ids)
    return list(readable)[:_NUM_TEXTS]


def _loaded(load: Callable[..., _Loaded], path: Path) -> _Loaded:
    try:
        return load(str(path), local_files_only=True, trust_remote_code=False)
    except Exception as error:  # whatever it is, a user would meet it
        raise ModelError(_unlike(f"it cannot be loaded: {error}")) from error


def _check_ids(
    tokenizer: PreTrainedTokenizerFast, trained: Tokenizer, texts: list[str], *, max_length: int
) -> None:
    # The file of a tokenizer may pad and cut by settings of its own.
    trained.no_padding()
    trained.enable_truncation(max_length, direction=tokenizer.truncation_side)
    for text in texts:
        ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        expected = trained.encode(text).ids
        if ids != expected:
            what = f"of {text[:80]!r} its tokenizer makes {ids}, but the data's {expected}"
            raise ModelError(_unlike(what))


def _check_scores(
    model: PreTrainedModel,
    student: ScoredModel,
    inputs: Mapping[str, torch.Tensor],
    *,
    is_of_texts: bool,
) -> None:
    # [B, C] for texts, [B, L, V] for tokens; of these the padding is left out, [P, V].
    logits = model(**inputs).logits.float()
    if not is_of_texts:
        logits = logits[inputs["attention_mask"].bool()]
    expected_PK = student(_batch(inputs, is_of_texts=is_of_texts)).logits_PK.float()
    loaded_PK = logits[:, : expected_PK.shape[1]]
    if not torch.allclose(
        loaded_PK, expected_PK, rtol=_TOLERANCE, atol=_TOLERANCE, equal_nan=True
    ):
        largest = (loaded_PK - expected_PK).abs().max().item()
        what = f"its scores differ from the student's by up to {largest:.3g}"
        raise ModelError(_unlike(what))


def _batch(inputs: Mapping[str, torch.Tensor], *, is_of_texts: bool) -> Batch:
    """Return texts as a run reads rows: padded on the right, each token or each text scored."""
    mask_BL = inputs["attention_mask"]
    # Stable: the tokens of a text stay in their order, wherever its padding was.
    order_BL = mask_BL.argsort(dim=1, descending=True, stable=True)
    moved = {name: tensor.gather(1, order_BL) for name, tensor in inputs.items()}
    is_scored_BL = moved["attention_mask"].clone()
    if is_of_texts:
        is_scored_BL[:, 1:] = 0
    places_P = is_scored_BL.flatten().nonzero().squeeze(-1)
    nothing_B = torch.zeros(len(mask_BL), dtype=torch.int64, device=mask_BL.device)
    return Batch(
        input_ids_BL=moved["input_ids"],
        attention_mask_BL=moved["attention_mask"],
        token_type_ids_BL=moved.get("token_type_ids"),
        positions_P=places_P,
        labels_P=torch.zeros_like(places_P),
        languages_B=nothing_B,
        row_ids_B=nothing_B,
        epochs_B=nothing_B,
        num_tokens=int(mask_BL.sum()),
    )


def _unlike(what: str) -> str:
    return (
        f"transformers alone does not read the exported model as it was trained: {what}; nothing "
        "is written. --no-check exports it all the same"
    )
