"""What a run costs in floating-point operations per token, from configurations alone.

Nothing here is a formula for a model: torch's counter watches the run's own code, encoder and
head apart, on the meta device, where tensors have shapes and no memory. It counts products of
matrices, two operations for each multiplication and addition, the products of attention over
all pairs of tokens, whatever is hidden from a token. Norms, activations and the optimizer are
left out, as is usual, and so is every evaluation.

A token is one that ``metrics.jsonl`` counts. Rows are taken to be as long as the mean row of the
training split, and none is padded: what a micro-batch computes on padding comes on top, and
attention costs more than said where rows differ much in length.
"""

import copy
import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedConfig

from raykd.batch import Batch
from raykd.cached_teachers.targets import coverages_of
from raykd.config.frozen import EVERYTHING, FrozenParts, parse_frozen
from raykd.config.schedule import parse_schedule
from raykd.config.schema.run import RunConfig, TaskName
from raykd.config.schema.teachers import SPARSE_MODES
from raykd.data.selection import ALL_LANGUAGES, mixing_weights
from raykd.distill.assemble import running_teachers
from raykd.distill.setup import RunSetup
from raykd.models.build import build_model
from raykd.models.families import family_of
from raykd.models.parts import num_layers
from raykd.models.scored import ScoredModel

_PLACES_IN_A_RUN = 1_000
"""Where the schedules of weights are looked at, evenly from the first step to the last."""

_MeanRow = Mapping[str, float]
"""Language to its tokens in a row that is drawn, on average; their sum is the row's length."""

_NOT_OF_SHAPE = ("_name_or_path", "transformers_version", "dtype")
"""Fields that tell equal models apart."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFlops:
    """Operations of a run for each token that it trains on, the mean over all its steps."""

    student_per_token: float
    """Forward of the student, and backward as far as something is trained."""

    teachers_per_token: float
    """Forward of the teachers, and what losses on hidden states learn beside the student; 0
    where every loss of a teacher has weight 0. Of a teacher whose outputs are kept it is the head
    alone, where that is applied as they are read."""

    @property
    def total_per_token(self) -> float:
        """Return all operations for a token."""
        return self.student_per_token + self.teachers_per_token

    @property
    def teacher_share(self) -> float:
        """Return the share of the operations that is there for the teachers, from 0 to 1."""
        return self.teachers_per_token / self.total_per_token


@dataclass(frozen=True, kw_only=True, slots=True)
class _Shape:
    """A model as the counter sees it, to be looked up by what tells costs apart."""

    fields: str
    config: PreTrainedConfig = field(compare=False)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Pass:
    """Operations of one model."""

    encoder_per_token: float
    head_per_position: float


def run_flops(
    setup: RunSetup, *, student: PreTrainedConfig, teachers: Mapping[str, PreTrainedConfig]
) -> RunFlops:
    """Count the operations of a run for each token.

    A teacher counts for the share of the run in which some loss compares with the teachers, and
    for the share of the tokens whose language it is asked about. Importance per language, which
    is measured when training begins, is taken to ask every teacher that serves a language.

    Args:
        setup: The run and its data.
        student: Configuration of its student.
        teachers: Those of all its teachers, by name.

    Raises:
        ConfigError: The data lacks a language that is asked for.
        ModelError: A family does not serve the task.
    """
    config, row = setup.config, _mean_row(setup)
    losses = config.losses
    share = _active_share(tuple(getattr(losses, name).weight for name in losses.teacher_terms))
    asked = {name: share * _asked_share(name, config, row) for name in teachers}
    cached = [name for name in teachers if config.teachers[name].cache is not None]
    # As in all steps but the first: a teacher that only starts the student costs nothing then.
    running = running_teachers(config, cached=cached, begins=False)
    return RunFlops(
        student_per_token=_per_token(
            student, config, row, frozen=parse_frozen(config.student.freeze)
        ),
        teachers_per_token=_projections_per_token(config, student, teachers)
        + sum(
            asked[name]
            * (
                _per_token(teacher, config, row, frozen=EVERYTHING)
                if name in running
                else _read_per_token(name, teacher, config, row)
            )
            for name, teacher in teachers.items()
            if asked[name]
        ),
    )


def cache_flops(setup: RunSetup, teachers: Mapping[str, PreTrainedConfig]) -> dict[str, float]:
    """Count the operations, in all, to compute the outputs that a run keeps, by teacher.

    Args:
        setup: The run and its data.
        teachers: Configurations of its teachers, by name; those without a cache are left out.
    """
    config, row = setup.config, _mean_row(setup)
    return {
        name: sum(coverage.tokens for coverage in coverages_of(name, setup))
        * _per_token(teacher, config, row, frozen=EVERYTHING)
        for name, teacher in teachers.items()
        if config.teachers[name].cache is not None
    }


def _per_token(
    model: PreTrainedConfig, config: RunConfig, row: _MeanRow, *, frozen: FrozenParts
) -> float:
    counted = _passes(model, config, row, frozen=frozen)
    positions = _positions_per_token(config, row)
    return counted.encoder_per_token + counted.head_per_position * positions


def _read_per_token(name: str, model: PreTrainedConfig, config: RunConfig, row: _MeanRow) -> float:
    """Count what is left of a teacher whose outputs are kept: a vocabulary's map, at most."""
    cache = config.teachers[name].cache
    if not config.task.endswith("_lm") or (cache is not None and cache.mode in SPARSE_MODES):
        return 0.0
    counted = _passes(model, config, row, frozen=EVERYTHING)
    return counted.head_per_position * _positions_per_token(config, row)


def _passes(
    model: PreTrainedConfig, config: RunConfig, row: _MeanRow, *, frozen: FrozenParts
) -> _Pass:
    rows = -(-config.train.global_batch_size // max(config.cluster.num_workers, 1))
    return _counted(
        _shape(model),
        task=config.task,
        rows=min(rows, config.train.micro_batch_size),
        tokens=_length(row),
        frozen=frozen,
    )


def _positions_per_token(config: RunConfig, row: _MeanRow) -> float:
    """Return the scored share of the tokens; at most, where special tokens are never scored."""
    match config.task:
        case "masked_lm":
            return config.data.masking.fraction
        case "causal_lm":
            return 1 - 1 / _length(row)
        case "sequence_classification":
            return 1 / _length(row)
        case "token_classification":
            return 1.0


def _projections_per_token(
    config: RunConfig, student: PreTrainedConfig, teachers: Mapping[str, PreTrainedConfig]
) -> float:
    """Count the maps from the student's hidden states to a teacher's: two products backward."""
    section = config.losses.hidden_states
    if section is None:
        return 0.0
    teacher = teachers[section.teacher or next(iter(config.teachers))]
    width, teacher_width = int(student.hidden_size), int(teacher.hidden_size)
    if width == teacher_width:
        return 0.0
    mapped = num_layers(student) + section.embeddings
    # Two operations for each weight, three times: forward, and backward by weight and by input.
    return _active_share((section.weight,)) * 6 * width * teacher_width * mapped


@functools.cache
def _active_share(weights: tuple[str, ...]) -> float:
    """Return the share of a run in which at least one of the weights is not 0."""
    schedules = [parse_schedule(weight) for weight in weights]
    # Middles, so that a weight that is 0 at an end only counts as active all the way.
    places = [(index + 0.5) / _PLACES_IN_A_RUN for index in range(_PLACES_IN_A_RUN)]
    active = sum(any(schedule.at(place) for schedule in schedules) for place in places)
    return active / _PLACES_IN_A_RUN


def _asked_share(name: str, config: RunConfig, row: _MeanRow) -> float:
    """Return the share of the tokens that a teacher is asked about, where any is."""
    asked = sum(tokens for language, tokens in row.items() if _is_asked(name, language, config))
    return asked / sum(row.values())


def _is_asked(name: str, language: str, config: RunConfig) -> bool:
    served, weights = config.teachers[name].languages, config.teacher_weights
    if served is not None and language not in served:
        return False
    if weights is not None and weights.fixed is not None:
        return weights.fixed.weights[name] > 0
    if weights is not None and weights.by_language is not None:
        return weights.by_language.teachers.get(language) == name
    return True


def _length(row: _MeanRow) -> int:
    return max(1, round(sum(row.values())))


def _mean_row(setup: RunSetup) -> _MeanRow:
    tokens: dict[str, int] = {}
    rows: dict[str, int] = {}
    for shard in setup.shards(setup.config.data.train_split):
        tokens[shard.language] = tokens.get(shard.language, 0) + shard.tokens
        rows[shard.language] = rows.get(shard.language, 0) + shard.rows
    weights = mixing_weights(setup.manifest, setup.config.data)
    if ALL_LANGUAGES in weights:
        weights = {language: rows[language] / sum(rows.values()) for language in rows}
    return {name: weights[name] * tokens[name] / rows[name] for name in tokens}


def _shape(config: PreTrainedConfig) -> _Shape:
    described = {k: v for k, v in config.to_dict().items() if k not in _NOT_OF_SHAPE}
    return _Shape(fields=json.dumps(described, sort_keys=True, default=str), config=config)


@functools.cache
def _counted(
    shape: _Shape, *, task: TaskName, rows: int, tokens: int, frozen: FrozenParts
) -> _Pass:
    """Count a forward pass of so many rows, and a backward pass to what is trained."""
    with torch.device("meta"):
        scored = model_of_shapes(shape.config, task)
        scored.freeze(frozen)
        batch = full_rows(shape.config.model_type, rows=rows, tokens=tokens, positions=1)
        with FlopCounterMode(display=False) as encoder:
            encoded = scored.hidden(batch)
            _finish(encoded)
        # Features of its own: a backward pass through the head must not count the encoder again.
        hidden_PD = torch.empty(1, shape.config.hidden_size, requires_grad=encoded.requires_grad)
        with FlopCounterMode(display=False) as head:
            _finish(scored.scores(hidden_PD).logits())
    return _Pass(
        encoder_per_token=encoder.get_total_flops() / (rows * tokens),
        head_per_position=head.get_total_flops(),
    )


def model_of_shapes(config: PreTrainedConfig, task: TaskName) -> ScoredModel:
    """Return a model on the default device, the meta device, whose products can be watched."""
    config = copy.deepcopy(config)
    # The same products as any other attention, and the only way that needs no values.
    config._attn_implementation = "eager"  # noqa: SLF001  transformers has no public name for it
    # In one type, whatever the weights are stored in: it does not change the count.
    model = build_model(config, task).float()
    num_classes = config.vocab_size if task.endswith("_lm") else config.num_labels
    return ScoredModel(model, task=task, num_classes=num_classes)


def _finish(outputs: torch.Tensor) -> None:
    if outputs.requires_grad:
        outputs.sum().backward()


def full_rows(model_type: str, *, rows: int, tokens: int, positions: int) -> Batch:
    """Return rows without padding, in all with so many scored positions, on the default device."""
    is_decoder = family_of(model_type, where=model_type).summary == "last"
    ids_BL = torch.zeros(rows, tokens, dtype=torch.int64)
    ids_B = torch.zeros(rows, dtype=torch.int64)
    positions_P = torch.zeros(positions, dtype=torch.int64)
    # Where a mask is made, or dropped, by its values there is none on the meta device.
    has_mask = is_decoder or model_type == "deberta-v2"
    return Batch(
        input_ids_BL=ids_BL,
        attention_mask_BL=torch.ones_like(ids_BL) if has_mask else None,
        token_type_ids_BL=ids_BL,
        positions_P=positions_P,
        labels_P=positions_P,
        languages_B=ids_B,
        row_ids_B=ids_B,
        epochs_B=ids_B,
        num_tokens=rows * tokens,
    )
