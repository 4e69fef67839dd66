"""Keep some classes of each position: the likeliest, or such as are drawn from the teacher."""

from dataclasses import dataclass

import numpy as np
import torch

from raykd.batch import to_device
from raykd.scores import Scores, chunks
from raykd.splitmix import mixed
from raykd.teachers.cache.payload import Columns, Description, Keys, Tensors, Values, as_values
from raykd.teachers.cache.sparse import SparseScores


@dataclass(frozen=True, kw_only=True, slots=True)
class TopKEncoding:
    """The likeliest classes, and the probability of all others together."""

    num_classes: int
    size: int

    def encode(self, scores: Scores, keys_P: Keys) -> dict[str, Values]:
        """Keep the likeliest."""
        del keys_P
        parts = [self._chunk(scores.logits(chosen)) for chosen in _chunks(scores)]
        ids_PS, log_probs_PS, log_tail_P1 = (torch.cat(each) for each in zip(*parts, strict=True))
        return {
            "ids": _ids(ids_PS, self.num_classes),
            # float16 rounds by at most 2**-11, relative: of a log probability of -8, by 0.004.
            "log_probs": as_values(log_probs_PS.half()),
            "log_tail": as_values(log_tail_P1.half()),
        }

    def _chunk(self, logits_CK: torch.Tensor) -> tuple[torch.Tensor, ...]:
        log_probs_CK = logits_CK.float().log_softmax(dim=-1)
        log_probs_CS, ids_CS = log_probs_CK.topk(self.size, dim=-1)
        # The rest is summed up: what is missing to 1 would be rounding where it is small.
        log_tail_C1 = log_probs_CK.scatter(-1, ids_CS, -torch.inf).logsumexp(-1, keepdim=True)
        return ids_CS, log_probs_CS, log_tail_C1

    def decode(self, columns: Columns, device: torch.device) -> SparseScores:
        """Return them with the rounding shared out: together they are 1."""
        log_probs_PS = to_device(torch.from_numpy(columns["log_probs"]), device).float()
        log_tail_P1 = to_device(torch.from_numpy(columns["log_tail"]), device).float()
        total_P1 = torch.cat([log_probs_PS, log_tail_P1], dim=-1).logsumexp(-1, keepdim=True)
        return SparseScores(
            ids_PS=to_device(torch.from_numpy(columns["ids"].astype(np.int64)), device),
            log_probs_PS=log_probs_PS - total_P1,
            log_tail_P=(log_tail_P1 - total_P1).squeeze(-1),
            num_classes=self.num_classes,
        )

    def on(self, device: torch.device) -> "TopKEncoding":
        """Return itself."""
        del device
        return self

    @property
    def bytes_per_position(self) -> float:
        """Ids and log probabilities, and that of the rest."""
        return self.size * (_id_type(self.num_classes).itemsize + 2) + 2

    @property
    def description(self) -> Description:
        """How many of how many."""
        return {"mode": "top_k", "num_classes": self.num_classes, "size": self.size}

    @property
    def tensors(self) -> Tensors:
        """Nothing."""
        return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledEncoding:
    """Draws from the teacher: the share of a class among them is its probability on average.

    The draws of a position are evenly spaced, from one random number, along the sum of the
    probabilities (systematic sampling). A class whose probability is p is among S draws p S times,
    rounded up or down, so that the gradient varies less than with S independent draws (a choice of
    this project; 2503.16870 draws independently).
    """

    num_classes: int
    size: int

    def encode(self, scores: Scores, keys_P: Keys) -> dict[str, Values]:
        """Keep the draws, in rising order."""
        # The upper 53 bits, all that a float64 in [0, 1) holds without rounding up to 1.
        starts_P = (mixed(keys_P) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        starts_P1 = torch.from_numpy(starts_P).unsqueeze(-1)
        parts = [
            self._chunk(scores.logits(chosen), starts_P1[chosen]) for chosen in _chunks(scores)
        ]
        return {"ids": _ids(torch.cat(parts), self.num_classes)}

    def _chunk(self, logits_CK: torch.Tensor, starts_C1: torch.Tensor) -> torch.Tensor:
        # float64: over a vocabulary, rounding in float32 adds up to more than a rare class has.
        sums_CK = logits_CK.double().softmax(dim=-1).cumsum(dim=-1)
        steps_S = torch.arange(self.size, dtype=torch.float64, device=sums_CK.device)
        places_CS = (steps_S + starts_C1.to(sums_CK.device)) / self.size
        # The last sum may fall short of 1 by rounding.
        drawn_CS = torch.searchsorted(sums_CK, places_CS * sums_CK[:, -1:], right=True)
        return drawn_CS.clamp(max=self.num_classes - 1)

    def decode(self, columns: Columns, device: torch.device) -> SparseScores:
        """Return the shares of the drawn classes, each at the first of its places."""
        ids_PS = to_device(torch.from_numpy(columns["ids"].astype(np.int64)), device)
        is_first_PS = torch.ones_like(ids_PS, dtype=torch.bool)
        is_first_PS[:, 1:] = ids_PS[:, 1:] != ids_PS[:, :-1]
        ends_PS = torch.searchsorted(ids_PS, ids_PS, right=True)
        places_S = torch.arange(ids_PS.shape[1], device=device)
        counts_PS = torch.where(is_first_PS, ends_PS - places_S, 0)
        return SparseScores(
            ids_PS=ids_PS,
            log_probs_PS=(counts_PS / self.size).log(),
            log_tail_P=torch.full((len(ids_PS),), -torch.inf, device=device),
            num_classes=self.num_classes,
        )

    def on(self, device: torch.device) -> "SampledEncoding":
        """Return itself."""
        del device
        return self

    @property
    def bytes_per_position(self) -> float:
        """Ids."""
        return self.size * _id_type(self.num_classes).itemsize

    @property
    def description(self) -> Description:
        """How many of how many."""
        return {"mode": "sampled", "num_classes": self.num_classes, "size": self.size}

    @property
    def tensors(self) -> Tensors:
        """Nothing."""
        return {}


def _chunks(scores: Scores) -> list[slice]:
    """Return neighbouring positions whose scores fit the memory; one empty piece for none."""
    return list(chunks(scores, torch.device("cpu"))) or [slice(0, 0)]


def _id_type(num_classes: int) -> np.dtype[np.unsignedinteger]:
    return np.dtype(np.uint16 if num_classes <= 1 << 16 else np.uint32)


def _ids(ids_PS: torch.Tensor, num_classes: int) -> Values:
    return as_values(ids_PS).astype(_id_type(num_classes))
