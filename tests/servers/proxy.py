"""A proxy in front of an S3 server that breaks chosen requests, and logs them all.

Bodies are passed on as a whole: it serves tests, not throughput. It answers on its own port for
its whole life; during an outage connections to it are refused and those it has are reset.
"""

import random
import re
import socket
import threading
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer

from tests.servers.exchange import Exchange
from tests.servers.faults import Fault, Hold, Rule, operation
from tests.servers.ports import HOST, number_of, reserve_port

_POLL_SECONDS = 0.02

_REMEMBERED_REQUESTS = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A request as the proxy saw it."""

    line: str
    """Such as ``UploadPart PUT /bucket/key?partNumber=1&uploadId=x``."""

    fault: Fault | None


class Proxy:
    """Passes requests to a server's port, except those that a rule names."""

    def __init__(self, upstream_port: int, *, seed: int = 0) -> None:
        self.requests: deque[Request] = deque(maxlen=_REMEMBERED_REQUESTS)
        self._upstream_port = upstream_port
        self._rules: list[Rule] = []
        self._random = random.Random(seed)
        self._lock = threading.Lock()
        self._reserved = reserve_port()
        self._listener: Listener | None = None

    @property
    def endpoint(self) -> str:
        """The URL to give to clients."""
        return f"http://{HOST}:{number_of(self._reserved)}"

    def start(self) -> None:
        """Accept connections."""
        if self._listener is None:
            self._listener = Listener(self, number_of(self._reserved), self._upstream_port)
            arguments = {"poll_interval": _POLL_SECONDS}
            threading.Thread(
                target=self._listener.serve_forever, kwargs=arguments, daemon=True
            ).start()

    def stop(self) -> None:
        """Refuse connections, and reset those that there are."""
        if self._listener is not None:
            self._listener.shutdown()
            self._listener.server_close()
            self._listener.reset_connections()
            self._listener = None

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Let nobody reach the server for a while."""
        self.stop()
        yield
        self.start()

    def close(self) -> None:
        """Stop, let nobody wait any longer, and give the port back."""
        self.heal()
        self.stop()
        self._reserved.close()

    def inject(
        self,
        fault: Fault,
        *,
        on: str = "",
        skip: int = 0,
        times: int | None = 1,
        probability: float = 1.0,
    ) -> None:
        """Let requests meet a fault from here on; the first rule that fits counts.

        Args:
            fault: What happens to them.
            on: Regular expression searched in their line, see ``Request.line``.
            skip: How many that fit pass before the first is hit.
            times: How many are hit; None: all.
            probability: With which each that fits is hit, by the proxy's own seed.
        """
        pattern = re.compile(on)
        with self._lock:
            self._rules.append(
                Rule(fault=fault, on=pattern, skip=skip, times=times, probability=probability)
            )

    def heal(self) -> None:
        """Forget all rules; requests on hold go on."""
        with self._lock:
            rules, self._rules = self._rules, []
        for rule in rules:
            if isinstance(rule.fault, Hold):
                rule.fault.released.set()

    def count(self, pattern: str = "", *, faulty: bool | None = None) -> int:
        """Return how many requests had a line that fits, optionally only those with a fault."""
        with self._lock:
            seen = list(self.requests)
        return sum(
            bool(re.search(pattern, request.line)) and faulty in (None, request.fault is not None)
            for request in seen
        )

    def counts(self) -> Counter[str]:
        """Return how many requests of each kind were seen, such as ``UploadPart``."""
        with self._lock:
            return Counter(request.line.split()[0] for request in self.requests)

    def forget(self) -> None:
        """Empty the log of requests."""
        with self._lock:
            self.requests.clear()

    def judge(self, method: str, target: str) -> Fault | None:
        """Log a request and return what happens to it."""
        line = f"{operation(method, target)} {method} {target}"
        with self._lock:
            fault = next((r.fault for r in self._rules if self._hits(r, line)), None)
            self.requests.append(Request(line=line, fault=fault))
        return fault

    def _hits(self, rule: Rule, line: str) -> bool:
        if rule.times == 0 or not rule.on.search(line):
            return False
        if rule.skip:
            rule.skip -= 1
            return False
        if self._random.random() >= rule.probability:
            return False
        if rule.times is not None:
            rule.times -= 1
        return True


class Listener(ThreadingHTTPServer):
    """The proxy between two outages."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def __init__(self, proxy: Proxy, port: int, upstream_port: int) -> None:
        self.proxy = proxy
        self.upstream_port = upstream_port
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((HOST, port), Exchange)

    def get_request(self) -> tuple[socket.socket, tuple[str, int]]:
        connection, address = super().get_request()
        with self._lock:
            self._connections.add(connection)
        return connection, address

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]
        # The base class sends an orderly end of stream first, and resets would not be resets.
        with self._lock:
            self._connections.discard(request)
        self.close_request(request)

    def reset_connections(self) -> None:
        with self._lock:
            for connection in self._connections:
                with suppress(OSError):  # the client was faster
                    connection.shutdown(socket.SHUT_RDWR)
