"""Starts workers in tens of milliseconds: a single-threaded process that has imported what nodes need and run none.

    supervisor ──socket──► fork server ──fork──► worker, worker, …

Importing torch takes seconds and 200 MB; a fork takes neither. One fork server is made for each set of packages
that some worker needs, so that a worker beside the environments never holds torch. Nobody outlives anybody: the
kernel kills the server when the supervisor goes and the workers when the server goes, even while they are stuck
in C code.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from flow.control import Words, hear_blocking, say_blocking
from flow.node_files import import_named

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Let the kernel kill this process when its parent goes.

    The signal follows the thread that forked, so parents fork from their main thread alone.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:  # it went before the call
        os._exit(1)


def main() -> None:
    """Serve forks: arguments are the socket's descriptor, the parent's pid and the modules to import."""
    line = socket.socket(fileno=int(sys.argv[1]))
    die_with_parent(int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        for module in sys.argv[3:]:
            import_named(module)
    except Exception as error:
        say_blocking(line, say="broken", error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
        return
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, False)
    os.set_blocking(read_end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(write_end, warn_on_full_buffer=False)
    say_blocking(line, say="ready")
    children: set[int] = set()
    while True:
        readable, _, _ = select.select([line.fileno(), read_end], [], [])
        if read_end in readable:
            os.read(read_end, 4096)
            _reap(line, children)
        if line.fileno() in readable:
            words, descriptors = hear_blocking(line)
            if words is None:
                break
            children.add(_fork(line, words, descriptors[0], (read_end, write_end)))
    for child in children:
        os.kill(child, signal.SIGKILL)


def _reap(line: socket.socket, children: set[int]) -> None:
    for child in list(children):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            children.discard(child)
            say_blocking(line, say="exited", pid=pid, status=os.waitstatus_to_exitcode(status))


def _fork(line: socket.socket, words: Words, control: int, pipe: tuple[int, int]) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(control)
        say_blocking(line, say="forked", pid=pid, worker=words["worker"], epoch=words["epoch"])
        return pid
    try:
        die_with_parent(parent)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        line.close()
        for end in pipe:
            os.close(end)
        _redirect_output(Path(words["run_directory"]) / "logs" / f"{words['worker']}.out")
        _run_worker(words, socket.socket(fileno=control))
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(1)
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: the handlers that this process would run at exit belong to the server it was forked from.
    os._exit(0)


def _run_worker(words: Words, control: socket.socket) -> None:
    from flow.worker import main as worker_main  # after the fork: the server itself hosts no loop

    worker_main(words, control)


def _redirect_output(path: Path) -> None:
    out = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(out, 1)
    os.dup2(out, 2)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(out)
    os.close(null)


def environment() -> dict[str, str]:
    """The environment of a fork server: numeric libraries start no threads of their own, which a fork would lose."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    # A script's own folder too: what it could import its workers can.
    path = os.pathsep.join(place for place in sys.path if place)
    return {**os.environ, **threads, "PYTHONUNBUFFERED": "1", "PYTHONPATH": path}


def command(descriptor: int, modules: list[str]) -> list[str]:
    """What starts a fork server that imports these modules first."""
    arguments: list[Any] = [sys.executable, "-m", "flow.forkserver", descriptor, os.getpid(), *modules]
    return [str(argument) for argument in arguments]


if __name__ == "__main__":
    main()
