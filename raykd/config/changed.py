"""Which keys of two configurations differ."""

from collections.abc import Iterator


def changed_keys(
    before: dict[str, object], after: dict[str, object], parent: str = ""
) -> Iterator[tuple[str, tuple[object, object]]]:
    """Yield the keys whose values differ, as deep as both are sections, with both values.

    Args:
        before: One configuration, as plain values.
        after: The other.
        parent: Key of the section that both are, ending in a dot; empty for whole files.
    """
    for name in dict.fromkeys((*before, *after)):
        old, new, key = before.get(name), after.get(name), f"{parent}{name}"
        if isinstance(old, dict) and isinstance(new, dict):
            yield from changed_keys(old, new, f"{key}.")
        elif old != new:
            yield key, (old, new)
