"""Why a model's directory cannot be loaded, found before anything is computed with it.

Nothing is unpickled and no code of the directory is run: a configuration is JSON, weights are
safetensors, and only families that transformers itself has are built.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from huggingface_hub.errors import HfHubHTTPError, StrictDataclassError
from transformers import PreTrainedConfig

from raykd.config.schema.run import TaskName
from raykd.errors import MissingHeadError, ModelError
from raykd.models.files import CONFIG_FILE, WEIGHTS_FILE, languages_of
from raykd.models.labels import task_of_head
from raykd.models.parts import places_of
from raykd.models.per_language import TaskModel
from raykd.storage import uris
from raykd.storage.published import layout

_WHAT_A_MODEL_IS = f"a model is a directory with {CONFIG_FILE} and {WEIGHTS_FILE}"
_COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
"""Fields that have to be whole numbers above 0, where a configuration has them."""

_PICKLED = (".bin", ".pt", ".pth", ".ckpt")
_OTHER_FORMATS = {".gguf": "GGUF", ".h5": "TensorFlow", ".msgpack": "Flax", ".onnx": "ONNX"}
_TOKENIZER_FILES = {*layout.TOKENIZER_FILES, "tokenizer_config.json"}
_ADAPTER_FILE = "adapter_config.json"
_PROMPTS = ("PROMPT", "PREFIX", "P_TUNING")
"""In the types of adapters that add to what a model reads, and so cannot be merged into it."""

_HUB_ERRORS = (HfHubHTTPError, StrictDataclassError)
UNFIT = (OSError, ValueError, KeyError, TypeError, AttributeError, ArithmeticError, *_HUB_ERRORS)
"""How transformers meets a configuration that is none of its own."""


def check_config(config: PreTrainedConfig, source: str) -> None:
    """Refuse a configuration of which no model can be built.

    Raises:
        ModelError: The message names the field.
    """
    # Without its code, transformers would take it for the plain model of its family.
    if (getattr(config, "auto_map", None) or {}).keys() - {"AutoTokenizer", "AutoProcessor"}:
        raise _wants_code(source)
    if getattr(config, "quantization_config", None) is not None:
        message = (
            f"{source}: {CONFIG_FILE} says that its weights are quantised (quantization_config), "
            "which raykd does not read; take the model as it was before"
        )
        raise ModelError(message)
    for name in _COUNTS:
        value = getattr(config, name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            message = f"{source}: {CONFIG_FILE} says that {name} is {value!r}; it must be >= 1"
            raise ModelError(message)
    try:
        languages_of(config)
    except ValueError as error:
        message = f"{source}: {CONFIG_FILE}: {error}; export the model again"
        raise ModelError(message) from error


def require_file(where: str, source: str, *names: str) -> None:
    """Refuse a directory that has no file of some names, and say what it is instead of a model.

    Args:
        where: The directory.
        source: What the user named.
        names: One of which has to be there; the first is named.

    Raises:
        ModelError: The message says how to make a model of it, where that can be done.
    """
    present = uris.list_names(where)
    if not set(names).isdisjoint(present):
        return
    if not present and not uris.is_local(where):
        try:
            uris.read_bytes(uris.join(where, names[0]))
        except FileNotFoundError as error:  # says whether it is the bucket that is not there
            message = f"{source}: holds no model: {error}"
            raise ModelError(message) from error
    instead = _instead(where, present) or "save it again with transformers' save_pretrained"
    message = (
        f"{source}: holds no model that can be loaded: there is no {names[0]}; {instead}; "
        f"{_WHAT_A_MODEL_IS}"
    )
    raise ModelError(message)


def fresh_tensors(info: Mapping[str, Any]) -> list[str]:
    """Return the tensors that start at random, from what transformers says of a loading."""
    return sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])})


def check_fresh(
    model: TaskModel,
    fresh: Sequence[str],
    *,
    source: str,
    task: TaskName,
    new_head: Literal["allowed", "refused"],
) -> None:
    """Refuse a model some of whose tensors are not in its files, but for a head that may be new.

    Args:
        model: Of transformers, on any device.
        fresh: The names of the tensors that would start at random.
        source: What the user named.
        task: That it is loaded for.
        new_head: Whether the head may be among them.

    Raises:
        ModelError: The message names them; a MissingHeadError where it is the head alone.
    """
    places = places_of(model)
    if lacking := [name for name in fresh if places[name].part != "head"]:
        message = (
            f"{source}: lacks {lacking[0]}, or has it in another shape than {CONFIG_FILE} says "
            f"({len(lacking)} such tensors); {CONFIG_FILE} and weights are of two models"
        )
        raise ModelError(message)
    if new_head == "allowed":
        return
    reason = f"{', '.join(fresh)} would be random" if fresh else None
    # Heads of two tasks may consist of the same tensors.
    if (other := task_of_head(model.config)) not in (None, task):
        reason = reason or f"its head is for {other}"
    if reason is not None:
        message = (
            f"{source}: has no trained head for {type(model).__name__}: {reason}; use a model "
            "that was trained on this task and these labels"
        )
        raise MissingHeadError(message)


def check_finite(model: torch.nn.Module, source: str) -> None:
    """Refuse weights that nothing can be computed with.

    Raises:
        ModelError: The message names a tensor.
    """
    for name, tensor in model.named_parameters():
        is_finite = tensor.isfinite()
        if not is_finite.all():
            count = tensor.numel() - int(is_finite.sum())
            message = (
                f"{source}: {name} holds {count:,} values of {tensor.numel():,} that are NaN or "
                f"infinite in {tensor.dtype}; take a model whose weights are finite, or another "
                "dtype"
            )
            raise ModelError(message)


def unreadable(source: str, error: Exception, *, is_location: bool) -> ModelError:
    """Return the error to raise for what transformers complained about.

    Args:
        source: What the user named.
        error: What was raised.
        is_location: Whether it is a directory or a URI, not the name of a model on the Hub.
    """
    if "trust_remote_code" in str(error):
        return _wants_code(source)
    kind = "holds no model that can be loaded"
    if not is_location:
        kind = "is neither a directory here nor a model that the Hub gives"
    reason = " ".join(next((part for part in _parts(error) if part), "").split())
    message = (
        f"{source}: {kind}: {type(error).__name__}: {reason.rstrip(' .')}; {_WHAT_A_MODEL_IS}"
    )
    return ModelError(message)


def _instead(where: str, names: Sequence[str]) -> str | None:
    """Say what a directory that is no model is, and what to do; None where it cannot be told."""
    own = [name for name in names if not name.startswith(".")]
    if _ADAPTER_FILE in own:
        return _about_adapter(uris.read_bytes(uris.join(where, _ADAPTER_FILE)))
    if pickled := [name for name in own if name.endswith(_PICKLED)]:
        return (
            f"{pickled[0]} is pickled, which raykd does not read: load it with transformers' "
            "from_pretrained where you trust it, and write it with save_pretrained"
        )
    for name in own:
        for ending, kind in _OTHER_FORMATS.items():
            if name.endswith(ending):
                return f"{name} is of {kind}, which raykd does not read: take the safetensors"
    inner = [name for name in own if uris.exists(uris.join(where, name, CONFIG_FILE))]
    if inner:
        return f"did you mean {' or '.join(uris.join(where, name) for name in inner[:3])}?"
    if CONFIG_FILE not in own and not _TOKENIZER_FILES.isdisjoint(own):
        return "it is a tokenizer alone: name the directory of a model"
    return None


def _about_adapter(config: bytes) -> str:
    try:
        given = json.loads(config)
        kind, base = str(given["peft_type"]), given["base_model_name_or_path"]
    except (ValueError, TypeError, KeyError):
        kind, base = "of unknown type", "another"
    if any(word in kind for word in _PROMPTS):
        return (
            f"it is an adapter ({kind}) to the model {base}, of a type that cannot be merged into "
            "a model: raykd needs whole models"
        )
    return (
        f"it is an adapter ({kind}) to the model {base}: merge it into that first, with peft's "
        "PeftModel.merge_and_unload, and write the whole with save_pretrained"
    )


def _wants_code(source: str) -> ModelError:
    message = (
        f"{source}: {CONFIG_FILE} asks for code of its own (auto_map), which raykd does not "
        "run; use a model of a family that transformers has"
    )
    return ModelError(message)


def _parts(error: Exception) -> list[str]:
    """Return what an error says, the first lines first; a heading goes with what follows it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if len(lines) > 1 and lines[0].endswith(":"):
        return [f"{lines[0]} {lines[1]}"]
    return lines[:1]
