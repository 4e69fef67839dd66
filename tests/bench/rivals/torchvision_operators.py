"""Let torchvision be imported beside torch's CPU build: torchdistill and transformers do so.

Its wheel is made for CUDA, so its compiled operators are not loaded there; nothing here uses
them, but its import describes two of them to torch and fails where those are not known.
"""

import torch

_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
"""Operators are known as long as their library lives."""


def declare() -> None:
    """Tell torch of the two operators where they cannot be loaded."""
    if torch.version.cuda is None:
        for name in ("nms", "qnms"):
            _LIBRARY.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
