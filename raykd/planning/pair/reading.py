"""Whether two models read the same text as the same ids, and score the same things."""

from collections.abc import Iterator, Mapping
from typing import Any

from raykd.errors import ModelError
from raykd.models.families import num_positions
from raykd.models.labels import assumed_order, class_order, is_unnamed, label_list
from raykd.planning.pair.candidate import Candidate
from raykd.planning.pair.finding import Judgement, Pair, PairFinding

_ROLES = ("pad", "bos", "eos", "mask", "cls", "sep")


def family(pair: Pair) -> Iterator[PairFinding]:
    """Compare the families, and whether they serve the task."""
    types = [candidate.config.model_type for candidate in (pair.teacher, pair.student)]
    unfit = [c.config.model_type for c in (pair.teacher, pair.student) if not c.serves(pair.task)]
    yield PairFinding(
        name="family",
        teacher=types[0],
        student=types[1],
        verdict="error" if unfit else "ok",
        advice=f"{unfit[0]} models do not serve {pair.task}: name another --task or model"
        if unfit
        else f"for {pair.task}",
    )


def tokenizer(pair: Pair) -> Iterator[PairFinding]:
    """Compare the fingerprints of the tokenizers beside the models, and of the data's."""
    verdict, advice = _judged_tokenizers(pair)
    yield PairFinding(
        name="tokenizer",
        teacher=(pair.teacher.fingerprint or "none beside it")[:14],
        student=(pair.student.fingerprint or "none beside it")[:14],
        verdict=verdict,
        advice=advice,
    )


def special_ids(pair: Pair) -> Iterator[PairFinding]:
    """Compare the special ids, of the tokenizers and of the configurations."""
    candidates = (pair.teacher, pair.student)
    own = [_ids(candidate.tokenizer) for candidate in candidates]
    configured = [_ids(candidate.config) for candidate in candidates]
    clashing = _clashing(*own)
    yield PairFinding(
        name="special ids",
        teacher=_listed(own[0]),
        student=_listed(own[1]),
        verdict="warning" if clashing else "ok",
        advice=f"{', '.join(clashing)} differ: rows end, or are padded, in two ways"
        if clashing
        else "",
    )
    wrong = [
        f"{candidate.source} ({', '.join(roles)})"
        for candidate, mine, theirs in zip(candidates, own, configured, strict=True)
        if (roles := _clashing(mine, theirs))
    ]
    yield PairFinding(
        name="ids in config.json",
        teacher=_listed(configured[0]),
        student=_listed(configured[1]),
        verdict="warning" if wrong else "ok",
        advice=f"not those of the tokenizer beside it: {', '.join(wrong)}; mend config.json"
        if wrong
        else "",
    )


def vocabulary(pair: Pair) -> Iterator[PairFinding]:
    """Compare the padded vocabularies with the entries of the tokenizer."""
    sizes = [candidate.config.vocab_size for candidate in (pair.teacher, pair.student)]
    verdict, advice = _judged_vocabularies(pair, sizes)
    yield PairFinding(
        name="vocabulary",
        teacher=f"{sizes[0]:,}",
        student=f"{sizes[1]:,}",
        verdict=verdict,
        advice=advice,
    )


def context(pair: Pair) -> Iterator[PairFinding]:
    """Compare the longest rows that the models read with each other and with the data's."""
    made_for = [_made_for(candidate) for candidate in (pair.teacher, pair.student)]
    verdict, advice = _judged_lengths(pair, made_for)
    yield PairFinding(
        name="context",
        teacher=f"{made_for[0]:,} tokens",
        student=f"{made_for[1]:,} tokens",
        verdict=verdict,
        advice=advice,
    )


def labels(pair: Pair) -> Iterator[PairFinding]:
    """Compare the classes, by name, with the data's or with each other."""
    if not pair.classifies:
        return
    teacher, student = (label_list(c.config) for c in (pair.teacher, pair.student))
    verdict, advice = _judged_labels(
        pair, pair.labels or (teacher if is_unnamed(student) else student)
    )
    yield PairFinding(
        name="labels",
        teacher=", ".join(teacher),
        student=", ".join(student),
        verdict=verdict,
        advice=advice,
    )


def _judged_tokenizers(pair: Pair) -> Judgement:
    found = {"teacher": pair.teacher.fingerprint, "student": pair.student.fingerprint}
    known = {name: value for name, value in found.items() if value is not None}
    lacking = [name for name in found if name not in known]
    if pair.manifest is not None:
        known["data"] = pair.manifest.tokenizer.fingerprint
    if len(set(known.values())) > 1:
        return "error", (
            f"{', '.join(known)} do not agree: {_disagreement(pair)}; take models of one "
            "tokenizer, and prepare the data with it"
        )
    if lacking:
        named = " and the ".join(lacking)
        return "warning", f"nothing proves that the ids of the {named} mean the same"
    return "ok", f"{', '.join(known)} agree"


def _judged_vocabularies(pair: Pair, sizes: list[int]) -> Judgement:
    needed = pair.vocab_size
    if needed is None:
        if sizes[0] == sizes[1]:
            return "ok", ""
        return "warning", "no tokenizer says how much of each is padding"
    if min(sizes) < needed:
        return "error", (
            f"the tokenizer has {needed:,} entries, more than a model has embeddings: take models "
            "of this tokenizer"
        )
    if max(sizes) > needed and not pair.classifies:
        return "ok", f"sliced to the tokenizer's {needed:,}"
    return "ok", f"the tokenizer has {needed:,}"


def _judged_lengths(pair: Pair, made_for: list[int]) -> Judgement:
    longest = pair.longest_row
    limits = [num_positions(candidate.config) for candidate in (pair.teacher, pair.student)]
    shortest = min((limit for limit in limits if limit is not None), default=None)
    if longest is not None and shortest is not None and shortest < longest:
        return "error", (
            f"the data's longest row has {longest:,} tokens: prepare it with --max-length "
            f"{shortest}"
        )
    if longest is None and made_for[0] != made_for[1]:
        return "warning", f"keep rows within {min(made_for):,} tokens, as both can read those"
    if longest is not None and min(made_for) < longest:
        return "warning", (
            f"the data's longest row has {longest:,} tokens: more than one of the two was made for"
        )
    return "ok", "" if longest is None else f"the data's longest row has {longest:,}"


def _judged_labels(pair: Pair, expected: tuple[str, ...]) -> Judgement:
    try:
        order = class_order(pair.teacher.config, expected, where=pair.teacher.source)
    except ModelError as error:
        return "error", str(error)
    try:
        class_order(pair.student.config, expected, where=pair.student.source)
    except ModelError:
        return "warning", "the student has other classes: its head starts at random"
    if remark := assumed_order(pair.teacher.config, expected, where=pair.teacher.source):
        return "warning", remark
    return "ok", "the teacher's are mapped by name" if order else "in the same order"


def _disagreement(pair: Pair) -> str:
    of_teacher, of_student = pair.teacher.tokenizer, pair.student.tokenizer
    if of_teacher is None or of_student is None:
        return "not the data's tokenizer"
    mine, theirs = of_teacher.get_vocab(), of_student.get_vocab()
    if mine == theirs:
        return "the same tokens, but other special ids, or text is cut in another way"
    return f"{sum(theirs.get(token) != index for token, index in mine.items()):,} ids differ"


def _ids(of: Any | None) -> dict[str, int]:
    """Return the special ids that a tokenizer or a configuration has, by role."""
    ids = {role: getattr(of, f"{role}_token_id", None) for role in _ROLES}
    return {role: index for role, index in ids.items() if isinstance(index, int)}


def _clashing(mine: Mapping[str, int], theirs: Mapping[str, int]) -> list[str]:
    return [role for role, index in mine.items() if theirs.get(role, index) != index]


def _listed(ids: Mapping[str, int]) -> str:
    return ", ".join(f"{role} {index}" for role, index in ids.items()) or "-"


def _made_for(candidate: Candidate) -> int:
    """Return the longest row that a model was made for; rotary positions go on from there."""
    return num_positions(candidate.config) or int(candidate.config.max_position_embeddings)
