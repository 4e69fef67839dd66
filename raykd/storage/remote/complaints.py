"""What an error of a store means: whether it passes, and in one sentence what to do about it."""

import asyncio
import errno
import re
from collections.abc import Iterator
from http import HTTPStatus

from aiohttp import ClientError as HttpError
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
)
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from raykd.errors import DiskFullError, StorageDeniedError, StorageError

ERRORS = (OSError, BotoCoreError, HttpError, asyncio.TimeoutError, ValueError, ImportError)
"""What file systems raise."""

_UNREACHABLE = (BotoConnectionError, HTTPClientError, HttpError, ConnectionError)
_PASSING = (*_UNREACHABLE, IncompleteReadError, ResponseParserError, asyncio.TimeoutError)
_PASSING_CODES = {
    # Both: the body was damaged or cut on the way.
    "BadDigest",
    "IncompleteBody",
    "InternalError",
    # An attempt at the same upload has aborted it: the next one begins anew.
    "NoSuchUpload",
    "RequestTimeout",
    "ServiceUnavailable",
    "SlowDown",
    "XAmzContentSHA256Mismatch",
}
_EXPIRED = "the credentials have expired: renew them"
_WRONG_KEY = "the server does not know the access key: check AWS_ACCESS_KEY_ID or AWS_PROFILE"
_WRONG_REGION = "the bucket is in another region: set AWS_REGION"
_DENIED = (
    "access is denied: these credentials may not do this; raykd reads, writes, lists and deletes"
)
_DENIALS = {
    # An answer to HEAD has no body, and so no code but the status.
    "400": "the store refuses and says no more: look for credentials that have expired",
    "403": _DENIED,
    "AccessDenied": _DENIED,
    "AllAccessDisabled": _DENIED,
    "AuthorizationHeaderMalformed": _WRONG_REGION,
    "ExpiredToken": _EXPIRED,
    "ExpiredTokenException": _EXPIRED,
    "Forbidden": _DENIED,
    "IllegalLocationConstraintException": _WRONG_REGION,
    "InvalidAccessKeyId": _WRONG_KEY,
    "InvalidToken": "the session token is wrong: check AWS_SESSION_TOKEN",
    "NoSuchBucket": "the bucket does not exist: create it, or name another",
    "PermanentRedirect": _WRONG_REGION,
    "RequestTimeTooSkewed": "the clock of this machine is wrong: set it, as NTP does",
    "SignatureDoesNotMatch": "the secret key is wrong: check AWS_SECRET_ACCESS_KEY",
    "TokenRefreshRequired": _EXPIRED,
}
_NO_CREDENTIALS = (NoCredentialsError, PartialCredentialsError, ProfileNotFound)
_USERINFO = re.compile(r"(\w+://)[^/@\s]*@")
_SIGNED = re.compile(r"(X-Amz-\w+|[Ss]ig|AWSAccessKeyId|Signature|[Tt]oken)=[^&\s'\"]+")


def is_transient(error: BaseException) -> bool:
    """Tell whether the same request may succeed later: throttling, timeouts, lost connections."""
    for cause in _chain(error):
        if isinstance(cause, ClientError):
            # What the server said decides, whatever s3fs has made of it.
            code, status = _answer(cause)
            return code in _PASSING_CODES or "Throttl" in code or _is_passing(status)
        if isinstance(cause, _PASSING) or _is_passing(getattr(cause, "status", None)):
            return True
    return False


def is_missing(error: BaseException) -> bool:
    """Tell whether an error says that nothing is at the URI, as opposed to no bucket."""
    return isinstance(error, FileNotFoundError) and _code(error) != "NoSuchBucket"


def complaint(uri: str, error: Exception) -> StorageError:
    """Return the error to raise for what a store complained about; without secrets."""
    uri = redacted(uri)
    if (code := _code(error)) in _DENIALS:
        return StorageDeniedError(f"{uri}: {_DENIALS[code]} ({code})")
    for cause in _chain(error):
        if isinstance(cause, _NO_CREDENTIALS):
            text = "there are no credentials: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret"
            return StorageDeniedError(f"{uri}: {text} ({redacted(str(cause))})")
        if isinstance(cause, _UNREACHABLE):
            text = "the store cannot be reached: check AWS_ENDPOINT_URL and the network"
            return StorageError(f"{uri}: {text} ({redacted(str(cause)) or type(cause).__name__})")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(
            f"{uri}: the disk is full: make room, then run the same command again"
        )
    kind = StorageDeniedError if isinstance(error, _PERMANENT) else StorageError
    hint = next((text for type_, text in _HINTS.items() if isinstance(error, type_)), "")
    return kind(f"{uri}: {type(error).__name__}: {redacted(str(error))}{hint}")


def redacted(text: str) -> str:
    """Return a text without the credentials that URLs in it carry."""
    return _SIGNED.sub(r"\1=***", _USERINFO.sub(r"\1***@", text))


_HINTS: dict[type[Exception], str] = {
    FlexibleChecksumError: "; the store sends the checksum of something else: unset "
    "AWS_RESPONSE_CHECKSUM_VALIDATION, or set it to when_required",
    PermissionError: "; access is denied to this user: change the mode or the owner",
    NotADirectoryError: "; a part of the path is a file: name another",
    ValueError: "; use a path, or a URI such as s3://bucket/key",
}
_PERMANENT = (PermissionError, NotADirectoryError, IsADirectoryError, ValueError, ImportError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: s3fs hides what the server said in them."""
    while error is not None:
        yield error
        error = error.__cause__


def _code(error: BaseException) -> str:
    return next((_answer(e)[0] for e in _chain(error) if isinstance(e, ClientError)), "")


def _answer(error: ClientError) -> tuple[str, int]:
    response = error.response
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return str(response.get("Error", {}).get("Code", "")), int(status)


def _is_passing(status: object) -> bool:
    return isinstance(status, int) and (
        status == HTTPStatus.TOO_MANY_REQUESTS
        or (status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.NOT_IMPLEMENTED)
    )
