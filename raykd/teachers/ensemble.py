"""Several teachers as one thing: whom to ask about which rows, and how much each counts.

Beside the dimension key of raykd.batch, N is teachers and G is languages, in the order of the
manifest. Tables [N, G] stay on the CPU, so that what they say about all rows of a batch is
known without waiting for a device.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from raykd.batch import Batch, LayersWanted, ModelOutputs, to_device
from raykd.scores import by_position
from raykd.teachers.live import Teacher
from raykd.teachers.weights import margins


@dataclass(frozen=True, kw_only=True, slots=True)
class TeacherSignal:
    """What one teacher says about the rows of a batch that it is asked about."""

    name: str
    outputs: ModelOutputs
    batch: Batch
    """The rows it is asked about."""

    positions_Q: torch.Tensor | None
    """Index of each scored position of its batch among the P of the full batch, on the CPU, where
    chunks look for theirs; None where it is asked about all."""

    weights_Q: torch.Tensor | None
    """How much it counts at each of them, float32; None is 1 everywhere."""

    @property
    def asked(self) -> slice | torch.Tensor:
        """What picks those positions from a tensor of all P, on the device of the batch."""
        if self.positions_Q is None:
            return slice(None)
        return to_device(self.positions_Q, self.batch.positions_P.device)


@dataclass(frozen=True, kw_only=True, slots=True)
class PositionWeights:
    """A way to weight the teachers anew at every scored position."""

    measure: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """From one teacher's logits [Q, K] and the labels [Q] to a value [Q]."""

    combine: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    """From the values [N, P], and where each teacher is asked, to the weights [N, P]."""


class TeacherEnsemble:
    """The teachers of a run, asked together."""

    def __init__(
        self,
        teachers: Mapping[str, Teacher],
        *,
        serves_NG: torch.Tensor,
        shares_NG: torch.Tensor,
        weigh: PositionWeights | None = None,
    ) -> None:
        """Bring teachers and their tables together.

        Args:
            teachers: By name, in the order of the tables.
            serves_NG: True where a teacher can be asked about a language at all.
            shares_NG: How much a teacher counts in a language; they sum to 1 over the
                teachers, or are all 0. A teacher does not run on rows where it counts 0.
            weigh: Weights the teachers that are asked at every position, in place of the shares.
        """
        self.teachers = dict(teachers)
        self._serves_NG = serves_NG
        self._shares_NG = shares_NG.float()
        self._weigh = weigh

    def __call__(
        self, batch: Batch, wanted: Mapping[str, LayersWanted] | None = None
    ) -> tuple[TeacherSignal, ...]:
        """Return what the teachers that are asked about a batch say, and how much they count.

        A teacher that is asked about no row of the batch is left out.

        Args:
            batch: Any rows.
            wanted: Teacher to the layers that are compared with the student's.
        """
        signals = consult(self.teachers, self._shares_NG > 0, batch, wanted or {})
        if self._weigh is not None:
            return _weighed(signals, batch, self._weigh)
        shares = dict(zip(self.teachers, self._shares_NG, strict=True))
        return tuple(
            replace(signal, weights_Q=_at_positions(shares[signal.name], signal.batch))
            for signal in signals
        )

    def served(self, batch: Batch) -> tuple[TeacherSignal, ...]:
        """Return what every teacher says about the rows of all languages that it serves."""
        return consult(self.teachers, self._serves_NG, batch, {})


def consult(
    teachers: Mapping[str, Teacher],
    asks_NG: torch.Tensor,
    batch: Batch,
    wanted: Mapping[str, LayersWanted],
) -> tuple[TeacherSignal, ...]:
    """Ask each teacher about the rows in its languages; one without such rows is left out.

    Args:
        teachers: By name, in the order of the table.
        asks_NG: True where a teacher is asked about the rows of a language; on the CPU.
        batch: Any rows.
        wanted: Teacher to the layers whose insides are wanted.
    """
    signals = []
    for (name, teacher), asks_G in zip(teachers.items(), asks_NG, strict=True):
        asked, positions_Q = batch, None
        # Most teachers serve all languages: their rows are not even looked at.
        if not asks_G.all():
            is_asked_B = asks_G[batch.on_host.languages_B]
            num_asked = int(is_asked_B.sum())
            if num_asked == 0:
                continue
            if num_asked < len(is_asked_B):
                asked, positions_Q = batch.of_examples(is_asked_B)
        outputs = teacher(asked, wanted.get(name, LayersWanted()))
        signals.append(
            TeacherSignal(
                name=name, outputs=outputs, batch=asked, positions_Q=positions_Q, weights_Q=None
            )
        )
    return tuple(signals)


def mean_margins(
    teachers: Mapping[str, Teacher],
    serves_NG: torch.Tensor,
    batches: Iterable[Batch],
    *,
    total: Callable[[torch.Tensor], torch.Tensor],
) -> torch.Tensor:
    """Return the mean margin of each teacher over the scored positions of each language.

    Args:
        teachers: By name, in the order of the table.
        serves_NG: True where a teacher serves a language; on the CPU.
        batches: This worker's share of the rows.
        total: Sums a tensor over all workers.

    Returns:
        float64 on the CPU, shape [N, G]; 0 where a teacher has seen no position of a language.
    """
    # float64: the weights must not depend on how rows fall into batches and to workers.
    sums_NG = torch.zeros(serves_NG.shape, dtype=torch.float64)
    counts_NG = torch.zeros_like(sums_NG)
    number = {name: index for index, name in enumerate(teachers)}
    for batch in batches:
        for signal in consult(teachers, serves_NG, batch, {}):
            asked, index = signal.batch, number[signal.name]
            languages_Q = asked.languages_B[asked.examples_P].cpu()
            margins_Q = by_position(signal.outputs.scores, margins, asked.labels_P).double().cpu()
            sums_NG[index].index_add_(0, languages_Q, margins_Q)
            counts_NG[index].index_add_(0, languages_Q, torch.ones_like(margins_Q))
    sums_NG, counts_NG = total(torch.stack([sums_NG, counts_NG])).cpu()
    means_NG: torch.Tensor = sums_NG / counts_NG.clamp(min=1)
    return means_NG


def _at_positions(shares_G: torch.Tensor, batch: Batch) -> torch.Tensor | None:
    """Return a teacher's share at each position; None where it is 1 in all its languages."""
    if (shares_G[shares_G > 0] == 1).all():
        return None
    return to_device(shares_G, batch.languages_B.device)[batch.languages_B[batch.examples_P]]


def _weighed(
    signals: Sequence[TeacherSignal], batch: Batch, weigh: PositionWeights
) -> tuple[TeacherSignal, ...]:
    """Weight the signals at every position, among the teachers that are asked there."""
    shape = len(signals), len(batch.positions_P)
    # Where a teacher is not asked the 0 is no value: ``combine`` reads ``is_asked_NP``.
    values_NP = torch.zeros(shape, device=batch.positions_P.device)
    is_asked_NP = torch.zeros_like(values_NP, dtype=torch.bool)
    asked = [signal.asked for signal in signals]
    for index, signal in enumerate(signals):
        values_NP[index, asked[index]] = by_position(
            signal.outputs.scores, weigh.measure, signal.batch.labels_P
        )
        is_asked_NP[index, asked[index]] = True
    if not signals:
        return ()
    weights_NP = weigh.combine(values_NP, is_asked_NP)
    return tuple(
        replace(signal, weights_Q=weights_NP[index, asked[index]])
        for index, signal in enumerate(signals)
    )
