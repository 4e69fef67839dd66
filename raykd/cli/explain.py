"""Document configuration keys: type, default and meaning, from the schema itself."""

import argparse
import os
import sys
import textwrap

from raykd.config.keys import KeyDoc, advice_for, key_docs
from raykd.errors import ConfigError

_WIDTH = 99


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments of ``raykd explain``."""
    parser.add_argument(
        "key", nargs="?", default="", metavar="KEY", help="a key or section, such as losses"
    )


def run(options: argparse.Namespace) -> int:
    """Print every key that begins with the given one."""
    wanted = options.key.split(".") if options.key else []
    found = [doc for doc in key_docs() if doc.begins_with(wanted)]
    if not found:
        message = f"{options.key}: no such key; {advice_for(options.key)}"
        raise ConfigError(message)
    try:
        print("\n".join(map(explanation, found)), flush=True)
    except BrokenPipeError:
        # The reader, such as head, has seen enough; Python's own flush at exit must not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


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
