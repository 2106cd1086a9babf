"""The secret with which a host joins a run: the key that the run proves to have, and one by which the host is let in.

It is made anew for each start of a run, lies in its directory with mode 0600, and goes to the other host by whatever
way its user trusts: scp, ssh, a shared file system. It is one line, of letters, digits, - and _.
"""

from __future__ import annotations

import base64
import binascii
import os
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from flow.carrier.curve import KeyPair
from flow.errors import ControlError

_KEY_SIZE = 32


@dataclass(frozen=True)
class JoinSecret:
    """server: the public key of the run, as Z85 text. own: the pair of who joins."""

    server: bytes
    own: KeyPair = field(repr=False)

    def line(self) -> str:
        """As it is written."""
        return base64.urlsafe_b64encode(z85.decode(self.server) + z85.decode(self.own.secret)).decode()

    def write(self, path: Path) -> None:
        """Write it where only this user can read it; what was there is replaced.

        Raises:
          OSError: it cannot be written.
        """
        unfinished = path.with_name(f".{path.name}.{os.getpid()}")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(f"{self.line()}\n")
        os.replace(unfinished, path)


def read_secret(source: str) -> JoinSecret:
    """The secret in a file, or on the first line of standard input where the source is "-".

    Raises:
      ControlError: there is none, or others can read it.
    """
    if source == "-":
        return parse_secret(sys.stdin.readline(), "standard input")
    path = Path(source)
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            raise ControlError(
                f"{path}: others can read this secret (mode {status.st_mode & 0o777:04o}), and so take part in the "
                f"run; chmod 600 {path}, and start the run again if somebody may have"
            )
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise ControlError(
            f"{path}: the secret cannot be read: {reason}; `flow run` writes it into the run's directory as "
            "join.secret: copy it here, or give it to --secret - on standard input"
        ) from error
    return parse_secret(text, str(path))


def parse_secret(text: str, where: str) -> JoinSecret:
    """Raises `ControlError` where the text is none."""
    try:
        raw = base64.b64decode(text.strip(), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 2 * _KEY_SIZE:
        raise ControlError(
            f"{where}: expected the secret of a run, a line of 88 letters and digits, found {len(text.strip())} "
            "characters that are none; copy join.secret of the run's directory again"
        )
    secret = z85.encode(raw[_KEY_SIZE:])
    return JoinSecret(z85.encode(raw[:_KEY_SIZE]), KeyPair(zmq.curve_public(secret), secret))
