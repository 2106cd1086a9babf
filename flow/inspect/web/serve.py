"""Serves the page of a run on this machine's loopback until it is interrupted."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, cast

import trio
from hypercorn.config import Config
from hypercorn.trio import serve as serve_application

from flow.errors import ControlError
from flow.inspect.web.access import Keys
from flow.inspect.web.app import Page
from flow.inspect.web.frames import Frames
from flow.run_directory import RunDirectory

LOOPBACK = "127.0.0.1"


def serve(run: RunDirectory, *, control: bool, port: int, say: Callable[[str], None]) -> None:
    """Serve the page; returns at Ctrl-C.

    Args:
      control: whether the page may change the run.
      port: to listen at; 0 for any that is free.
      say: told the link that opens the page, once.

    Raises:
      ControlError: the port is taken.
    """
    listener = _listening(port)
    keys = Keys(listener.getsockname()[1])
    frames = Frames(run, control=control)
    page = Page(run, frames, keys, control=control)
    config = Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.include_server_header = False
    config.accesslog = None
    config.errorlog = None
    config.h11_max_incomplete_size = 16 * 1024
    config.read_timeout = 60
    config.graceful_timeout = 0.2
    say(keys.link)
    try:
        trio.run(serve_application, cast("Any", page.application), config)
    except* KeyboardInterrupt:
        pass
    finally:
        frames.close()


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
    except OSError as error:
        listener.close()
        raise ControlError(
            f"port {port} of {LOOPBACK} cannot be had: {error.strerror}; choose another: --port N"
        ) from error
    return listener
