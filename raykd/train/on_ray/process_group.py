"""How the workers of a run find each other: at a store on the one address that Ray knows.

Ray Train has PyTorch open its store, which takes connections at every address of the machine and
asks nobody who they are. Here it listens only at the address of the node, which is loopback on a
Ray of this machine, and on a port that it holds from the beginning, so that no other takes it.
"""

import socket
from datetime import timedelta
from typing import Any

import torch.distributed
from ray.train.torch import TorchConfig
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # it does not say so

import ray
from raykd.ray_cluster.connect import have_gloo_listen_at
from raykd.train.on_ray.private import TorchBackend

_opened: list[TCPStore] = []
"""The store of this process, if it is the first worker of its group."""


class NodeTorchConfig(TorchConfig):  # type: ignore[misc]  # Ray is untyped
    """A process group of PyTorch that listens at the node's address alone."""

    @property
    def backend_cls(self) -> type:
        """What Ray Train starts the group with."""
        return _NodeBackend


class _NodeBackend(TorchBackend):  # type: ignore[misc]  # Ray is untyped
    def on_start(self, worker_group: Any, backend_config: TorchConfig) -> None:
        host, port = worker_group.execute_single(0, open_store)
        size = len(worker_group)
        # All at once: joining returns when everyone has joined.
        ray.get(
            [
                worker_group.execute_single_async(
                    rank,
                    join,
                    backend=backend_config.backend,
                    address=(host, port),
                    world_rank=rank,
                    world_size=size,
                    timeout_seconds=backend_config.timeout_s,
                )
                for rank in range(size)
            ]
        )


def open_store() -> tuple[str, int]:
    """Listen at the address of this node, on a free port; return both."""
    host = ray.util.get_node_ip_address()
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Bound here and handed over: a port that is only chosen here could be taken by another.
    listener = socket.create_server((host, 0), family=family)
    port: int = listener.getsockname()[1]
    # It waits for nobody: the others are told where it is only when this has returned.
    _opened[:] = [
        TCPStore(
            host, port, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach()
        )
    ]
    return host, port


def join(
    *,
    backend: str,
    address: tuple[str, int],
    world_rank: int,
    world_size: int,
    timeout_seconds: int,
) -> None:
    """Make this process one of the group."""
    host, port = address
    have_gloo_listen_at(ray.util.get_node_ip_address())
    timeout = timedelta(seconds=timeout_seconds)
    store = (
        _opened[0] if world_rank == 0 else TCPStore(host, port, is_master=False, timeout=timeout)
    )
    store.set_timeout(timeout)
    torch.distributed.init_process_group(
        backend=backend, store=store, rank=world_rank, world_size=world_size, timeout=timeout
    )
