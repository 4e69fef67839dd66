"""The head of a cluster that a file describes."""

import re
import subprocess
import sys
from pathlib import Path

from raykd.config.given import read_mapping
from raykd.errors import ConfigError

_PORT = 8265
_KUBERAY = re.compile(r"^apiVersion:\s*[\"']?ray\.io/", re.MULTILINE)


def head_address(path: Path) -> str:
    """Return the address of the job server of a cluster that ``ray up`` has started.

    Args:
        path: The launcher's YAML file.

    Raises:
        ConfigError: The file is no launcher's, or the cluster has no head.
    """
    if path.is_file() and _KUBERAY.search(path.read_text("utf-8", errors="replace")):
        message = (
            f"{path}: is a manifest of KubeRay, whose head is inside of Kubernetes: kubectl "
            f"port-forward service/NAME-head-svc {_PORT}:{_PORT}, and then give --address "
            f"http://127.0.0.1:{_PORT}"
        )
        raise ConfigError(message)
    if not {"cluster_name", "provider"} <= read_mapping(path).keys():
        message = (
            f"{path}: is no cluster: a file for ray up has cluster_name and provider; or give "
            "--address http://HOST:8265"
        )
        raise ConfigError(message)
    # A process of its own: every provider has errors and prints of its own kind.
    asked = subprocess.run(  # noqa: S603  no shell
        [sys.executable, "-m", "ray.scripts.scripts", "get-head-ip", str(path)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if asked.returncode:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        message = f"{path}: no head is found ({reason}); start the cluster: ray up {path}"
        raise ConfigError(message)
    return f"http://{asked.stdout.split()[-1]}:{_PORT}"
