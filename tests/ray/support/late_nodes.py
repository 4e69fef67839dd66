"""Ray's fake machines, from a cloud that has none to give at first."""

import threading
from pathlib import Path
from typing import Any

from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

PERMIT = "permit"
"""Key of a provider: the file without which it starts no node."""

_POLL_SECONDS = 0.1


class LateNodes(FakeMultiNodeProvider):  # type: ignore[misc]  # Ray is untyped
    """Starts a node when it is permitted to; who asks waits as long."""

    def create_node_with_resources_and_labels(self, *arguments: Any) -> None:
        """Start nodes."""
        pause = threading.Event()
        while not Path(self.provider_config[PERMIT]).exists():
            pause.wait(_POLL_SECONDS)
        super().create_node_with_resources_and_labels(*arguments)
