"""Credentials do not belong in a configuration: it is printed, logged and kept with the results.

The environment or a profile gives them to the store or the server that asks.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath

from raykd.errors import ConfigError

# One slash is what is left of a URI that became a path. A port is no password: host:5000/x. An
# account alone is no credential, as in abfs://container@account, but for HTTP, where it may be a
# token.
_PASSWORD = re.compile(r"\w:/{1,2}[^/@\s:\[]*:(?!\d*(?:/|$))[^@\s]*@")
_HTTP_USER = re.compile(r"https?:/{1,2}[^/@\s]+@")
_SIGNATURE = re.compile(
    r"[?&](?:X-(?:Amz|Goog)-(?:Signature|Security-Token)|AWSAccessKeyId|Signature|sig|"
    r"access_token|token|password)=",
    re.IGNORECASE,
)


def has_credentials(text: str) -> bool:
    """Tell whether a URI in a text has a password, a token or a signature in it."""
    return any(pattern.search(text) for pattern in (_PASSWORD, _HTTP_USER, _SIGNATURE))


def refuse_credentials(given: object, *, origin: str) -> None:
    """Check that no text in nested mappings and sequences carries credentials.

    Raises:
        ConfigError: One does; the message names its place and does not repeat it.
    """
    if places := [place for place, text in _texts(given, "") if has_credentials(text)]:
        message = (
            f"{origin}: {', '.join(places)}: a URI with credentials in it, which would be kept "
            "with the results; take them out and set them in the environment of raykd "
            "(AWS_ACCESS_KEY_ID, MLFLOW_TRACKING_PASSWORD, ...) or in a profile (AWS_PROFILE)"
        )
        raise ConfigError(message)


def refuse_in_overrides(overrides: Sequence[str]) -> None:
    """Check overrides, before any complaint about them repeats them.

    Raises:
        ConfigError: As ``refuse_credentials``.
    """
    refuse_credentials(dict(one.partition("=")[::2] for one in overrides), origin="overrides")


def _texts(given: object, place: str) -> Iterator[tuple[str, str]]:
    """Yield every text with its place: keys too, which name no place if they are secret."""
    if isinstance(given, str | PurePath):
        yield place, str(given)
    elif isinstance(given, Mapping):
        for name, value in given.items():
            # A message that repeats a secret puts it into logs, and logs are kept.
            is_secret = has_credentials(str(name))
            inner = f"{place}.".lstrip(".") + ("(a key)" if is_secret else str(name))
            if is_secret:
                yield inner, str(name)
            yield from _texts(value, inner)
    elif isinstance(given, list | tuple):
        for index, value in enumerate(given):
            yield from _texts(value, f"{place}[{index}]")
