"""How models run forward: layers computed twice to save memory, or compiled; same results.

Whatever a run asks for, what transformers writes out in many operators is one where torch has it.
"""

import importlib.util
import shutil
from collections.abc import Collection

import torch
from transformers import PreTrainedModel
from transformers.activations import NewGELUActivation

from raykd.config.schema.train import TrainConfig
from raykd.errors import ConfigError
from raykd.models.families import family_of
from raykd.models.gradients.attention import widen_attention_gradients
from raykd.models.per_language import PerLanguageModel
from raykd.models.scored import ScoredModel

_MOST_VARIANTS = 32
"""Variants of a compiled forward pass at most; beyond, torch warns and runs it uncompiled."""


def prepare_passes(
    config: TrainConfig,
    *,
    student: ScoredModel,
    teachers: Collection[ScoredModel],
    device: torch.device,
) -> None:
    """Have models run as the run asks for; their tensors keep their names.

    Raises:
        ConfigError: They are to be compiled, and there is no compiler here.
    """
    for model in (student, *teachers):
        _fuse_activations(model)
    if config.precision == "bfloat16" and device.type == "cpu":
        widen_attention_gradients()
    if config.activation_checkpointing:
        # torch advises against the reentrant kind, which nests one backward pass in another.
        _plain(student).activation_checkpointing_enable({"use_reentrant": False})
    if config.compile:
        require_compiler(device)
        for model in (student, *teachers):
            # Batches differ in size: sizes are symbols from the start. What is left is compiled
            # one by one: a batch of one row, with padding or none, with gradient or none.
            _backbone(model).compile(
                dynamic=True, isolate_recompiles=True, recompile_limit=_MOST_VARIANTS
            )


def require_compiler(device: torch.device) -> None:
    """Check that torch.compile can make code for a device.

    Raises:
        ConfigError: It cannot; the message says what is missing.
    """
    # Imported here: it takes a second, and few runs ask for it.
    from torch._inductor import config as inductor  # noqa: PLC0415

    compilers = [name for name in inductor.cpp.cxx if name]
    missing = None
    if not any(shutil.which(name) for name in compilers):
        missing = f"a C++ compiler ({' or '.join(compilers)}) on the path"
    elif device.type == "cuda" and importlib.util.find_spec("triton") is None:
        missing = "the package triton"
    if missing is not None:
        message = (
            f"train.compile: torch.compile needs {missing}, where the run computes; install it, "
            "or set train.compile to false"
        )
        raise ConfigError(message)


def _fuse_activations(model: ScoredModel) -> None:
    """Replace GPT-2's GELU of eight operators, each with a result to keep, by torch's own."""
    written_out = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent.named_children()
        if type(child) is NewGELUActivation
    ]
    for parent, name in written_out:
        setattr(parent, name, torch.nn.GELU(approximate="tanh"))


def _plain(model: ScoredModel) -> PreTrainedModel:
    return model.model.model if isinstance(model.model, PerLanguageModel) else model.model


def _backbone(model: ScoredModel) -> torch.nn.Module:
    plain = _plain(model)
    family = family_of(plain.config.model_type, where=type(plain).__name__)
    backbone: torch.nn.Module = plain.get_submodule(family.backbone)
    return backbone
