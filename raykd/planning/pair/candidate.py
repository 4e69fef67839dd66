"""What can be known of a model before its weights are loaded."""

from dataclasses import dataclass
from typing import Any

from raykd.config.schema.run import TaskName
from raykd.data.manifest import TokenizerInfo
from raykd.data.tokenizers import load_tokenizer, tokenizer_info
from raykd.errors import DataError
from raykd.models.build import count_parameters
from raykd.models.families import family_of
from raykd.models.files import CONFIG_FILE, INDEX_FILE, WEIGHTS_FILE
from raykd.models.labels import task_of_head
from raykd.models.load import load_config, resolve_model
from raykd.models.locations import is_location
from raykd.models.stored import stored_tensors
from raykd.planning.memory import ModelPlan
from raykd.storage import uris

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt")


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A model that may become a teacher or a student."""

    source: str
    """As the user names it."""

    config: Any
    """Of transformers."""

    tokenizer: Any | None
    """The one that lies beside the model."""

    tokenizer_info: TokenizerInfo | None
    """What is known of it."""

    stored_dtypes: tuple[str, ...]
    """Precisions of its weights, by its files where they are here, else by its configuration."""

    @property
    def fingerprint(self) -> str | None:
        """Fingerprint of its tokenizer."""
        return None if self.tokenizer_info is None else self.tokenizer_info.fingerprint

    @property
    def task(self) -> TaskName:
        """The task that its head was made for, or the first that its family serves."""
        if (task := task_of_head(self.config)) is not None:
            return task
        return next(iter(family_of(self.config.model_type, where=self.source).heads))

    def serves(self, task: TaskName) -> bool:
        """Tell whether raykd knows a head of its family for a task."""
        return task in family_of(self.config.model_type, where=self.source).heads

    def plan(self, task: TaskName) -> ModelPlan:
        """Return its size in a task that it serves."""
        return ModelPlan(config=self.config, parameters=count_parameters(self.config, task))


def read_candidate(source: str) -> Candidate:
    """Read what lies in front of a model's weights.

    Args:
        source: Local directory, Hub name, or URI of a model, a run or a checkpoint.

    Raises:
        ModelError: Nothing is there, or raykd does not know the family.
        DataError: The tokenizer beside the model cannot be read.
    """
    config = load_config(source)
    family_of(config.model_type, where=source)
    where = resolve_model(source)
    tokenizer = _tokenizer_beside(where)
    return Candidate(
        source=source,
        config=config,
        tokenizer=tokenizer,
        tokenizer_info=None if tokenizer is None else tokenizer_info(tokenizer),
        stored_dtypes=_stored_dtypes(where, source) or _configured_dtype(config),
    )


def _tokenizer_beside(where: str) -> Any | None:
    if not uris.exists(uris.join(where, CONFIG_FILE)):
        return _tokenizer_of_hub(where)
    if not any(uris.exists(uris.join(where, name)) for name in _TOKENIZER_FILES):
        return None
    return load_tokenizer(where)


def _tokenizer_of_hub(name: str) -> Any | None:
    try:
        return load_tokenizer(name)
    except DataError:
        return None  # the model itself was found: it has none that raykd can use


def _stored_dtypes(where: str, source: str) -> tuple[str, ...]:
    """Return the precisions in the headers of the files; none where there are none."""
    if not is_location(where) or {WEIGHTS_FILE, INDEX_FILE}.isdisjoint(uris.list_names(where)):
        return ()
    return tuple(sorted({tensor.dtype for tensor in stored_tensors(where, source).values()}))


def _configured_dtype(config: Any) -> tuple[str, ...]:
    dtype = getattr(config, "dtype", None)
    return () if dtype is None else (str(dtype).removeprefix("torch."),)
