"""Take the picture of the inspector's page that the documents show, of a run that is going.

    python -m tools.documents.web_picture RUN NODE.PORT docs/inspector.png

Needs Chromium and playwright.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def page_server(run: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`flow inspect --web` of a run, and the link that it printed."""
    command = [sys.executable, "-m", "flow", "inspect", "--web", *words, run]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            link = next(found[0] for line in process.stdout if (found := re.search(r"http://\S+", line)))
            yield process, link
        finally:
            process.terminate()


@contextmanager
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("no Chromium here; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield found
        finally:
            found.close()


def main() -> None:
    """Parse the command line and take the picture."""
    parser = argparse.ArgumentParser(prog="python -m tools.documents.web_picture", description=__doc__.split("\n")[0])
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("port", metavar="NODE.PORT", help="whose messages the picture shows")
    parser.add_argument("picture", type=Path)
    options = parser.parse_args()
    node, _, port = options.port.rpartition(".")
    with page_server(options.run) as (_, link), browser() as chromium:
        page = chromium.new_page(viewport={"width": 1280, "height": 720}, color_scheme="dark")
        page.goto(link)
        page.click(f"#graph .node[aria-label='{node}']")
        page.click(f".ports button[data-port='{port}']")
        page.wait_for_selector(".sample canvas")
        page.wait_for_timeout(3000)  # for the curves of the node
        page.screenshot(path=options.picture)
    print(f"{options.picture}: {options.picture.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
