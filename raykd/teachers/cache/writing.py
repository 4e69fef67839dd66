"""Write the records of one part: whole, or not there.

They are written aside and get their name, with their hash in it, at once; then a note says which
they are. So several may write the same part; whoever builds again, after a kill too, leaves out
the parts that have a note.
"""

import uuid
from pathlib import Path

import pyarrow as pa

from raykd.storage import uris
from raykd.storage.remote.retry import named
from raykd.storage.remote.staging import staging_directory
from raykd.storage.remote.transfers import digest, upload
from raykd.teachers.cache.index import write_note
from raykd.teachers.cache.parts import FinishedPart, Part, records_path


def write_part(uri: str, part: Part, records: pa.RecordBatch) -> FinishedPart:
    """Write the records of a part of a cache.

    Raises:
        StorageError: Storage refuses or has no room.
    """
    write = _write_local if uris.is_local(uri) else _write_remote
    num_bytes, sha256 = write(uri, part, records)
    row_ids_N = records["row_id"].to_numpy()
    finished = FinishedPart(
        part=part,
        num_bytes=num_bytes,
        sha256=sha256,
        first_row_id=int(row_ids_N[0]),
        last_row_id=int(row_ids_N[-1]),
        positions=int(records["positions"].to_numpy().sum()),
    )
    # After the records: a note vouches for a file that is there.
    write_note(uri, finished)
    return finished


def _write_local(uri: str, part: Part, records: pa.RecordBatch) -> tuple[int, str]:
    path = uris.local_path(uris.join(uri, part.path))
    # In the same directory: within a file system a rename is atomic.
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    with named(str(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        num_bytes, sha256 = _write_file(aside, records)
        aside.replace(uris.local_path(uris.join(uri, records_path(part, sha256))))
    return num_bytes, sha256


def _write_remote(uri: str, part: Part, records: pa.RecordBatch) -> tuple[int, str]:
    with staging_directory(num_bytes=records.nbytes) as directory:
        path = directory / "records.arrow"
        num_bytes, sha256 = _write_file(path, records)
        # A store shows an object in full or not at all: nothing is written aside there.
        upload([(path, uris.join(uri, records_path(part, sha256)))])
    return num_bytes, sha256


def _write_file(path: Path, records: pa.RecordBatch) -> tuple[int, str]:
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, records.schema) as writer:
        writer.write_batch(records)
    return path.stat().st_size, digest(path)
