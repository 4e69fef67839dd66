"""The gradient of attention on CPUs, where torch's kernel for bfloat16 is slow."""

import functools
import warnings
from typing import Any

import torch

_OPERATOR = "_scaled_dot_product_flash_attention_for_cpu_backward"


@functools.cache
def widen_attention_gradients() -> torch.library.Library:
    """Have this process compute gradients of attention in bfloat16 by the kernel for float32.

    On CPUs alone. There torch asks oneDNN for a product for each block of each head: at the few
    dozen tokens that classifiers read, preparing these takes several times what they take. In
    float32 it asks the BLAS library, and rounds less. The forward pass, and what is kept of it for
    the gradient, stay in bfloat16.

    Returns:
        What keeps it so as long as it lives, which is as long as the process.
    """
    kernel = torch.library.get_kernel(f"aten::{_OPERATOR}", "CPU")

    def gradients(
        keys: torch.DispatchKeySet, upstream: torch.Tensor, *others: Any, **options: Any
    ) -> tuple[torch.Tensor, ...]:
        found: tuple[torch.Tensor, ...]
        if upstream.dtype != torch.bfloat16:
            found = kernel.call_boxed(keys, upstream, *others, **options)
            return found
        found = kernel.call_boxed(
            keys,
            *map(_widened, (upstream, *others)),
            **{name: _widened(option) for name, option in options.items()},
        )
        return tuple(gradient.to(torch.bfloat16) for gradient in found)

    library = torch.library.Library("aten", "IMPL")
    with warnings.catch_warnings():
        # Of torch, that there is a kernel already: that is what it stands before.
        warnings.filterwarnings("ignore", message=r"(?s).*Overriding a previously registered")
        library.impl(_OPERATOR, gradients, "CPU", with_keyset=True, allow_override=True)
    return library


def _widened(argument: Any) -> Any:
    is_narrow = isinstance(argument, torch.Tensor) and argument.dtype == torch.bfloat16
    return argument.float() if is_narrow else argument
