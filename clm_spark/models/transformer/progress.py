"""How far a training is: a line per epoch in the log, and a bar where standard error is a terminal.

Rank 0 tells the driver by a connection of its own: what ranks print comes to the driver late, and mixed.
"""

import json
import logging
import secrets
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.progress import Progress

LONGEST_WAIT = 5.0  # seconds for a connection: progress is told where it can be, and never holds a training up

log = logging.getLogger(__name__)


class DriverProgress:
    """What rank 0 says, on the driver."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.passes = bar.add_task("training", total=1.0)

    def tell(self, line: str) -> None:
        """A line for the log."""
        log.info("%s", line)

    def show(self, share: float) -> None:
        """The share of all passes that is made."""
        self.bar.update(self.passes, completed=share)


@dataclass(frozen=True)
class DriverAddress:
    """Where the driver listens, and the token by which it knows its ranks."""

    host: str
    port: int
    token: str


class Reporter:
    """Tells the driver from another process; says nothing once it cannot be heard."""

    def __init__(self, address: DriverAddress) -> None:
        self.stream: Any = None
        with suppress(OSError):
            connection = socket.create_connection((address.host, address.port), timeout=LONGEST_WAIT)
            self.stream = connection.makefile("w", encoding="utf-8")
            self._say(address.token)

    def tell(self, line: str) -> None:
        """A line for the driver's log."""
        self._say({"line": line})

    def show(self, share: float) -> None:
        """The share of all passes that is made."""
        self._say({"share": share})

    def _say(self, what: Any) -> None:
        if self.stream is None:
            return
        try:
            self.stream.write(f"{json.dumps(what)}\n")
            self.stream.flush()
        except OSError:
            self.stream = None


@contextmanager
def telling() -> Iterator[DriverProgress]:
    """For a training in this process; the bar is gone when it is over."""
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        yield DriverProgress(bar)


@contextmanager
def listening(host: str) -> Iterator[DriverAddress]:
    """For ranks of other processes, which reach this one by `host`."""
    with telling() as told:
        token = secrets.token_hex(16)

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                with suppress(OSError, ValueError, KeyError, TypeError):
                    if json.loads(self.rfile.readline(100)) == token:
                        for said in map(json.loads, self.rfile):
                            told.tell(str(said["line"])) if "line" in said else told.show(float(said["share"]))

        is_here = host in ("localhost", "127.0.0.1")
        with socketserver.ThreadingTCPServer(("127.0.0.1" if is_here else "", 0), Handler) as server:
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
            try:
                yield DriverAddress(host, server.server_address[1], token)
            finally:
                server.shutdown()
