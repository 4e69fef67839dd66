"""What a proxy does to a request instead of passing it on, and the kinds of requests of S3."""

import re
import threading
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """Answer with an error of S3; the server never sees the request."""

    status: int
    code: str
    message: str = "injected by the test"
    header: tuple[str, str] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reset:
    """Reset the connection after this share of the request's body was taken."""

    after_share: float = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """Let the server do what is asked, then reset the connection instead of answering."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncated:
    """Promise the whole body of the answer, send this share of it and hang up."""

    share: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Shortened:
    """Send this share of the body of the answer as if that were all: HTTP sees no fault."""

    share: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Slow:
    """Let bodies, there and back, take this long."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Hold:
    """Pass the request on only once the test says so."""

    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


Fault = Answer | Reset | Lost | Truncated | Shortened | Slow | Hold

SLOW_DOWN = Answer(status=503, code="SlowDown")
INTERNAL_ERROR = Answer(status=500, code="InternalError")
DENIED = Answer(status=403, code="AccessDenied")
EXPIRED = Answer(status=400, code="ExpiredToken")
SKEWED = Answer(status=403, code="RequestTimeTooSkewed")
BAD_SIGNATURE = Answer(status=403, code="SignatureDoesNotMatch")
UNKNOWN_KEY = Answer(status=403, code="InvalidAccessKeyId")
NO_BUCKET = Answer(status=404, code="NoSuchBucket")


@dataclass(kw_only=True, slots=True)
class Rule:
    """Which requests meet a fault, and how often."""

    fault: Fault
    on: re.Pattern[str]
    """Searched in lines such as ``UploadPart PUT /bucket/key?partNumber=1&uploadId=x``."""

    skip: int = 0
    times: int | None = 1
    """How many requests at most; None: all."""

    probability: float = 1.0


def operation(method: str, target: str) -> str:
    """Name a request as S3 does."""
    parts = urlsplit(target)
    query = parse_qs(parts.query, keep_blank_values=True)
    has_key = "/" in parts.path.strip("/")
    return _of_uploads(method, query) or (_OF_KEYS if has_key else _OF_BUCKETS).get(
        method if "delete" not in query else "POST ?delete", f"{method}Other"
    )


def _of_uploads(method: str, query: dict[str, list[str]]) -> str | None:
    if "uploads" in query:
        return {"GET": "ListMultipartUploads", "POST": "CreateMultipartUpload"}.get(method)
    if "uploadId" in query:
        return {
            "PUT": "UploadPart",
            "POST": "CompleteMultipartUpload",
            "DELETE": "AbortMultipartUpload",
            "GET": "ListParts",
        }.get(method)
    return None


_OF_KEYS = {
    "GET": "GetObject",
    "HEAD": "HeadObject",
    "PUT": "PutObject",
    "DELETE": "DeleteObject",
}

_OF_BUCKETS = {
    "GET": "ListObjects",
    "HEAD": "HeadBucket",
    "PUT": "CreateBucket",
    "DELETE": "DeleteBucket",
    "POST ?delete": "DeleteObjects",
}
