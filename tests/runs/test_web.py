"""The inspector's page against real runs: who may talk to it, what it tells, and what a real browser makes of it."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the page needs: pip install 'flow-research[web]'")
pytest.importorskip("hypercorn", reason="the page needs: pip install 'flow-research[web]'")

from flow.inspect.touched import touches
from tests.runs.running import Home
from tests.runs.test_control import ended, killed, scaling
from tests.runs.web import browsers, in_browser, page_of, web_of

pytestmark = pytest.mark.real_time


def first(events, name):
    return next(told for event, told in events if event == name)


def until(look, seconds=20.0):
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
    return found


def state(figures, node):
    return next(each["state"] for each in figures["nodes"] if each["node"] == node)


def test_only_the_browser_that_opened_the_link_is_let_in_and_only_from_the_page(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    with web_of(home, running.run, "--control") as web:
        assert web.ask("/")[0] == 401  # no cookie
        assert web.ask("/api/live")[0] == 401
        assert web.ask("/open/guessed")[0] == 403
        assert web.ask(web.link.partition(web.host)[2], Host="evil.example")[0] == 403  # does not use it up
        web.open()
        status, headers, page = web.ask("/")
        assert status == 200
        assert "<script type" in page
        assert headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert "unsafe" not in headers["content-security-policy"]

        status, _, said = web.ask(web.link.partition(web.host)[2])  # the link's second use
        assert status == 403
        assert "used already" in said
        own, port = f"http://{web.host}", web.port
        for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.:{port}", f"0x7f.1:{port}"):
            assert web.ask("/", Host=host)[0] == 403, host
        assert web.ask("/", Host=f"localhost:{port}")[0] == 200
        for origin in ("http://evil.example", f"http://localhost:{port}", "null", f"{own}.evil.example"):
            assert web.ask("/api/live", Origin=origin)[0] == 403, origin
            posted = web.ask("/api/do", "POST", {"do": "pause"}, Origin=origin, Content_Type="application/json")
            assert posted[0] == 403, origin
        said = {"do": "pause", "node": "step0"}
        assert web.ask("/api/do", "POST", said, Content_Type="application/json")[0] == 403  # no Origin at all
        assert web.ask("/api/do", "POST", said, Origin=own, Content_Type="text/plain")[0] == 415
        assert web.ask("/api/do", "GET")[0] == 405
        for site in ("cross-site", "same-site"):  # a page on another port of this machine is the same site
            assert web.ask("/api/node?node=step0", Sec_Fetch_Site=site)[0] == 403
        assert b" 403 " in web.upgrade("http://evil.example", web.cookie)
        assert b" 403 " in web.upgrade(own, "")
        assert b" 101 " not in web.upgrade(own, web.cookie)  # there is none
        for name in ("x", f"{web.cookie}x", web.cookie.partition("=")[0] + "="):
            assert web.ask("/", Cookie=name)[0] == 401
        assert web.ask("/page/../app.py")[0] == 404
        assert web.ask("/page/%2e%2e/app.py")[0] == 404
    assert touches(running.run) == []
    ended(running)


def test_it_listens_on_loopback_alone(home: Home):
    running = scaling(home)
    running.until_arrived(1)
    with web_of(home, running.run) as web:
        for address in ("127.0.0.2", "::1"):  # one that listens everywhere is reached by these
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address, web.port), 5.0).close()
        taken = home.flow("inspect", "--web", "--port", str(web.port))
        assert taken.returncode == 1
        assert "choose another: --port N" in taken.stderr
    ended(running)


def test_without_control_it_only_looks(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    with web_of(home, running.run) as web:
        web.open()
        status, told = web.change(do="pause", node="step0")
        assert status == 403
        assert "--control" in told["error"]
        assert first(web.events("/api/live"), "figures")["control"] is False
    assert touches(running.run) == []
    ended(running)


def test_what_it_tells_and_changes_is_so(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    with web_of(home, running.run, "--control") as web:
        web.open()
        picture = first(web.events("/api/live"), "picture")
        assert [box["node"] for box in sorted(picture["boxes"], key=lambda box: box["x"])] == [
            "source",
            "step0",
            "sink",
        ]
        assert {(each["sender"], each["receiver"]) for each in picture["edges"]} == {
            ("source.numbers", "step0.numbers"),
            ("step0.scaled", "sink.numbers"),
        }
        sample = first(web.events("/api/tap?node=step0&port=scaled"), "sample")
        assert (sample["port"], sample["type"]) == ("step0.scaled", "Number")
        assert sample["fields"][0]["shape"] == [1]
        assert "has no port 'nothing'" in first(web.events("/api/tap?node=step0&port=nothing"), "problem")
        _, _, node = web.ask("/api/node?node=step0")
        assert {each["name"]: each["value"] for each in node["settings"]} == {"factor": 1, "hold_s": 0.0}
        assert any("scaler" in line for line in web.ask("/api/stack?node=step0")[2]["lines"])

        status, told = web.change(do="set", node="step0", name="factor", value="3")
        assert (status, told["before"], told["value"]) == (200, 1, 3)
        status, told = web.change(do="set", node="step0", name="factor", value="30")
        assert status == 409
        assert "factor" in told["error"]
        assert web.change(do="pause", node="step0")[0] == 200
        until(lambda: state(first(web.events("/api/live"), "figures"), "step0") == "paused")
        assert web.change(do="step", node="step0")[1]["passed"] == 1
        assert web.change(do="resume", node="step0")[0] == 200
        assert web.change(do="restart", node="step0")[1]["restarts"] == 1
        assert web.change(do="checkpoint")[1]["number"] >= 1
        assert web.change(do="stop", node="step0")[0] == 400
        assert web.change(do="pause", node="nobody")[0] == 409
    told = [each.text for each in touches(running.run)]
    assert told == ["factor: 1 -> 3", "paused", "stepped by 1", "resumed", "restarted"]
    ended(running)


def test_a_page_that_stops_reading_costs_bounded_memory_and_holds_up_nothing(home: Home):
    running = scaling(home)
    running.until_arrived(20)

    def memory(pid):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with web_of(home, running.run) as web:
        web.open()
        first(web.events("/api/live"), "figures")
        stuck = []
        for path in ["/api/live"] * 3 + ["/api/tap?node=step0&port=scaled"] * 3:
            stream = socket.create_connection(("127.0.0.1", web.port))
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {web.host}\r\nCookie: {web.cookie}\r\n\r\n".encode())
            stuck.append(stream)
        time.sleep(1.0)
        before, arrived = memory(web.process.pid), len(running.received())
        time.sleep(3.0)
        assert memory(web.process.pid) - before < 8 << 20
        assert len(running.received()) > arrived + 50
        first(web.events("/api/live"), "figures")  # and another page is served
        for stream in stuck:
            stream.close()
    ended(running)


@in_browser
def test_a_browser_draws_the_run_and_changes_it(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    with web_of(home, running.run, "--control") as web, page_of(web) as page:
        page.wait_for_selector("#graph .node")
        assert sorted(page.locator("#graph .name").all_inner_texts()) == ["sink", "source", "step0"]
        page.wait_for_function("document.querySelector('#graph .number').textContent.includes('/s')")
        assert running.run.name in page.title()
        page.wait_for_function("document.querySelector('#bottleneck').textContent.length > 3")
        page.wait_for_selector("#curves .counter")
        page.click("#graph .node[aria-label=step0]")
        page.click(".ports button[data-port=scaled]")
        page.wait_for_selector(".sample .field")
        assert "int64 (1)" in page.inner_text(".sample")
        page.fill("input[aria-label=factor]", "4")
        page.click(".settings form button")
        page.wait_for_selector("#toast:has-text('factor: set')")
        page.click("button:has-text('Pause')")
        page.wait_for_selector("#graph .node.paused")
        page.click("button:has-text('Step')")
        page.click("button:has-text('Resume')")
        page.wait_for_selector("#graph .node:not(.paused)[aria-label=step0]")
        page.click("button:has-text('Where is it now')")
        page.wait_for_selector("#panel pre:has-text('scaler')")
        page.keyboard.press("Escape")
        before = page.evaluate("document.documentElement.dataset.theme")
        page.click("#theme")
        assert page.evaluate("document.documentElement.dataset.theme") != before == "dark"
    assert [each.text for each in touches(running.run)][:2] == ["factor: 1 -> 4", "paused"]
    ended(running)


@in_browser
def test_on_a_phone_nothing_is_wider_than_the_screen(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    with web_of(home, running.run) as web, page_of(web, width=390, height=844, dark=False) as page:
        page.wait_for_selector("#graph .node")
        page.wait_for_selector("#nodes td")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.click("#graph .node >> nth=0")
        page.wait_for_selector(".ports button")
        assert page.evaluate("document.getElementById('panel').scrollWidth") <= 390
        assert page.locator("button:has-text('Pause')").count() == 0
    ended(running)


@in_browser
def test_a_run_that_was_killed_opens_the_same_way(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    run = running.run
    killed(running)
    with web_of(home, run, "--control") as web, page_of(web) as page:
        page.wait_for_selector("#graph .node")
        page.wait_for_selector("#state:has-text('died')")
        page.click("#graph .node[aria-label=source]")
        page.wait_for_selector(".settings:has-text('pause_ms')")
        page.wait_for_selector("#panel :text('the run is over')")
        assert page.locator("button:has-text('Pause')").count() == 0


@in_browser
def test_a_browser_that_is_stopped_holds_up_nothing(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    with web_of(home, running.run) as web, page_of(web) as page:
        page.click("#graph .node[aria-label=step0]")
        page.click(".ports button[data-port=scaled]")
        page.wait_for_selector(".sample .field")
        browser = browsers()
        assert len(browser) > 2
        for pid in browser:
            os.kill(pid, signal.SIGSTOP)
        arrived = len(running.received())
        time.sleep(2.0)
        assert len(running.received()) > arrived + 50
        for pid in browser:
            os.kill(pid, signal.SIGCONT)
        page.wait_for_selector(".sample .field")
    ended(running)
