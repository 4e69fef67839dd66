"""Real text that every machine has: no download, nothing copied into the repository.

``stdlib-docs`` is English prose about Python: the docstrings and comments of the standard
library and the topics of ``help()``. ``cldr-names`` is what the Unicode CLDR (through the
``babel`` package) calls languages, territories, currencies and more in 38 languages; the class
of a name is the kind of thing that it names.
"""

import ast
import functools
import inspect
import re
import sys
import sysconfig
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import babel
from babel import Locale

from raykd.config.schema.prepare import TRAIN, VALIDATION, Demo
from raykd.data.prepare.raw_rows import RawRows, hash_share

LOCALES = (
    "am",
    "ar",
    "bg",
    "bn",
    "bo",
    "ckb",
    "cs",
    "de",
    "el",
    "en",
    "es",
    "fa",
    "fi",
    "fr",
    "haw",
    "he",
    "hi",
    "hy",
    "id",
    "it",
    "ja",
    "ka",
    "ko",
    "ln",
    "mt",
    "nl",
    "pl",
    "pt",
    "ru",
    "se",
    "sw",
    "ta",
    "th",
    "tr",
    "uk",
    "vi",
    "yo",
    "zh",
)

_VALIDATION_FRACTION = 0.05
_MIN_CHARACTERS = 40
"""Shorter docstrings and comments are hardly prose."""

_TEST_DIRECTORIES = {"test", "tests", "idle_test", "site-packages", "dist-packages"}
_COMMENT_BLOCK = re.compile(r"(?:^[ \t]*#[^\n]*\n){2,}", re.MULTILINE)


def demo_identity(demo: Demo) -> str:
    """Name what the corpus is made from: equal identities give equal rows."""
    if demo == "stdlib-docs":
        return f"{demo} of Python {sys.version}"
    return f"{demo} of babel {babel.__version__}"


@functools.cache
def demo_rows(demo: Demo) -> tuple[RawRows, ...]:
    """Return a demo corpus, each text once."""
    return tuple(_standard_library_rows() if demo == "stdlib-docs" else _name_rows())


def _standard_library_rows() -> Iterator[RawRows]:
    seen: set[str] = set()
    for uri, texts in _documents():
        fresh = [text for text in dict.fromkeys(texts) if text not in seen]
        seen.update(fresh)
        if fresh:
            split = VALIDATION if hash_share(uri) < _VALIDATION_FRACTION else TRAIN
            yield RawRows(
                split=split,
                uri=uri,
                unit="text",
                numbers=range(1, len(fresh) + 1),
                texts=list(fresh),
                languages=["en"] * len(fresh),
            )


def _documents() -> Iterator[tuple[str, list[str]]]:
    root = Path(sysconfig.get_path("stdlib"))
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if not _TEST_DIRECTORIES.intersection(name.parts):
            yield name.as_posix(), _texts_of_module(path.read_bytes())
    # Imported here: half a megabyte of text that nothing else needs.
    from pydoc_data.topics import topics  # noqa: PLC0415

    for topic in sorted(topics):
        yield f"pydoc_data/topics.py:{topic}", [topics[topic].strip()]


def _texts_of_module(source: bytes) -> list[str]:
    """Return docstrings and blocks of comments; none for a file that is no Python 3."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about escapes in the strings of other people's code
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):
            return []
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    nodes = (node for node in ast.walk(tree) if isinstance(node, documented))
    docstrings = (ast.get_docstring(node) or "" for node in nodes)
    blocks = _COMMENT_BLOCK.findall(source.decode("utf-8", "replace"))
    comments = (
        "\n".join(line.strip().lstrip("#").strip() for line in block.splitlines())
        for block in blocks
    )
    texts = [inspect.cleandoc(text) for text in (*docstrings, *comments)]
    return [text for text in texts if len(text) >= _MIN_CHARACTERS and "\ufffd" not in text]


def _name_rows() -> Iterator[RawRows]:
    for language in LOCALES:
        kinds: dict[str, set[str]] = {}
        for kind, name in _names(Locale.parse(language)):
            kinds.setdefault(" ".join(name.split()), set()).add(kind)
        # "Rand" is a currency and nothing else, "Tamil" a language and a script: those are left.
        clear = {
            name: next(iter(its_kinds)) for name, its_kinds in kinds.items() if len(its_kinds) == 1
        }
        yield RawRows(
            split=TRAIN,
            uri=f"cldr/{language}",
            unit="name",
            numbers=range(1, len(clear) + 1),
            texts=list(clear),
            labels=list(clear.values()),
            languages=[language] * len(clear),
        )


def _names(locale: Locale) -> Iterator[tuple[str, str]]:
    """Yield (kind, name); names that CLDR has not translated are their own code, and left out."""
    for kind, names in (
        ("language", locale.languages),
        ("territory", locale.territories),
        ("script", locale.scripts),
        ("currency", locale.currencies),
    ):
        yield from ((kind, names[code]) for code in sorted(names) if names[code] != code)
    for kind, periods in (("month", locale.months), ("weekday", locale.days)):
        for context in ("format", "stand-alone"):
            names = periods[context]["wide"]
            yield from ((kind, names[number]) for number in sorted(names))
    yield from (("city", name) for name in _nested(locale.time_zones, "city"))
    yield from (("unit", name) for name in _nested(locale.unit_display_names, "long"))
    for forms in _nested(locale.meta_zones, "long"):
        yield from (("time zone", forms[form]) for form in sorted(forms))


def _nested(entries: Mapping[str, Any], form: str) -> list[Any]:
    """Return one form of each entry that has it."""
    return [entries[code][form] for code in sorted(entries) if entries[code].get(form)]
