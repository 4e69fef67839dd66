"""All there is to say about a pair, line by line, the costly lines last."""

from collections.abc import Iterator

from raykd.config.schema.run import TaskName
from raykd.data.manifest import read_manifest
from raykd.planning.pair import reading, size
from raykd.planning.pair.candidate import read_candidate
from raykd.planning.pair.finding import Pair, PairFinding
from raykd.planning.pair.scores import scores

_WITHOUT_WEIGHTS = (
    reading.family,
    reading.tokenizer,
    reading.special_ids,
    reading.vocabulary,
    reading.context,
    reading.labels,
    size.dtype,
    size.parameters,
    size.memory,
    size.layers,
)


def examine_pair(
    teacher: str, student: str, *, task: TaskName | None, data_uri: str | None, split: str
) -> Iterator[PairFinding]:
    """Compare two models; load weights only to score them on data, and only if they fit it.

    Args:
        teacher: Hub name, local directory, or URI of a model, a run or a checkpoint.
        student: The same.
        task: None is the one that the teacher's head was made for.
        data_uri: Prepared data that both are compared with too.
        split: Split of the data to score on.

    Raises:
        ModelError: A model is not there, cannot be read, or is of an unknown family.
        DataError: The data or a tokenizer cannot be read.
    """
    manifest = None if data_uri is None else read_manifest(data_uri)
    if manifest is not None:
        manifest.shards(split)
    of_teacher = read_candidate(teacher)
    pair = Pair(
        teacher=of_teacher,
        student=read_candidate(student),
        task=task or of_teacher.task,
        manifest=manifest,
    )
    fits = True
    for lines in _WITHOUT_WEIGHTS:
        for finding in lines(pair):
            fits = fits and finding.verdict != "error"
            yield finding
    if manifest is not None and fits:
        yield from scores(pair, split)
