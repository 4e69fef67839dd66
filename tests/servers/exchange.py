"""One connection of the proxy: reads a request, lets it meet its fault or passes it on."""

import http.client
import socket
import struct
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING

from tests.servers.faults import (
    Answer,
    Fault,
    Hold,
    Lost,
    Reset,
    Shortened,
    Slow,
    Truncated,
)
from tests.servers.ports import HOST

if TYPE_CHECKING:
    from tests.servers.proxy import Listener

_HOP_BY_HOP = {"connection", "content-length", "expect", "transfer-encoding"}

_LINGER_NOT = struct.pack("ii", 1, 0)
"""With this, closing a socket sends a reset and drops what was not sent."""

_HOLD_LIMIT_SECONDS = 60.0
_SLICES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class _Response:
    status: int
    headers: list[tuple[str, str]]
    body: bytes
    promised_bytes: int
    """The length that the header names; more than the body has for HEAD."""


class Exchange(BaseHTTPRequestHandler):
    """Handles the requests of one connection, one after the other."""

    protocol_version = "HTTP/1.1"
    server: "Listener"

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, http.client.HTTPException):
            # The client or the server has gone: the other side is to see that it has.
            self._reset()

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
        """The proxy's log is ``Proxy.requests``."""

    def _exchange(self) -> None:
        fault = self.server.proxy.judge(self.command, self.path)
        if isinstance(fault, Reset):
            self.rfile.read(int(self._length() * fault.after_share))
            self._reset()
        else:
            self._answer(fault, self._body(fault))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _exchange

    def _answer(self, fault: Fault | None, body: bytes) -> None:
        if isinstance(fault, Answer):
            self._send(_injected(fault))
            return
        if isinstance(fault, Hold):
            fault.reached.set()
            fault.released.wait(_HOLD_LIMIT_SECONDS)
        response = self._upstream(body)
        match fault:
            case Lost():
                self._reset()
            case Truncated():
                self._send(response, share=fault.share)
                self.close_connection = True
            case Shortened():
                self._send(_shortened(response, fault.share))
            case Slow():
                self._send(response, seconds=fault.seconds / 2)
            case _:
                self._send(response)

    def _length(self) -> int:
        return int(self.headers.get("Content-Length") or 0)

    def _body(self, fault: Fault | None) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            return self._chunks()
        if isinstance(fault, Slow):
            half = self.rfile.read(self._length() // 2)
            _pause(fault.seconds / 2)
            return half + self.rfile.read(self._length() - len(half))
        return self.rfile.read(self._length())

    def _chunks(self) -> bytes:
        body = bytearray()
        while size := int(self.rfile.readline().split(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        return bytes(body)

    def _upstream(self, body: bytes) -> _Response:
        connection = http.client.HTTPConnection(HOST, self.server.upstream_port, timeout=60)
        try:
            # The signature covers the host that the client named: it is passed on as it is.
            headers = {k: v for k, v in self.headers.items() if k.lower() not in _HOP_BY_HOP}
            if body or self.command in ("PUT", "POST"):
                headers["Content-Length"] = str(len(body))
            connection.request(self.command, self.path, body or None, headers)
            response = connection.getresponse()
            content = response.read()
            length = response.getheader("Content-Length") if self.command == "HEAD" else None
            return _Response(
                status=response.status,
                headers=[h for h in response.getheaders() if h[0].lower() not in _HOP_BY_HOP],
                body=content,
                promised_bytes=int(length or len(content)),
            )
        finally:
            connection.close()

    def _send(self, response: _Response, *, share: float = 1.0, seconds: float = 0.0) -> None:
        self.send_response_only(response.status)  # date and server are in the headers
        for name, value in response.headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(response.promised_bytes))
        self.end_headers()
        body = b"" if self.command == "HEAD" else response.body
        sent = body[: int(len(body) * share)]
        step = len(sent) // (_SLICES if seconds else 1) + 1
        for start in range(0, len(sent), step):
            _pause(seconds / _SLICES)
            self.wfile.write(sent[start : start + step])

    def _reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
        self.close_connection = True


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def _injected(fault: Answer) -> _Response:
    text = f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error>"
    body = f'<?xml version="1.0" encoding="UTF-8"?>{text}'.encode()
    headers = [("Content-Type", "application/xml"), *([fault.header] if fault.header else [])]
    return _Response(status=fault.status, headers=headers, body=body, promised_bytes=len(body))


def _shortened(response: _Response, share: float) -> _Response:
    body = response.body[: int(len(response.body) * share)]
    return _Response(
        status=response.status, headers=response.headers, body=body, promised_bytes=len(body)
    )
