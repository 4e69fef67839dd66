"""Tokenizers as users have them: their own, with what each is known to trip over."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from raykd.cli.main import main
from raykd.data.manifest import Manifest, read_manifest
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer, RobertaTokenizer

TEXTS = [
    "this film is good!!",
    "a bad day, and so on and so forth, without an end in sight",
    "Ada  lives in <s>Paris</s> [SEP] now",
    "so",
    "naïve café 東京",
    "the film is so so bad that nobody stayed until the end of the long day in Paris, and "
    "that is so good that it is not bad at all, so a good end without an end",
]
LABELS = ("no", "perhaps", "yes")
MAX_LENGTH = 24
PAIRS = ["it is not", "so is this one here", "good", "bad", "a film", "Ada was there all day long"]


def _byte_level(special: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, *PAIRS], trainer)
    return tokenizer


def _with_end(**roles: Any) -> PreTrainedTokenizerFast:
    """Return one that ends a text, and whose end has the lowest id."""
    tokenizer = _byte_level(["<|end|>", "<|pad|>"])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A <|end|>",
        pair="$A <|end|> $B <|end|>",
        special_tokens=[("<|end|>", 0)],
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>", **roles)  # noqa: S106


def without_padding() -> Any:
    """As GPT-2's and Llama's: an end, which is also put behind every text, and no padding."""
    return _with_end()


def padding_is_end() -> Any:
    """As many that were trained on: the end pads, too."""
    return _with_end(pad_token="<|end|>")  # noqa: S106


def on_the_left() -> Any:
    """For generation: padded and cut on the left."""
    return _with_end(pad_token="<|pad|>", padding_side="left", truncation_side="left")  # noqa: S106


def without_special_tokens() -> Any:
    """Nothing but pieces of text."""
    return PreTrainedTokenizerFast(tokenizer_object=_byte_level([]))


def unigram() -> Any:
    """As T5's, with segments; its configuration splits what its pipeline keeps whole."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=["<pad>", "</s>", "<unk>", "<s>", "<mask>"],
        unk_token="<unk>",  # noqa: S106
        show_progress=False,
    )
    tokenizer.train_from_iterator([*TEXTS, *PAIRS], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s>:0 $A:0 </s>:0",
        pair="<s>:0 $A:0 </s>:0 $B:1 </s>:1",
        special_tokens=[("<s>", 3), ("</s>", 1)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",  # noqa: S106
        eos_token="</s>",  # noqa: S106
        unk_token="<unk>",  # noqa: S106
        mask_token="<mask>",  # noqa: S106
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        split_special_tokens=True,
    )


def qwen() -> Any:
    """Of the class of a family, which transformers builds anew from the vocabulary."""
    model = _pieces(_byte_level(["<|endoftext|>"]))
    return Qwen2Tokenizer(vocab=model[0], merges=model[1])


def roberta() -> Any:
    """Of the class of another family."""
    vocabulary, merges = _pieces(_byte_level(["<s>", "<pad>", "</s>", "<unk>", "<mask>"]))
    return RobertaTokenizer(vocab=vocabulary, merges=merges)


def _pieces(tokenizer: Tokenizer) -> tuple[Any, Any]:
    state = json.loads(tokenizer.to_str())["model"]
    return state["vocab"], [tuple(merge) for merge in state["merges"]]


KINDS: dict[str, Callable[[], Any] | str] = {
    "trained wordpiece": "wordpiece",
    "trained bpe": "bpe",
    "without padding": without_padding,
    "padding is end": padding_is_end,
    "on the left": on_the_left,
    "without special tokens": without_special_tokens,
    "unigram": unigram,
    "qwen": qwen,
    "roberta": roberta,
}
"""A user's tokenizer, or the type of one that raykd trains."""


def _options_of(kind: str, directory: Path) -> list[str]:
    """Return the arguments of ``raykd prepare`` for a kind of tokenizer."""
    made = KINDS[kind]
    if isinstance(made, str):
        return ["--tokenizer-type", made, "--vocab-size", "320"]
    made().save_pretrained(directory / "theirs")
    return ["--tokenizer", str(directory / "theirs")]


def prepared(kind: str, directory: Path) -> Manifest:
    """Prepare data of pairs with a kind of tokenizer, as if all tasks' labels were there."""
    rows = [
        {"text": text, "pair": pair, "label": label}
        for text, pair, label in zip(TEXTS, PAIRS, LABELS * 2, strict=True)
    ]
    source = directory / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["prepare", str(source), "--output", str(directory / "data")]
    columns = ["--text-pair-column", "pair", "--label-column", "label", "--num-processes", "1"]
    length = ["--max-length", str(MAX_LENGTH)]
    tokenizer = _options_of(kind, directory)
    assert main([*arguments, *columns, *length, *tokenizer]) == 0
    return replace(read_manifest(str(directory / "data")), word_labels=LABELS)
