"""Starts `flow inspect --web` beside a run, and talks to it: by raw HTTP, and by a real browser."""

from __future__ import annotations

import contextlib
import http.client
import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from flow.run_directory import RunDirectory
from tests.runs.running import FLOW, PATIENCE_S, ROOT, Home

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
in_browser = pytest.mark.skipif(
    CHROMIUM is None or importlib.util.find_spec("playwright") is None,
    reason="needs Chromium and playwright: apt-get install chromium; pip install playwright",
)


@dataclass
class Web:
    """A page's server. cookie: had by opening the link."""

    process: subprocess.Popen[str]
    link: str
    cookie: str = ""
    streams: list[http.client.HTTPConnection] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(re.search(r":(\d+)/", self.link)[1])

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and text or JSON of an answer; headers are named as in Python: sec_fetch_site."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            said = {"Cookie": self.cookie, **{name.replace("_", "-"): value for name, value in headers.items()}}
            text = None if body is None else json.dumps(body)
            connection.request(method, path, text, {name: value for name, value in said.items() if value})
            answer = connection.getresponse()
            read = answer.read().decode()
            is_json = answer.headers.get_content_type() == "application/json"
            return answer.status, answer.headers, json.loads(read) if is_json else read

    def open(self) -> None:
        """Use the link, as a browser does."""
        status, headers, _ = self.ask(self.link.partition(self.host)[2])
        assert status == 303
        self.cookie = headers["set-cookie"].partition(";")[0]

    def change(self, **wanted: object) -> tuple[int, Any]:
        """Ask for a change as the page does."""
        said = {"Origin": f"http://{self.host}", "Content_Type": "application/json"}
        status, _, told = self.ask("/api/do", "POST", wanted, **said)
        return status, told

    def events(self, path: str) -> Iterator[tuple[str, Any]]:
        """Server-sent events, as they come."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Cookie": self.cookie})
            answer = connection.getresponse()
            assert answer.status == 200
            while line := answer.readline():
                name = line.decode().removeprefix("event: ").strip()
                yield name, json.loads(answer.readline().decode().removeprefix("data: "))
                answer.readline()

    def upgrade(self, origin: str, cookie: str) -> bytes:
        """The first line that answers a WebSocket's handshake."""
        lines = [
            "GET /api/live HTTP/1.1",
            f"Host: {self.host}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Origin: {origin}",
            f"Cookie: {cookie}",
        ]
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as stream:
            stream.sendall("\r\n".join([*lines, "", ""]).encode())
            return stream.recv(4096).partition(b"\r\n")[0]


@contextlib.contextmanager
def web_of(home: Home, run: RunDirectory, *words: str) -> Iterator[Web]:
    """The page of a run, until the end of the block; Ctrl-C ends it, with status 0."""
    command = [*FLOW, "inspect", "--web", *words, str(run.path)]
    with subprocess.Popen(
        command, cwd=ROOT, env=home.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            said = ""
            while "http://" not in said:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                said = line
            yield Web(process, said.strip())
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, complaint = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert (process.returncode, complaint) == (0, "")


def browsers() -> list[int]:
    """The processes of browsers that this process started."""
    parents, names = {}, {}
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(place.name)] = (place / "cmdline").read_bytes()
    found = []
    for pid, name in names.items():
        above = pid
        while above in parents and above != os.getpid():
            above = parents[above]
        if above == os.getpid() and b"chrom" in name:
            found.append(pid)
    return found


@contextlib.contextmanager
def page_of(web: Web, *, width: int = 1280, height: int = 800, dark: bool = True) -> Iterator[Any]:
    """The page in a headless Chromium, opened by the link; nothing may complain in its console."""
    from playwright.sync_api import sync_playwright

    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        with contextlib.closing(browser):
            scheme = "dark" if dark else "light"
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.set_default_timeout(20_000)
            page.goto(web.link)
            yield page
            page.close()
    assert complaints == [], complaints
