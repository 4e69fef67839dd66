"""Document configuration keys: type, default and meaning, from the schema itself."""

import argparse
import textwrap

from raykd.config.keys import KeyDoc, Schema, advice_for, key_docs
from raykd.config.schema.run import RunConfig
from raykd.config.schema.sweep import SweepConfig
from raykd.errors import ConfigError

_WIDTH = 99


def run(options: argparse.Namespace) -> int:
    """Print every key that begins with the given one."""
    schema = SweepConfig if options.sweep else RunConfig
    docs = _docs_below(options.key, schema)
    if not docs:
        message = f"{options.key}: no such key; {_advice(options.key, schema)}"
        raise ConfigError(message)
    print("\n".join(map(explanation, docs)))
    return 0


def _docs_below(key: str, schema: Schema) -> list[KeyDoc]:
    """Return a key of a file and all keys in it; every key where it is empty."""
    wanted = key.split(".") if key else []
    docs = key_docs(schema)  # type: ignore[arg-type]  # a class is hashable
    return [doc for doc in docs if doc.begins_with(wanted)]


def _advice(unknown: str, schema: Schema) -> str:
    """Say where a key is known, in the other kind of file or under another name."""
    if schema is RunConfig and _docs_below(unknown, SweepConfig):
        return f"it belongs to a sweep: raykd explain --sweep {unknown}"
    if schema is SweepConfig and _docs_below(unknown, RunConfig):
        return f"it belongs to a run: raykd explain {unknown}"
    return advice_for(unknown, schema)


def explanation(doc: KeyDoc) -> str:
    """Return what is known of a key, the key itself on the first line."""
    facts = [doc.type_name]
    if doc.default is not None:
        facts.append(f"default {doc.default}")
    elif doc.is_required:
        facts.append("required")
    text = textwrap.fill(
        " ".join(doc.text.split()), width=_WIDTH, initial_indent="    ", subsequent_indent="    "
    )
    return f"{doc.key}  ({', '.join(facts)})\n{text}"
