"""Who may speak to a worker over TCP: CURVE keys made for one run, and a gatekeeper that knows them.

Without a handler of ZAP a CURVE server accepts every key; with ZAP_ENFORCE_DOMAIN it accepts none. So whatever
becomes of the gatekeeper, nobody unknown gets in. It has a thread of its own: one that answered from the loop would
keep every new peer waiting while a node computes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import zmq
from zmq.utils import z85

_ZAP = "inproc://zeromq.zap.01"
DOMAIN = b"flow"
HANDSHAKE_MS = 3000
# A peer is given up when it has not answered a ping for so long; libzmq then connects again.
HEARTBEAT_MS, HEARTBEAT_TIMEOUT_MS = 1000, 5000
CONNECT_MS = 3000
# Doubled at each try up to the second, with a random part of the first on top.
RECONNECT_MS, RECONNECT_MAX_MS = 50, 2000
_SAID_MAX = 100
# Two workers that are told of each other may meet before both have heard; who is let in by then was only early.
EARLY_MS = 500


@dataclass(frozen=True)
class KeyPair:
    """A CURVE key pair, as Z85 text."""

    public: bytes
    secret: bytes = field(repr=False)

    @staticmethod
    def make() -> KeyPair:
        return KeyPair(*zmq.curve_keypair())


@dataclass(frozen=True)
class Address:
    """Where a worker listens for others of its run, and the key it proves to have."""

    endpoint: str
    key: bytes


def be_server(socket: zmq.Socket[bytes], own: KeyPair) -> None:
    """Let in those alone whom the context's gatekeeper knows."""
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, DOMAIN)
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    _watch(socket)


def be_client(socket: zmq.Socket[bytes], own: KeyPair, server: bytes) -> None:
    """Speak to the holder of that key alone."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, server)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, own.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL, RECONNECT_MS)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, RECONNECT_MAX_MS)
    _watch(socket)


def _watch(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, HEARTBEAT_TIMEOUT_MS)


class Gatekeeper:
    """Answers, for all sockets of a context, whether a key may come in. It ends with the context.

    refused: how many handshakes were refused.
    """

    def __init__(self, sockets: zmq.Context[zmq.Socket[bytes]], log: Callable[[str], None]) -> None:
        """log: told of who is refused, from the gatekeeper's thread."""
        self.refused = 0
        self._log = log
        self._names: dict[bytes, str] = {}
        self._unsaid: list[tuple[float, bytes, bytes]] = []
        self._socket = sockets.socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.bind(_ZAP)
        self._thread = threading.Thread(target=self._answer, name="gatekeeper", daemon=True)
        self._thread.start()

    def allow(self, worker: str, key: bytes) -> None:
        """Let a worker in by this key, and no longer by one it had before."""
        names = {known: name for known, name in self._names.items() if name != worker}
        self._names = {**names, key: worker}  # as a whole: the thread reads it

    def _answer(self) -> None:
        try:
            while True:
                if self._socket.poll(EARLY_MS if self._unsaid else None):
                    self._socket.send_multipart(self._judge(self._socket.recv_multipart()))
                self._say(time.monotonic() - EARLY_MS / 1000)
        except zmq.ContextTerminated:
            self._socket.close()

    def _say(self, before: float) -> None:
        """Tell of who was refused before that time and is unknown still."""
        while self._unsaid and self._unsaid[0][0] <= before:
            _, key, address = self._unsaid.pop(0)
            if key not in self._names:
                where = address.decode(errors="replace")
                self._log(f"refused a connection from {where}: its key is none of this run's")

    def _judge(self, asked: list[bytes]) -> list[bytes]:
        """The reply to a request of ZAP (RFC 27)."""
        version, request, domain, address, _, mechanism, *credentials = asked
        key, name = b"", None
        if domain == DOMAIN and mechanism == b"CURVE" and len(credentials) == 1:
            key = z85.encode(credentials[0])
            name = self._names.get(key)
        if name is not None:
            return [version, request, b"200", b"OK", name.encode(), b""]
        self.refused += 1
        if self.refused <= _SAID_MAX:  # one who knocks for ever must not fill the disk
            self._unsaid.append((time.monotonic(), key, address))
        # Not 400: a peer that was told so would never try again, and may only be early.
        return [version, request, b"300", b"unknown key", b"", b""]
