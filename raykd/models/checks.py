"""Why a model's directory cannot be loaded, found before anything is computed with it.

Nothing is unpickled and no code of the directory is run: a configuration is JSON, weights are
safetensors, and only families that transformers itself has are built.
"""

from typing import Any

from safetensors import SafetensorError, safe_open

from raykd import storage
from raykd.errors import ModelError
from raykd.models.files import CONFIG_FILE, WEIGHTS_FILE, languages_of

_WHAT_A_MODEL_IS = f"a model is a directory with {CONFIG_FILE} and {WEIGHTS_FILE}"
_INDEX_FILE = f"{WEIGHTS_FILE}.index.json"
_COUNTS = (
    "vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "max_position_embeddings",
)
_PICKLED = (".bin", ".pt", ".pth", ".ckpt")


def check_config(config: Any, source: str) -> None:
    """Refuse a configuration of which no model can be built.

    Raises:
        ModelError: The message names the field.
    """
    # Without its code, transformers would take it for the plain model of its family.
    if (getattr(config, "auto_map", None) or {}).keys() - {"AutoTokenizer", "AutoProcessor"}:
        raise _wants_code(source)
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


def check_weights(where: str, source: str) -> None:
    """Refuse a directory without weights in safetensors, or with a torn file of them.

    Only headers are read, and of a directory on this machine alone.

    Args:
        where: The directory.
        source: What the user named.

    Raises:
        ModelError: The message names the file.
    """
    names = storage.list_names(where)
    if not {WEIGHTS_FILE, _INDEX_FILE} & set(names):
        pickled = [name for name in names if name.endswith(_PICKLED)]
        found = f", and {pickled[0]} is pickled, which raykd does not read" if pickled else ""
        message = (
            f"{source}: holds no model that can be loaded: there is no {WEIGHTS_FILE}{found}; "
            "save it again with transformers' save_pretrained"
        )
        raise ModelError(message)
    if not storage.is_local(where):
        return
    for file in sorted(storage.local_path(where).glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except (OSError, SafetensorError) as error:
            message = f"{source}: {file.name} cannot be read: {error}; copy the model again"
            raise ModelError(message) from error


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
