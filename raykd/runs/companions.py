"""What stands beside a student's weights: its tokenizer, and how it generates."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers import (
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from raykd.config.schema.run import RunConfig
from raykd.data.manifest import TOKENIZER_DIRECTORY
from raykd.data.tokenizers import insist_on_generic, load_tokenizer, save_tokenizer
from raykd.models.families import FAMILIES, num_positions
from raykd.models.files import GENERATION_FILE
from raykd.models.per_language import PerLanguageModel, TaskModel
from raykd.models.scored import reads_token_types
from raykd.storage import uris
from raykd.storage.remote.staging import staging_directory


@contextmanager
def companions_of(model: TaskModel, config: RunConfig) -> Iterator[Path]:
    """Yield a local directory of what stands beside the weights of a run's student.

    Args:
        model: The student: a task model of transformers, or a PerLanguageModel.
        config: The run; the tokenizer is that of its data.

    Raises:
        DataError: The tokenizer cannot be loaded.
    """
    plain = model.model if isinstance(model, PerLanguageModel) else model
    uri = uris.join(config.data.uri, TOKENIZER_DIRECTORY)
    with uris.local_copy(uri) as source, staging_directory() as path:
        tokenizer = load_tokenizer(str(source))
        _fit(tokenizer, plain.config)
        save_tokenizer(tokenizer, path)
        insist_on_generic(path, plain.config)
        if plain.can_generate():
            # Written as it is: a start's may hold fields that transformers takes, and warns of.
            _generation(plain, tokenizer).to_json_file(path / GENERATION_FILE)
        yield path


def _fit(tokenizer: PreTrainedTokenizerFast, model_config: PreTrainedConfig) -> None:
    """Let a tokenizer make the inputs that the model was trained on, in batches too."""
    if not reads_token_types(model_config):
        # A GPT-2 adds their embeddings to those of the tokens; others refuse them.
        tokenizer.model_input_names = [
            name for name in tokenizer.model_input_names if name != "token_type_ids"
        ]
    family = FAMILIES[model_config.model_type]
    if family.summary == "first" or family.positions != "rotary":
        # Absolute positions are counted from the left, padding or not, and so is the token that
        # a classifier reads; rotary ones are relative.
        tokenizer.padding_side = "right"
    if (longest := num_positions(model_config)) is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, longest)


def _generation(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast) -> GenerationConfig:
    """Return how a decoder generates: as its start did, else up to the tokenizer's end."""
    generation = copy.deepcopy(model.generation_config)
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        if getattr(generation, name) is None:
            setattr(generation, name, getattr(tokenizer, name))
    return generation
