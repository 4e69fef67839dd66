"""Secrets that are easy to find again wherever they have gone."""

import base64
from collections.abc import Mapping
from pathlib import Path

import fsspec
import pytest

MARKERS = {
    "AWS_SECRET_ACCESS_KEY": "MarkerOfTheSecretAccessKey",
    "AWS_SESSION_TOKEN": "MarkerOfTheSessionToken",
    "WANDB_API_KEY": "0123456789markerofwandb0123456789abcdef0",
    "MLFLOW_TRACKING_PASSWORD": "MarkerOfThePasswordOfMlflow",
    "HF_TOKEN": "hf_MarkerOfTheHub",
    "userinfo": "MarkerOfThePasswordInAUri",
}
"""By the variable of the environment that holds it; the last one stands in a URI."""


def hide_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the markers as the credentials of this process and those it starts."""
    for name, marker in MARKERS.items():
        if name.isupper():
            monkeypatch.setenv(name, marker)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.delenv("WANDB_MODE", raising=False)
    # Instances are cached by their arguments, which the environment is no part of.
    fsspec.filesystem("s3").clear_instance_cache()


def marked_in(found: str | Path | Mapping[str, bytes]) -> list[str]:
    """Return which markers are in a text, in the files of a directory or in contents by name."""
    if isinstance(found, str):
        found = {"text": found.encode()}
    elif isinstance(found, Path):
        files = [path for path in found.rglob("*") if path.is_file()]
        found = {str(path.relative_to(found)): path.read_bytes() for path in files}
    return [
        f"{name}: {marker}"
        for name, content in sorted(found.items())
        for marker, secret in MARKERS.items()
        if any(form in content for form in _forms(secret))
    ]


def _forms(secret: str) -> tuple[bytes, ...]:
    plain = secret.encode()
    return plain, base64.b64encode(plain), plain.hex().encode()
