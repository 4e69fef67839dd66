"""Keep all that a teacher scores: as it is, or as what the last linear map of its head reads."""

from dataclasses import dataclass, replace
from typing import cast

import torch

from raykd.batch import to_device
from raykd.scores import DenseScores, ProjectedScores, Scores
from raykd.teachers.cache.payload import (
    Columns,
    Description,
    Keys,
    Tensors,
    Values,
    as_tensor,
    as_values,
    type_name,
)
from raykd.teachers.cache.quantisation import quantised, restored


@dataclass(frozen=True, kw_only=True, slots=True)
class LogitsEncoding:
    """All scores, for few classes."""

    num_classes: int
    dtype: torch.dtype

    def encode(self, scores: Scores, keys_P: Keys) -> dict[str, Values]:
        """Keep the scores."""
        del keys_P
        return {"logits": as_values(scores.logits().to(self.dtype))}

    def decode(self, columns: Columns, device: torch.device) -> DenseScores:
        """Return the scores."""
        return DenseScores(logits_PK=to_device(as_tensor(columns["logits"], self.dtype), device))

    def on(self, device: torch.device) -> "LogitsEncoding":
        """Return itself."""
        del device
        return self

    @property
    def bytes_per_position(self) -> float:
        """All scores."""
        return self.num_classes * self.dtype.itemsize

    @property
    def description(self) -> Description:
        """The classes, and the type of their scores."""
        return {
            "mode": "logits",
            "num_classes": self.num_classes,
            "dtype": type_name(self.dtype),
        }

    @property
    def tensors(self) -> Tensors:
        """Nothing."""
        return {}


@dataclass(frozen=True, kw_only=True, slots=True)
class HiddenEncoding:
    """The features that a linear map scores a vocabulary from, and once that map."""

    head: ProjectedScores
    """The map, with the features of no position."""

    kept: torch.dtype
    """In which features are kept: int8 with a factor for each position."""

    @staticmethod
    def of(scores: ProjectedScores, kept: torch.dtype) -> "HiddenEncoding":
        """Return how to keep scores such as these."""
        return HiddenEncoding(
            head=replace(
                scores,
                features_PD=scores.features_PD[:0].detach(),
                weight_KD=scores.weight_KD.detach(),
                bias_K=None if scores.bias_K is None else scores.bias_K.detach(),
            ),
            kept=kept,
        )

    @staticmethod
    def described(description: Description, tensors: Tensors) -> "HiddenEncoding":
        """Return what was described."""
        given, weight_KD = description, tensors["weight"]
        head = ProjectedScores(
            features_PD=torch.zeros(0, weight_KD.shape[1], dtype=getattr(torch, given["dtype"])),
            weight_KD=weight_KD,
            bias_K=tensors.get("bias"),
            scale=given["scale"],
            softcap=given["softcap"],
            dtype=None if given["product"] is None else getattr(torch, given["product"]),
        )
        return HiddenEncoding(head=head, kept=getattr(torch, given["kept"]))

    def encode(self, scores: Scores, keys_P: Keys) -> dict[str, Values]:
        """Keep the features."""
        del keys_P
        features_PD = cast("ProjectedScores", scores).features_PD
        if self.kept != torch.int8:
            return {"hidden": as_values(features_PD.to(self.kept))}
        integers_PD, factor_P = quantised(features_PD)
        return {"hidden": as_values(integers_PD), "factor": as_values(factor_P.unsqueeze(-1))}

    def decode(self, columns: Columns, device: torch.device) -> ProjectedScores:
        """Return scores that the map makes of the features as they are asked for."""
        features_PD = to_device(as_tensor(columns["hidden"], self.kept), device)
        if self.kept == torch.int8:
            factor_P = to_device(torch.from_numpy(columns["factor"]).squeeze(-1), device)
            features_PD = restored(features_PD, factor_P)
        # In the teacher's own type: the product with the map is then the one that it computes.
        return replace(self.head, features_PD=features_PD.to(self.head.features_PD.dtype))

    def on(self, device: torch.device) -> "HiddenEncoding":
        """Return the same with the map on a device."""
        bias_K = self.head.bias_K
        head = replace(
            self.head,
            weight_KD=self.head.weight_KD.to(device),
            bias_K=None if bias_K is None else bias_K.to(device),
        )
        return replace(self, head=head)

    @property
    def bytes_per_position(self) -> float:
        """The features, and the factor."""
        factor_bytes = 4 if self.kept == torch.int8 else 0
        return self.head.features_PD.shape[1] * self.kept.itemsize + factor_bytes

    @property
    def description(self) -> Description:
        """What the map is beside its tensors."""
        head = self.head
        return {
            "mode": "hidden",
            "num_classes": head.num_classes,
            "kept": type_name(self.kept),
            "dtype": type_name(head.features_PD.dtype),
            "scale": head.scale,
            "softcap": head.softcap,
            "product": None if head.dtype is None else type_name(head.dtype),
        }

    @property
    def tensors(self) -> Tensors:
        """The map."""
        tensors = {"weight": self.head.weight_KD}
        if self.head.bias_K is not None:
            tensors["bias"] = self.head.bias_K
        return tensors
