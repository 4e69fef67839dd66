"""The key of a cache: everything that decides what a teacher says about a row, and no more."""

import hashlib
import json
from dataclasses import asdict, dataclass, fields

from raykd.config.schema.data import MaskingConfig
from raykd.config.schema.run import TaskName
from raykd.errors import PublicationError
from raykd.teachers.cache.payload import Payload

FORMAT_VERSION = 2
"""Rises with every change of what is written."""

_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Masks:
    """What decides the masks of masked-language modelling, beside the row and its epoch."""

    masking: MaskingConfig
    seed: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CacheKey:
    """Equal keys, equal outputs: order, batches, languages and length of a training are not here.

    How rows fall into batches changes the last digits of what a model computes; they count as
    equal.
    """

    teacher: str
    """Fingerprint of its weights and its configuration."""

    dtype: str
    """Type of its weights and its forward pass."""

    data: str
    """Fingerprint of the prepared data, and so of its rows, its classes and their order; of a
    fraction its own."""

    tokenizer: str
    task: TaskName
    masks: Masks | None
    """None where no tokens are hidden."""

    payload: Payload

    @property
    def content(self) -> dict[str, object]:
        """The key as JSON values."""
        # Through JSON and back: tuples become the lists that a stored key is read as.
        return {"format": FORMAT_VERSION, **json.loads(json.dumps(asdict(self)))}

    @property
    def name(self) -> str:
        """A hash of the key, short enough for a directory."""
        text = json.dumps(self.content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def require_same(key: CacheKey, stored: object, *, where: str) -> None:
    """Refuse what was made for another key.

    Raises:
        PublicationError: The message names what differs, with both fingerprints.
    """
    wanted = key.content
    stored = stored if isinstance(stored, dict) else {}
    for name in ("format", *(field.name for field in fields(CacheKey))):
        if (theirs := stored.get(name)) != (mine := wanted[name]):
            message = (
                f"{where}: was made for another {name}: it has {_shown(theirs)}, this run "
                f"{_shown(mine)}; build it with raykd cache"
            )
            raise PublicationError(message)


def _shown(value: object) -> str:
    return value[:_SHOWN] if isinstance(value, str) else json.dumps(value, sort_keys=True)
