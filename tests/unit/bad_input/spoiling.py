"""Ways to spoil one file of the working directory."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Spoil = Callable[[], object]
Content = dict[str, Any]


def written(path: str, content: str | bytes) -> Spoil:
    """Return what writes a file."""

    def spoil() -> None:
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)

    return spoil


def removed(path: str) -> Spoil:
    """Return what removes a file."""
    return lambda: Path(path).unlink()


def cut(path: str, size: int) -> Spoil:
    """Return what cuts a file to its first bytes, or, with a negative size, off its end."""
    return lambda: Path(path).write_bytes(Path(path).read_bytes()[:size])


def with_fields(path: str, **fields: Any) -> Spoil:
    """Return what replaces fields of a JSON file."""

    def spoil() -> None:
        content = json.loads(Path(path).read_text())
        Path(path).write_text(json.dumps(content | fields))

    return spoil


def resealed(change: Callable[[Content], Any]) -> Spoil:
    """Return what changes the data's manifest and commits it again, as an attacker would.

    Args:
        change: Changes the manifest in place, or returns another.
    """

    def spoil() -> None:
        path = Path("data/manifest.json")
        manifest = json.loads(path.read_text())
        seal(path, json.dumps(change(manifest) or manifest).encode())

    return spoil


def seal(path: Path, text: bytes) -> None:
    """Write a manifest with the commit that fits it."""
    path.write_bytes(text)
    path.with_name("COMMITTED").write_text(hashlib.sha256(text).hexdigest())


def content(key: str, value: Any) -> Spoil:
    """Return what replaces a key, with dots, of the content of the data's manifest."""

    def change(manifest: Content) -> None:
        section: Any = manifest["content"]
        *parents, last = key.split(".")
        for parent in parents:
            section = section[int(parent) if isinstance(section, list) else parent]
        section[int(last) if isinstance(section, list) else last] = value

    return resealed(change)


def in_turn(*spoils: Spoil) -> Spoil:
    """Return what does several things."""
    return lambda: [spoil() for spoil in spoils]
