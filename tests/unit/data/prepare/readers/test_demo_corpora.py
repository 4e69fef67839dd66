import unicodedata
from collections import Counter

from raykd.data.prepare.readers.demo_corpora import demo_rows


def test_names_are_those_of_many_languages_scripts_and_sizes() -> None:
    rows = demo_rows("cldr-names")
    sizes = {str(some.languages[0]): len(some.texts) for some in rows if some.languages}
    assert len(sizes) == len(rows) >= 25
    assert min(sizes.values()) * 5 < max(sizes.values())
    letters = (str(some.texts[0])[0] for some in rows)
    scripts = Counter(unicodedata.name(letter).split()[0] for letter in letters)
    assert {"LATIN", "CYRILLIC", "ARABIC", "DEVANAGARI"} <= set(scripts)


def test_no_name_has_two_kinds_within_a_language() -> None:
    for some in demo_rows("cldr-names"):
        assert len(set(some.texts)) == len(some.texts)
    (english,) = (
        some for some in demo_rows("cldr-names") if some.languages == ["en"] * len(some.texts)
    )
    kinds = dict(zip(english.texts, english.labels or [], strict=True))
    assert kinds["Germany"] == "territory"
    assert kinds["German"] == "language"
    assert "Tamil" not in kinds  # a language and a script


def test_splitting_names_by_a_hash_leaves_none_in_two_splits() -> None:
    splits: dict[str, set[str]] = {}
    for some in demo_rows("cldr-names"):
        for index, text in enumerate(some.texts):
            split = some.split_of(index, validation_fraction=0.1)
            splits.setdefault(split, set()).add(str(text))
    assert not splits["train"] & splits["validation"]
    total = sum(map(len, splits.values()))
    assert 0.08 < len(splits["validation"]) / total < 0.12


def test_the_documentation_is_several_megabytes_without_duplicates() -> None:
    rows = demo_rows("stdlib-docs")
    texts = [text for some in rows for text in some.texts]
    assert len(set(texts)) == len(texts)
    assert sum(some.size for some in rows) > 2_000_000
    sizes = Counter[str]()
    for some in rows:
        sizes[some.split] += some.size
    assert 0.02 < sizes["validation"] / sizes.total() < 0.10


def test_the_corpora_are_the_same_every_time() -> None:
    before = demo_rows("cldr-names"), demo_rows("stdlib-docs")
    demo_rows.cache_clear()
    assert (demo_rows("cldr-names"), demo_rows("stdlib-docs")) == before
