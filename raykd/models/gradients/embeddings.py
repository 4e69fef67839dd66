"""Embeddings whose gradient is added to the rows that were read.

The gradient of a table [V, D] is zero but in the rows of the tokens of a pass, a few hundred of
many thousand. torch makes a table for each pass and adds it up: that reads and writes V x D
numbers several times, for some hundred times D that are not zero.
"""

from typing import Any

import torch
from torch.autograd.function import once_differentiable
from torch.nn import functional as F


class RowEmbedding(torch.nn.Embedding):
    """An embedding whose gradient no pass makes a table for: the same sums, in the same order.

    Tensors that are read elsewhere too, as by a head that shares them, get that gradient as usual.
    """

    rows: list[torch.Tensor] | None
    """Ids read since the gradient was zero everywhere, where no other row can have one; None
    where the table is read elsewhere too."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002  torch's own signature
        """Return the rows of some ids, [..., D]."""
        # Not a leaf where a function of the weights is computed: there the gradient goes on.
        if not (torch.is_grad_enabled() and self.weight.is_leaf):
            return super().forward(input)
        rows: torch.Tensor = _ReadRows.apply(self.weight, input, self)  # type: ignore[no-untyped-call]
        return rows

    def add_gradient(self, ids_N: torch.Tensor, gradient_ND: torch.Tensor) -> None:
        """Add to the rows of ids, one after the other: an id may come several times."""
        if self.weight.grad is None:
            self.weight.grad = torch.zeros_like(self.weight)
            self.rows = None if self.rows is None else []
        gradient_VD = self.weight.grad
        if self.padding_idx is None:
            gradient_VD.index_add_(0, ids_N, gradient_ND)
        else:
            padding_D = gradient_VD[self.padding_idx].clone()
            gradient_VD.index_add_(0, ids_N, gradient_ND)
            gradient_VD[self.padding_idx] = padding_D
        if self.rows is not None:
            self.rows.append(ids_N)

    def row_gradients(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the R rows that were read, each once, and a copy of their gradients [R, D]."""
        rows_R = torch.cat(self.rows or []).unique()
        gradient_RD: torch.Tensor = self.weight.grad[rows_R]  # type: ignore[index]
        return rows_R, gradient_RD

    def set_row_gradients(self, rows_R: torch.Tensor, gradient_RD: torch.Tensor) -> None:
        """Set the gradients of rows, each once."""
        self.weight.grad[rows_R] = gradient_RD  # type: ignore[index]

    def zero_rows(self) -> None:
        """Make the gradient zero everywhere, by the rows that were read."""
        for ids_N in self.rows or []:
            self.weight.grad.index_fill_(0, ids_N, 0)  # type: ignore[union-attr]
        self.rows = []


class _ReadRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, weight_VD: torch.Tensor, ids: torch.Tensor, embedding: RowEmbedding
    ) -> torch.Tensor:
        ctx.save_for_backward(ids)
        ctx.embedding = embedding
        return F.embedding(ids, weight_VD)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None]:
        (ids,) = ctx.saved_tensors
        embedding, ids_N, gradient_ND = ctx.embedding, ids.flatten(), gradient.flatten(0, -2)
        # Once the pass is over: where the table is read elsewhere too, autograd then has given it
        # a gradient, which costs no addition where there was none before.
        torch.autograd.Variable._execution_engine.queue_callback(  # noqa: SLF001  as torch's FSDP
            lambda: embedding.add_gradient(ids_N, gradient_ND)
        )
        return None, None, None


def add_gradients_by_rows(model: torch.nn.Module, *, is_shared: bool) -> None:
    """Make the embeddings of a model that are trained RowEmbeddings; all tensors stay.

    For one process on a CPU, and for models that run as they are written: on a GPU an addition
    by rows has no certain order, and whoever exchanges gradients between processes while a pass
    goes on would miss these.

    Args:
        model: Whose modules are looked through.
        is_shared: Whether a head may read the tables, too.
    """
    for module in model.modules():
        if type(module) is torch.nn.Embedding and module.weight.requires_grad:
            module.__class__ = RowEmbedding
            module.rows = None if is_shared else []  # type: ignore[assignment]
