"""What the weights in a model's directory are, by the index and the headers of their files.

Only what transformers loads is looked at: whatever else lies in the directory, such as copies in
other formats or what a file system leaves there, is no part of the model.
"""

import json
import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import ModelError
from raykd.models.checks import require_file
from raykd.models.files import INDEX_FILE, WEIGHTS_FILE
from raykd.storage import uris

_LENGTH_BYTES = 8
"""Size of the number in front of a header, little-endian, that says its length in bytes."""

_MOST_HEADER_BYTES = 100_000_000
"""Longest header in bytes, as the safetensors library allows."""

_FLOAT32_BYTES = 4
_DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
_QUANTISED = ("I8", "U8", "F8", "F4", "F6")
"""Beginnings of the types of weights that are numbers only together with scales."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredTensor:
    """A tensor, by the header of its file."""

    shape: tuple[int, ...]
    dtype: str
    """As torch names it, where it is one of floating point."""


def stored_tensors(where: str, source: str) -> dict[str, StoredTensor]:
    """Return the tensors of a model's weights by name; of the files only headers are read.

    Args:
        where: The model's directory.
        source: What the user named.

    Raises:
        ModelError: A file is missing, torn or of another kind; the message names it.
    """
    require_file(where, source, WEIGHTS_FILE, INDEX_FILE)
    names = uris.list_names(where)
    if WEIGHTS_FILE in names:
        return file_tensors(where, WEIGHTS_FILE, source)
    tensors: dict[str, StoredTensor] = {}
    indexed = _indexed(where, source)
    for file in sorted(set(indexed.values())):
        if file not in names:
            message = (
                f"{source}: {file} is missing: {INDEX_FILE} says that it holds "
                f"{_first_in(file, indexed)}; copy the model again, whole"
            )
            raise ModelError(message)
        tensors |= file_tensors(where, file, source)
    if lost := sorted(indexed.keys() - tensors.keys()):
        message = (
            f"{source}: {indexed[lost[0]]} lacks {lost[0]}, which {INDEX_FILE} says that it "
            "holds; copy the model again, whole"
        )
        raise ModelError(message)
    return tensors


def write_hollow(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """Write a file of float32 tensors whose values are a hole: zeros without space on disk."""
    header, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + math.prod(shape) * _FLOAT32_BYTES
        header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [begin, end]}
    content = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(content).to_bytes(_LENGTH_BYTES, "little") + content)
        file.truncate(file.tell() + end)


def _indexed(where: str, source: str) -> dict[str, str]:
    """Return the file of each tensor of a model in several files."""
    with suppress(ValueError, TypeError, KeyError, AttributeError):
        files = json.loads(uris.read_bytes(uris.join(where, INDEX_FILE)))["weight_map"]
        if files and not any("/" in file for file in files.values()):
            return dict(files)
    message = (
        f"{source}: {INDEX_FILE} does not say in which file each tensor lies; copy the model again"
    )
    raise ModelError(message)


def _first_in(file: str, indexed: Mapping[str, str]) -> str:
    return min(name for name, its_file in indexed.items() if its_file == file)


def file_tensors(where: str, file: str, source: str) -> dict[str, StoredTensor]:
    """Return the tensors of one file, as ``stored_tensors``."""
    try:
        header = _header(uris.join(where, file))
        tensors = {
            name: StoredTensor(
                shape=tuple(entry["shape"]), dtype=_DTYPES.get(entry["dtype"], entry["dtype"])
            )
            for name, entry in header.items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        message = f"{source}: {file} cannot be read: {error}; copy the model again"
        raise ModelError(message) from error
    for name, tensor in tensors.items():
        if name.endswith("weight") and tensor.dtype.startswith(_QUANTISED):
            message = (
                f"{source}: {file} holds {name} as {tensor.dtype}: the weights are quantised, "
                "which raykd does not read; take the model as it was before"
            )
            raise ModelError(message)
    return tensors


def _header(uri: str) -> dict[str, Any]:
    """Return what a safetensors file says of its tensors, once it is known to be whole.

    Raises:
        ValueError: It is torn, or something else.
    """
    with uris.open_arrow(uri) as file:
        size = file.size()
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        begin = _LENGTH_BYTES + length
        if length > _MOST_HEADER_BYTES or begin > size:
            message = f"its {size:,} bytes are no safetensors"
            raise ValueError(message)
        header: dict[str, Any] = json.loads(file.read(length))
    header.pop("__metadata__", None)
    # A copy that was cut short has a header that is in order: only the length tells.
    end = begin + max((entry["data_offsets"][1] for entry in header.values()), default=0)
    if size != end:
        message = f"it has {size:,} bytes, and its header says {end:,}"
        raise ValueError(message)
    return header
