"""Whether a model can be loaded for a task, found out without reading its weights."""

from typing import Literal

import torch
from transformers import PreTrainedConfig

from raykd.config.schema.run import TaskName
from raykd.models.build import build_model
from raykd.models.checks import UNFIT, check_fresh, fresh_tensors, require_file, unreadable
from raykd.models.files import PROJECTIONS_FILE, config_with_languages, languages_of
from raykd.models.load import resolve_model
from raykd.models.locations import is_location
from raykd.models.quiet import quiet_transformers
from raykd.models.stored import file_tensors, stored_tensors


def check_loadable(
    source: str,
    config: PreTrainedConfig,
    task: TaskName,
    *,
    new_head: Literal["allowed", "refused"],
) -> None:
    """Refuse what ``load_model`` would refuse, by the headers of the files with the weights.

    Of a model on the Hub nothing is read before it is loaded.

    Args:
        source: Local directory, Hub name, or URI of a model, a run or a checkpoint.
        config: Its transformers configuration, with the classes that its head is to score.
        task: Decides the head.
        new_head: As ``load_model``.

    Raises:
        ModelError: A file is missing, torn or of another kind, or a tensor is not in them.
    """
    where = resolve_model(source)
    if not is_location(where):
        return
    tensors = stored_tensors(where, source)
    if languages_of(config) is not None:
        require_file(where, source, PROJECTIONS_FILE)
        file_tensors(where, PROJECTIONS_FILE, source)
    with torch.device("meta"):
        model = build_model(config, task)
    try:
        # Views of one zero: transformers finds a place for each, and none takes memory.
        views = {name: torch.zeros(()).expand(tensor.shape) for name, tensor in tensors.items()}
        with quiet_transformers():
            _, info = type(model).from_pretrained(
                None,
                config=config_with_languages(config, None),
                state_dict=views,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (*UNFIT, RuntimeError) as error:
        raise unreadable(source, error, is_location=True) from error
    check_fresh(model, fresh_tensors(info), source=source, task=task, new_head=new_head)
