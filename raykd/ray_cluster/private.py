"""Every private name of Ray that raykd uses, and why. A test imports them all on each new Ray.

Ray promises nothing of these: where a public way appears, it takes their place. Those of Ray Train
are in ``train.on_ray.private``, which loads it. Imported only where Ray's environment is set.
"""

# Read once when Ray is imported, which others may have done before: whether it listens everywhere.
# Whether it prints the logs of workers, and the core worker, which alone kills an actor by its id
# without a handle, and knows whether this process has started the head.
from ray._private import ray_constants, worker

# Clients of jobs send no token unasked: ray.init does this, and they do not.
from ray._private.authentication.authentication_token_setup import (
    maybe_enable_token_auth_if_token_available,
)

# Actors by class, what each node has left, and nodes that are draining, from the head itself:
# the public state API asks the dashboard, which a cluster may not have.
from ray._private.state import actors, available_resources_per_node, state

# Placement groups are found by an id in their names; the public way finds named ones only.
from ray._raylet import PlacementGroupID

# The head's key-value store: the one place that every process of a cluster reaches at once.
from ray.experimental.internal_kv import (
    _internal_kv_del as kv_delete,
)
from ray.experimental.internal_kv import (
    _internal_kv_exists as kv_exists,
)
from ray.experimental.internal_kv import (
    _internal_kv_get as kv_get,
)
from ray.experimental.internal_kv import (
    _internal_kv_put as kv_put,
)

__all__ = [
    "PlacementGroupID",
    "actors",
    "available_resources_per_node",
    "kv_delete",
    "kv_exists",
    "kv_get",
    "kv_put",
    "maybe_enable_token_auth_if_token_available",
    "ray_constants",
    "state",
    "worker",
]
