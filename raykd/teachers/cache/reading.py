"""Find the records of any rows, whatever the batch, and see that they answer what is asked."""

import itertools
import mmap
import threading
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa

from raykd.batch import IntArray
from raykd.errors import PublicationError
from raykd.storage import uris
from raykd.storage.remote.staging import staging_directory
from raykd.storage.remote.transfers import digest, download
from raykd.tasks.masked_lm import mask_epochs
from raykd.teachers.cache.hashing import Checks
from raykd.teachers.cache.index import Index, read_index
from raykd.teachers.cache.key import CacheKey
from raykd.teachers.cache.parts import FinishedPart
from raykd.teachers.cache.payload import Encoding, Values
from raykd.teachers.cache.records import Records

_OPEN_FILES = 256

_BUILD = "build it with raykd cache"
_ANEW = "remove that cache and build it again with raykd cache"


@contextmanager
def opened_cache(uri: str, key: CacheKey, *, languages: Sequence[str]) -> Iterator["OpenedCache"]:
    """Yield a cache to read from while the block runs.

    Args:
        uri: Of the cache.
        key: What it is to hold.
        languages: Of the data, in the order of the batches' indices.

    Raises:
        PublicationError: There is none, or it is of another key or torn.
    """
    if (index := read_index(uri, key)) is None:
        message = f"{uri}: holds no teacher's outputs yet; {_BUILD}"
        raise PublicationError(message)
    if uris.is_local(uri):
        yield OpenedCache(uri, key, index, languages, files=uris.local_path(uri))
        return
    with staging_directory(num_bytes=sum(each.num_bytes for each in index.parts)) as directory:
        yield OpenedCache(uri, key, index, languages, files=directory)


class OpenedCache:
    """The records of a cache, by row.

    Files of a store are fetched before a row of theirs is first read, by whoever comes first: the
    thread that makes batches, usually. Files on this machine are mapped into memory, of which the
    system keeps what is used.
    """

    def __init__(
        self, uri: str, key: CacheKey, index: Index, languages: Sequence[str], *, files: Path
    ) -> None:
        self.uri = uri
        self.key = key
        self.encoding: Encoding = index.encoding
        self._languages = languages
        self._files = files
        self._parts = index.parts
        self._ranges = _ranges(index)
        # Of this object, not of the class: an open file stays mapped as long as the cache is open.
        self._opened = lru_cache(_OPEN_FILES)(self._open)
        self._fetching = threading.Lock()

    def read(
        self, row_ids_B: IntArray, checks_B: Checks, *, languages_B: IntArray, epochs_B: IntArray
    ) -> list[dict[str, Values]]:
        """Return the columns of each row, in the order of the rows.

        Raises:
            PublicationError: A row is not there, or was asked otherwise, or its bytes are torn.
        """
        groups = self._groups(row_ids_B, languages_B=languages_B, epochs_B=epochs_B)
        self._fetch(part for ranges, row_id in groups for part in _candidates(ranges, row_id))
        return [
            self._row(ranges, row_id, check)
            for (ranges, row_id), check in zip(groups, checks_B, strict=True)
        ]

    def fetch(self, row_ids_B: IntArray, *, languages_B: IntArray, epochs_B: IntArray) -> None:
        """Bring here what ``read`` reads of some rows; of no rows too.

        Raises:
            PublicationError: A file is gone or torn.
        """
        groups = self._groups(row_ids_B, languages_B=languages_B, epochs_B=epochs_B)
        of_rows = (part for ranges, row_id in groups for part in _candidates(ranges, row_id))
        # The first part, too: from it ``no_columns`` has its types.
        self._fetch(itertools.chain(self._parts[:1], of_rows))

    def _groups(
        self, row_ids_B: IntArray, *, languages_B: IntArray, epochs_B: IntArray
    ) -> "list[tuple[Sequence[_Range], int]]":
        """Return each row with the parts of its epoch and language."""
        masks = self.key.masks
        mask_epochs_B = 0 * epochs_B if masks is None else mask_epochs(masks.masking, epochs_B)
        languages = [self._languages[number] for number in languages_B.tolist()]
        return [
            (self._ranges.get((epoch, language), ()), row_id)
            for epoch, language, row_id in zip(
                mask_epochs_B.tolist(), languages, row_ids_B.tolist(), strict=True
            )
        ]

    @property
    def no_columns(self) -> dict[str, Values]:
        """The columns of no row."""
        first = self._parts[0]
        self._fetch([first])
        return self._opened(first).nothing

    def _row(self, ranges: "Sequence[_Range]", row_id: int, check: np.uint64) -> dict[str, Values]:
        for finished in _candidates(ranges, row_id):
            records = self._opened(finished)
            # Ids of a file rise with gaps: those between may be rows of another split.
            place = int(np.searchsorted(records.row_ids_N, row_id))
            if place == len(records) or records.row_ids_N[place] != row_id:
                continue
            where = uris.join(self.uri, finished.path)
            if records.checks_N[place] != check:
                message = (
                    f"{where}: row {row_id} was asked with other tokens or labels (fingerprint "
                    f"{int(records.checks_N[place]):016x}, not {int(check):016x}); {_ANEW}"
                )
                raise PublicationError(message)
            try:
                return records.of_row(place)
            except ValueError as error:
                message = f"{where}: {error}; {_ANEW}"
                raise PublicationError(message) from error
        message = f"{self.uri}: does not have row {row_id} of this epoch and language; {_BUILD}"
        raise PublicationError(message)

    def _fetch(self, wanted: Iterable[FinishedPart]) -> None:
        """Bring files of a store here, several at a time."""
        if uris.is_local(self.uri):
            return
        parts = {each.path: each for each in wanted}
        if self._absent(parts):
            with self._fetching:
                # Looked at again under the lock: another thread may have brought them by now.
                self._download([parts[path] for path in self._absent(parts)])

    def _absent(self, paths: Iterable[str]) -> list[str]:
        return [path for path in paths if not (self._files / path).exists()]

    def _download(self, parts: Sequence[FinishedPart]) -> None:
        pairs = [
            (uris.join(self.uri, each.path), self._files / f"{each.path}.fetched")
            for each in parts
        ]
        try:
            download(pairs)
        except FileNotFoundError as error:
            message = f"{self.uri}: {error}; {_ANEW}"
            raise PublicationError(message) from error
        for (where, aside), finished in zip(pairs, parts, strict=True):
            if digest(aside) != finished.sha256:
                message = f"{where}: is not what was written; {_ANEW}"
                raise PublicationError(message)
            # Named last: what has its name is in full and was compared with its hash.
            aside.rename(self._files / finished.path)

    def _open(self, finished: FinishedPart) -> Records:
        path = self._files / finished.path
        try:
            return Records.of(_mapped(path, num_bytes=finished.num_bytes))
        except (pa.ArrowException, OSError, ValueError) as error:
            where = uris.join(self.uri, finished.path)
            message = f"{where}: cannot be read: {error}; {_ANEW}"
            raise PublicationError(message) from error


def _mapped(path: Path, *, num_bytes: int) -> pa.RecordBatch:
    if (size := path.stat().st_size) != num_bytes:
        message = f"it has {size} bytes, not {num_bytes}"
        raise ValueError(message)
    with path.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, prot=mmap.PROT_READ)
    # Rows are read here and there: what lies around one need not be read with it.
    mapped.madvise(mmap.MADV_RANDOM)
    return pa.ipc.open_file(pa.py_buffer(mapped)).get_batch(0)


class _Range:
    """Parts of one split, in the order of their rows' ids."""

    def __init__(self, parts: list[FinishedPart]) -> None:
        self._parts = sorted(parts, key=lambda each: each.first_row_id)
        self._firsts = [each.first_row_id for each in self._parts]

    def candidate(self, row_id: int) -> FinishedPart | None:
        """Return the only part that may have a row."""
        place = bisect_right(self._firsts, row_id) - 1
        if place < 0 or row_id > self._parts[place].last_row_id:
            return None
        return self._parts[place]


def _candidates(ranges: "Sequence[_Range]", row_id: int) -> Iterator[FinishedPart]:
    for one in ranges:
        if (finished := one.candidate(row_id)) is not None:
            yield finished


def _ranges(index: Index) -> Mapping[tuple[int, str], Sequence[_Range]]:
    """Return the parts by epoch and language, those of each split apart: their ids interleave."""
    groups: dict[tuple[int, str], dict[str, list[FinishedPart]]] = {}
    for finished in index.parts:
        part = finished.part
        splits = groups.setdefault((part.epoch, part.language), {})
        splits.setdefault(part.shard.partition("/")[0], []).append(finished)
    return {
        place: [_Range(parts) for parts in splits.values()] for place, splits in groups.items()
    }
