import json
from pathlib import Path

import pytest
from raykd.data.tokenizers import (
    insist_on_generic,
    load_tokenizer,
    save_tokenizer,
    tells_pairs_apart,
    tokenizer_info,
)
from raykd.errors import DataError
from tokenizers import Tokenizer, models
from tokenizers.models import WordLevel
from transformers import AutoConfig, AutoTokenizer, PreTrainedTokenizerFast

from tests.prepared import word_tokenizer
from tests.tiny_models import tiny_model

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "##s", "!"]


@pytest.fixture
def vocab_file(tmp_path: Path) -> Path:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(VOCABULARY) + "\n")
    return path


def test_a_vocab_file_gives_a_wordpiece_tokenizer(vocab_file: Path) -> None:
    tokenizer = load_tokenizer(str(vocab_file))
    assert tokenizer("Hello worlds!")["input_ids"] == [2, 5, 6, 7, 8, 3]
    info = tokenizer_info(tokenizer)
    assert (info.vocab_size, info.pad_id, info.mask_id) == (9, 0, 4)
    assert info.special_ids == (0, 1, 2, 3, 4)


def test_a_vocabulary_with_capitals_is_case_sensitive(tmp_path: Path) -> None:
    path = tmp_path / "bert.vocab.txt"
    path.write_text("\n".join([*VOCABULARY, "Hello"]))
    assert load_tokenizer(str(path))("Hello")["input_ids"] == [2, 9, 3]


def test_file_directory_and_prepared_data_load_the_same_tokenizer(
    vocab_file: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(str(vocab_file))
    tokenizer.save_pretrained(tmp_path / "data" / "tokenizer")
    saved = tmp_path / "data" / "tokenizer"
    sources = (saved, saved / "tokenizer.json", tmp_path / "data", f"file://{tmp_path}/data")
    prints = {tokenizer_info(load_tokenizer(str(source))).fingerprint for source in sources}
    assert prints == {tokenizer_info(tokenizer).fingerprint}


def test_the_fingerprint_notices_two_swapped_ids(vocab_file: Path, tmp_path: Path) -> None:
    swapped = tmp_path / "swapped.txt"
    swapped.write_text("\n".join([*VOCABULARY[:5], "world", "hello", *VOCABULARY[7:]]))
    one, other = (tokenizer_info(load_tokenizer(str(path))) for path in (vocab_file, swapped))
    assert one.vocab_size == other.vocab_size
    assert one.fingerprint != other.fingerprint


def test_the_fingerprint_notices_another_normaliser(vocab_file: Path) -> None:
    tokenizer = load_tokenizer(str(vocab_file))
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["normalizer"]["lowercase"] = False
    changed = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(state)), **tokenizer.special_tokens_map
    )
    assert changed.get_vocab() == tokenizer.get_vocab()
    assert tokenizer_info(changed).fingerprint != tokenizer_info(tokenizer).fingerprint


def test_the_fingerprint_ignores_how_a_tokenizer_was_used(vocab_file: Path) -> None:
    tokenizer = load_tokenizer(str(vocab_file))
    before = tokenizer_info(tokenizer).fingerprint
    tokenizer(["hello", "world hello"], padding=True, truncation=True, max_length=3)
    assert tokenizer_info(tokenizer).fingerprint == before


def _saved(path: Path, **roles: str) -> Path:
    """Save a tokenizer of three words as a user would, with only these special tokens."""
    model = WordLevel({"</s>": 0, "<unk>": 1, "hello": 2}, unk_token="<unk>")  # noqa: S106
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), **roles).save_pretrained(path)
    return path


@pytest.mark.parametrize(
    ("roles", "pad", "size"),
    [
        ({"eos_token": "</s>", "unk_token": "<unk>"}, "</s>", 3),
        ({"unk_token": "<unk>"}, "<unk>", 3),
        ({"eos_token": "</s>", "pad_token": "<unk>"}, "<unk>", 3),
        ({}, "[PAD]", 4),
    ],
)
def test_every_tokenizer_can_pad(
    roles: dict[str, str], pad: str, size: int, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(str(_saved(tmp_path, **roles)))
    assert tokenizer.pad_token == pad
    info = tokenizer_info(tokenizer)
    assert (info.pad_id, info.vocab_size) == (tokenizer.pad_token_id, size)
    padded = tokenizer(["hello", ""], padding=True)["input_ids"]
    assert padded == [[2], [info.pad_id]]


def test_a_saved_tokenizer_is_its_tokenizer_json_beside_any_model(tmp_path: Path) -> None:
    """Also beside a Qwen2, of which transformers takes the family's class for any tokenizer."""
    tokenizer = load_tokenizer(str(_saved(tmp_path / "theirs", eos_token="</s>")))  # noqa: S106
    tokenizer.truncation_side = "left"
    for family in ("bert", "roberta", "gpt2", "llama", "mistral", "qwen2", "qwen3"):
        path = tmp_path / family
        config = AutoConfig.for_model(family)
        config.save_pretrained(path)
        save_tokenizer(tokenizer, path)
        insist_on_generic(path, config)
        found = AutoTokenizer.from_pretrained(path)
        assert found.backend_tokenizer.to_str() == tokenizer.backend_tokenizer.to_str()
        assert found.special_tokens_map == tokenizer.special_tokens_map
        assert (found.truncation_side, len(found)) == ("left", 3)


def test_only_some_tokenizers_tell_pairs_apart(vocab_file: Path) -> None:
    tokenizer = load_tokenizer(str(vocab_file))
    assert tells_pairs_apart(tokenizer)
    tokenizer.model_input_names = ["input_ids", "attention_mask"]
    assert not tells_pairs_apart(tokenizer)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("vocab.txt", "a\nb\n", "one WordPiece token a line"),
        ("tokenizer.json", "{}", "model"),
        ("tokenizer.json", "no json", "Expecting value"),
    ],
)
def test_a_broken_file_is_one_clear_error(
    tmp_path: Path, name: str, content: str, reason: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=rf"{name}: no tokenizer can be loaded: .*{reason}"):
        load_tokenizer(str(tmp_path / name))


def test_a_directory_without_a_tokenizer_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no tokenizer_config\.json, tokenizer\.json or v"):
        load_tokenizer(str(tmp_path))


def test_a_name_that_cannot_be_reached_is_one_clear_error() -> None:
    with pytest.raises(DataError, match=r"^no/such/thing/at/all: no tokenizer can be loaded"):
        load_tokenizer("no/such/thing/at/all")


def test_a_generic_tokenizer_is_the_same_beside_a_model(tmp_path: Path) -> None:
    word_tokenizer().save_pretrained(tmp_path)
    alone = tokenizer_info(load_tokenizer(str(tmp_path)))
    tiny_model("qwen2", "causal_lm").config.save_pretrained(tmp_path)
    assert tokenizer_info(load_tokenizer(str(tmp_path))) == alone


def test_what_a_file_keeps_of_its_use_is_switched_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vocabulary = {"<unk>": 0, "a": 1, "b": 2, "ab": 3}
    model = models.BPE(vocabulary, [("a", "b")], dropout=0.9, unk_token="<unk>")  # noqa: S106 - a token of text
    backend = Tokenizer(model)
    backend.enable_truncation(2)
    backend.enable_padding(length=40)
    backend.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(str(tmp_path))
    assert tokenizer("ab" * 20)["input_ids"] == [3] * 20
    assert "its BPE dropout of 0.9 is switched off" in caplog.text
    tokenizer.save_pretrained(tmp_path / "saved")
    caplog.clear()
    saved = Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert saved.encode("ab" * 20).ids == [3] * 20
    assert load_tokenizer(str(tmp_path / "saved"))("ab" * 20)["input_ids"] == [3] * 20
    assert not caplog.text
