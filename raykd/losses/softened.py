"""Softmax of logits at a temperature, made once for all losses that look at it.

Nothing here is a cached_property: torch.compile does not follow its lock (Python 3.11).

The dimension key is that of raykd.batch; K is classes.
"""

import math

import torch


def widened(logits_PK: torch.Tensor) -> torch.Tensor:
    """Return logits in at least float32; float64 stays float64.

    Over many classes bfloat16 loses the small probabilities, and those are what
    distillation is after.
    """
    return logits_PK.to(torch.promote_types(logits_PK.dtype, torch.float32))


class Logits:
    """Unnormalised scores of a model, of which each temperature has its softmax once."""

    def __init__(
        self, logits_PK: torch.Tensor, *, dtype: torch.dtype | None = None, masked: bool = False
    ) -> None:
        """Look at logits.

        Args:
            logits_PK: They are read only.
            dtype: Type to compute in; float32, or float64 for float64 logits, where there is none.
            masked: Some may be -inf: then every pass over them looks for it.
        """
        self.logits_PK = logits_PK
        self.dtype = dtype or torch.promote_types(logits_PK.dtype, torch.float32)
        self.masked = masked
        self._shifted_PK: torch.Tensor | None = None
        self._softened: list[tuple[float, Softened]] = []

    def like(self, logits_PK: torch.Tensor) -> "Logits":
        """Return the logits of a model that is compared with this one."""
        return Logits(logits_PK, dtype=self.dtype, masked=self.masked)

    def at(self, temperature: float) -> "Softened":
        """Return the softmax of the logits divided by a temperature."""
        # Not by hash: torch.compile would make code for each temperature of a schedule.
        for known, softened in self._softened:
            if known == temperature:
                return softened
        shifted_PK = self._shifted()
        # A pass over a vocabulary that changes nothing costs as much as one that does.
        if temperature != 1:
            shifted_PK = shifted_PK / temperature
        softened = Softened(shifted_PK, masked=self.masked)
        self._softened.append((temperature, softened))
        return softened

    @property
    def wide_PK(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """The logits in the type that is computed in."""
        return self.logits_PK.to(self.dtype)

    def _shifted(self) -> torch.Tensor:
        if self._shifted_PK is None:
            wide_PK = self.wide_PK
            highest_P1 = wide_PK.amax(dim=-1, keepdim=True)
            # What is a copy is made use of.
            out_PK = None if wide_PK is self.logits_PK else wide_PK
            self._shifted_PK = torch.sub(wide_PK, highest_P1, out=out_PK)
        return self._shifted_PK


class Softened:
    """A softmax: its exponents, whose largest is 0, their log-sum-exp, and probabilities."""

    def __init__(self, shifted_PK: torch.Tensor, *, masked: bool) -> None:
        """Take exponents."""
        self.shifted_PK = shifted_PK
        self.masked = masked
        self.probs_PK = shifted_PK.exp()
        total_P1 = self.probs_PK.sum(dim=-1, keepdim=True)
        self.probs_PK /= total_P1
        self.log_total_P1 = total_P1.log()
        self._finite_PK = None if masked else shifted_PK
        self._log_probs_PK: torch.Tensor | None = None

    @property
    def finite_PK(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """Exponents, with masks those of the smallest normal number in place of -inf.

        Their product with the probability of such a class is 0, and not NaN.
        """
        if self._finite_PK is None:
            lowest = self.log_total_P1 + math.log(torch.finfo(self.shifted_PK.dtype).tiny)
            self._finite_PK = self.shifted_PK.where(self.shifted_PK > -torch.inf, lowest)
        return self._finite_PK

    @property
    def log_probs_PK(self) -> torch.Tensor:  # noqa: N802  a tensor, named like the fields
        """Log probabilities, finite as the exponents."""
        if self._log_probs_PK is None:
            self._log_probs_PK = self.finite_PK - self.log_total_P1
        return self._log_probs_PK
