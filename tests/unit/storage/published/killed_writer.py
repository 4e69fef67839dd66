"""A process that publishes a directory and does not live to see it committed.

    killed_writer.py URI KIND BYTES [SELF]

It writes the layout of its KIND, with one file of so many bytes. With SELF it kills itself once
its files are written; else whoever started it does, in the middle of the upload.
"""

import os
import signal
import sys
from pathlib import Path

from raykd.storage.published.publishing import publishing

FILES = {
    "data": ("tokenizer/tokenizer.json", "train/en-00000.arrow"),
    "checkpoint": ("student/config.json", "student/model.safetensors"),
}


def write(path: Path, kind: str, num_bytes: int) -> None:
    """Write the files of a directory of a kind."""
    small, large = (path / name for name in FILES[kind])
    for file in (small, large):
        file.parent.mkdir(parents=True, exist_ok=True)
    small.write_text("{}")
    with large.open("wb") as stream:
        stream.truncate(num_bytes)


if __name__ == "__main__":
    uri, kind, num_bytes = sys.argv[1:4]
    with publishing(uri, kind=kind, overwrites=True) as publication:
        write(publication.path, kind, int(num_bytes))
        if sys.argv[4:]:
            os.kill(os.getpid(), signal.SIGKILL)
