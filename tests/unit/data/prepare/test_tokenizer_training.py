import hashlib
import subprocess
import sys

from raykd.config.schema.prepare import TokenizerOptions
from raykd.data.prepare.readers.demo_corpora import demo_rows
from raykd.data.prepare.tokenizer_training import evenly_sampled, train_tokenizer
from raykd.data.tokenizers import tokenizer_info


def _texts() -> list[str]:
    rows = demo_rows("cldr-names")[:12]
    return [text for some in rows for text in some.texts if text is not None]


def _fingerprints() -> list[str]:
    all_options = (TokenizerOptions(kind=kind, vocab_size=1500) for kind in ("wordpiece", "bpe"))
    trained = (train_tokenizer(_texts(), options, max_length=32) for options in all_options)
    return [tokenizer_info(tokenizer).fingerprint for tokenizer in trained]


def test_another_process_trains_the_same_tokenizers() -> None:
    module = __name__
    program = f"import {module} as module; print(*module._fingerprints())"
    there = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert there.stdout.split() == _fingerprints()


def test_a_trained_wordpiece_tokenizer_frames_texts_and_pairs() -> None:
    options = TokenizerOptions(vocab_size=1500, lowercase=True)
    tokenizer = train_tokenizer(_texts(), options, max_length=32)
    encoded = tokenizer("März", "april")
    tokens = tokenizer.convert_ids_to_tokens(encoded["input_ids"])
    assert (tokens[0], tokens[-1], tokens.count("[SEP]")) == ("[CLS]", "[SEP]", 2)
    second = tokens.index("[SEP]") + 1
    assert encoded["token_type_ids"] == [0] * second + [1] * (len(tokens) - second)
    assert tokenizer.convert_ids_to_tokens(range(5)) == [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
    ]
    assert len(tokenizer) == 1500
    assert tokenizer.model_max_length == 32
    assert tokenizer.tokenize("##a") != ["##a"]  # inner pieces are no special tokens


def test_a_trained_bpe_tokenizer_gives_every_text_back() -> None:
    options = TokenizerOptions(kind="bpe", vocab_size=600)
    tokenizer = train_tokenizer(_texts(), options, max_length=32)
    text = "Never seen: \u732b \U0001f642 \u0434"
    ids = tokenizer(text)["input_ids"]
    assert (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.mask_token_id is not None


def test_a_sample_is_even_and_bounded() -> None:
    texts = [f"{hashlib.sha256(bytes([i % 256, i // 256])).hexdigest()}" for i in range(4000)]
    sample = evenly_sampled(texts, limit=64 * 1000)
    assert 500 <= len(sample) <= 1000
    places = [texts.index(text) for text in sample]
    assert places == sorted(places)
    assert 0.4 < sum(place < 2000 for place in places) / len(places) < 0.6


def test_small_input_is_taken_whole() -> None:
    assert evenly_sampled(iter(["a", "b", "a"])) == ["a", "b", "a"]
    assert evenly_sampled([]) == []
