"""Serves the page of a run on this machine's loopback until it is interrupted."""

from __future__ import annotations

import os
import signal
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
END_S = 1.0
"""For streams to end at Ctrl-C."""


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
    trio.run(_serve, page, config)
    frames.close()


async def _serve(page: Page, config: Config) -> None:
    stopped, ended = trio.Event(), trio.Event()

    async def serve_it() -> None:
        # What Hypercorn takes is said in classes of its own.
        await serve_application(cast("Any", page.application), config, shutdown_trigger=stopped.wait)
        ended.set()

    async with trio.open_nursery() as nursery:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            nursery.start_soon(serve_it)
            await anext(signals)
        stopped.set()
        with trio.move_on_after(END_S):
            await ended.wait()
        if not ended.is_set():
            # A page that does not read holds Hypercorn in a send that cannot be cancelled. Nothing here has to be put
            # away: the run never knew of this process.
            os._exit(0)


def _listening(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()  # from here on a browser that has the link may wait for its answer
    except OSError as error:
        listener.close()
        raise ControlError(
            f"port {port} of {LOOPBACK} cannot be had: {error.strerror}; choose another: --port N"
        ) from error
    return listener
