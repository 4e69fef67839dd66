"""Tokenizers: find one, describe it, and tell whether two are interchangeable."""

import hashlib
import json
import logging
from pathlib import Path

from tokenizers import Tokenizer
from transformers import AutoTokenizer, BertTokenizer, PreTrainedConfig, PreTrainedTokenizerFast

from raykd.data.manifest import TOKENIZER_DIRECTORY, TokenizerInfo
from raykd.errors import DataError
from raykd.storage import uris
from raykd.storage.published import layout

logger = logging.getLogger(__name__)

_SPECIAL_NAMES = (
    ("pad_token", ("[PAD]", "<pad>")),
    ("unk_token", ("[UNK]", "<unk>")),
    ("cls_token", ("[CLS]", "<s>")),
    ("sep_token", ("[SEP]", "</s>")),
    ("mask_token", ("[MASK]", "<mask>")),
    ("bos_token", ("<s>",)),
    ("eos_token", ("</s>", "<|endoftext|>")),
)

_GENERIC = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""What transformers calls a tokenizer that is no family's own, in versions 4 and 5."""

_STAND_INS_FOR_PAD = ("eos_token", "sep_token", "unk_token", "bos_token", "cls_token")
_PAD = "[PAD]"

_CONFIG_FILE = "tokenizer_config.json"
_NOT_KEPT = (
    *("auto_map", "backend", "processor_class"),
    *("is_local", "local_files_only"),
    "split_special_tokens",
)
"""Fields of a tokenizer's configuration that name code, say where it was loaded from, or read
texts otherwise than its tokenizer.json does."""


def load_tokenizer(source: str, revision: str | None = None) -> PreTrainedTokenizerFast:
    """Load a ``transformers`` tokenizer that gives a text the same tokens every time, and all.

    One without a padding token is given one: its end-of-sequence token or another special one, as
    is usual, so that no id is new; only a tokenizer without any special token gets ``[PAD]``.

    Args:
        source: Local directory, ``vocab.txt`` (WordPiece) or ``tokenizer.json`` file, URI of a
            directory, or a Hub name. A directory with a ``tokenizer`` folder, such as
            prepared data, stands for that folder.
        revision: Branch, tag or commit of a Hub name.

    Raises:
        DataError: There is no tokenizer, or none with a ``tokenizers`` backend.
    """
    try:
        if "://" in source:
            with uris.local_copy(source) as path:
                tokenizer = _load_local(path)
        elif (path := Path(source)).exists():
            tokenizer = _load_local(path)
        else:
            tokenizer = AutoTokenizer.from_pretrained(
                source, revision=revision, trust_remote_code=False
            )
    except Exception as error:  # the tokenizers library raises nothing narrower
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        message = (
            f"{source}: no tokenizer can be loaded: {reason}; name a local directory, a "
            "vocab.txt, a tokenizer.json, a URI or a Hub name that can be reached"
        )
        raise DataError(message) from error
    if not tokenizer.is_fast:
        message = f"{source}: {type(tokenizer).__name__} has no tokenizer.json form; convert it"
        raise DataError(message)
    _reset(tokenizer, source)
    _give_padding(tokenizer)
    return tokenizer


def save_tokenizer(tokenizer: PreTrainedTokenizerFast, path: Path) -> None:
    """Write a tokenizer into a directory where tokenizer.json is all there is to it.

    Of a family's own class transformers takes the vocabulary alone, and builds the rest anew as
    the family has it, which need not be what the rows were read with.
    """
    tokenizer.save_pretrained(path)
    config = _read_config(path)
    _write_config(
        path,
        {name: value for name, value in config.items() if name not in _NOT_KEPT}
        | {
            "tokenizer_class": _GENERIC[0],
            "model_input_names": tokenizer.model_input_names,
            "padding_side": tokenizer.padding_side,
            "truncation_side": tokenizer.truncation_side,
        },
    )


def insist_on_generic(path: Path, model_config: PreTrainedConfig) -> None:
    """Make transformers read a saved tokenizer as it is beside a model of this configuration.

    For some families, such as Qwen2, it takes their own class whatever ``tokenizer_class`` says.
    It does not where the directory names code of its own, which is not even looked for unless
    ``trust_remote_code`` is given: then it is, and found missing.
    """
    loaded = AutoTokenizer.from_pretrained(
        str(path), config=model_config, local_files_only=True, trust_remote_code=False
    )
    if type(loaded) is not PreTrainedTokenizerFast:
        unknown = {"AutoTokenizer": [None, f"tokenizer.{_GENERIC[0]}"]}
        _write_config(path, _read_config(path) | {"auto_map": unknown})


def tokenizer_info(tokenizer: PreTrainedTokenizerFast) -> TokenizerInfo:
    """Describe a tokenizer; equal fingerprints read and write the same ids.

    The fingerprint is the sha256 of id -> token, the special ids by role, and the backend's
    normaliser, pre-tokeniser and post-processor.
    """
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    roles = sorted(tokenizer.special_tokens_map)
    identity = {
        "vocabulary": sorted((index, token) for token, index in tokenizer.get_vocab().items()),
        "special": {role: getattr(tokenizer, f"{role}_id", None) for role in roles},
        "pipeline": [state[part] for part in ("normalizer", "pre_tokenizer", "post_processor")],
    }
    digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
    return TokenizerInfo(
        fingerprint=digest,
        # Not the number of entries: ids may have gaps, and a table needs a row for the highest.
        vocab_size=max(tokenizer.get_vocab().values()) + 1,
        pad_id=tokenizer.pad_token_id,
        mask_id=tokenizer.mask_token_id,
        special_ids=tuple(sorted(set(tokenizer.all_special_ids))),
    )


def tells_pairs_apart(tokenizer: PreTrainedTokenizerFast) -> bool:
    """Tell whether the two texts of a pair get different segments, as BERT's do."""
    if "token_type_ids" not in tokenizer.model_input_names:
        return False
    return any(tokenizer.backend_tokenizer.encode("a", "b").type_ids)


def special_tokens_from(vocabulary: dict[str, int]) -> dict[str, str]:
    """Return the roles of the special tokens that a vocabulary names in the usual ways."""
    roles = {}
    for role, names in _SPECIAL_NAMES:
        if name := next((name for name in names if name in vocabulary), None):
            roles[role] = name
    return roles


def _reset(tokenizer: PreTrainedTokenizerFast, source: str) -> None:
    """Switch off what a ``tokenizer.json`` keeps of how it was used: cutting, filling, dropout."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    if dropout := getattr(backend.model, "dropout", None):
        backend.model.dropout = None
        logger.warning(
            "%s: its BPE dropout of %g is switched off, in data and models: a text is the same "
            "tokens every time",
            source,
            dropout,
        )


def _give_padding(tokenizer: PreTrainedTokenizerFast) -> None:
    if tokenizer.pad_token is None:
        roles = tokenizer.special_tokens_map
        tokenizer.pad_token = next(
            (roles[role] for role in _STAND_INS_FOR_PAD if role in roles), _PAD
        )
        if tokenizer.pad_token not in tokenizer.get_vocab():
            tokenizer.add_special_tokens({"pad_token": tokenizer.pad_token})


def _load_local(path: Path) -> PreTrainedTokenizerFast:
    if (inner := path / TOKENIZER_DIRECTORY).is_dir():
        return _load_local(inner)
    if path.is_file():
        return _load_file(path)
    if _is_generic(path):
        # Beside a model's config.json AutoTokenizer would take the family's own class, which may
        # add tokens and replace the pre-tokenizer (transformers pull request 44463).
        return PreTrainedTokenizerFast.from_pretrained(str(path), local_files_only=True)
    if any((path / name).exists() for name in (_CONFIG_FILE, "config.json")):
        return AutoTokenizer.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=False
        )
    for name in layout.TOKENIZER_FILES:
        if (path / name).exists():
            return _load_file(path / name)
    message = "the directory holds no tokenizer_config.json, tokenizer.json or vocab.txt"
    raise ValueError(message)


def _is_generic(path: Path) -> bool:
    """Tell whether a directory says that all there is to its tokenizer is tokenizer.json."""
    if not (path / _CONFIG_FILE).exists() or not (path / "tokenizer.json").exists():
        return False
    return _read_config(path).get("tokenizer_class") in _GENERIC


def _read_config(path: Path) -> dict[str, object]:
    config: dict[str, object] = json.loads((path / _CONFIG_FILE).read_text("utf-8"))
    return config


def _write_config(path: Path, config: dict[str, object]) -> None:
    text = json.dumps(config, indent=2, ensure_ascii=False, sort_keys=True)
    (path / _CONFIG_FILE).write_text(f"{text}\n", "utf-8")


def _load_file(path: Path) -> PreTrainedTokenizerFast:
    if path.suffix == ".json":
        # Of a file that is none of its own the library says less.
        json.loads(path.read_text("utf-8"))["model"]
        backend = Tokenizer.from_file(str(path))
        special = special_tokens_from(backend.get_vocab())
        return PreTrainedTokenizerFast(tokenizer_object=backend, **special)
    tokens = path.read_text("utf-8").splitlines()
    vocabulary = {token: index for index, token in enumerate(tokens)}
    if len(vocabulary) != len(tokens) or "[UNK]" not in vocabulary:
        message = "a vocab.txt has one WordPiece token a line, each once, [UNK] among them"
        raise ValueError(message)
    # In brackets are special tokens, in capitals whatever the rest is.
    is_cased = any(token != token.lower() for token in tokens if not token.startswith("["))
    return BertTokenizer(vocab=vocabulary, do_lower_case=not is_cased)
