"""What the page asks for: figures as they change, a node, what passes a port, a stack; and, if it may, changes.

    GET  /api/live              events: picture, figures, curves
    GET  /api/tap?node=&port=   events: sample, or problem
    GET  /api/node?node=        settings, ports, log      GET /api/stack?node=   where it is now
    POST /api/do                pause resume step restart set checkpoint, as the commands do; only with --control

What asks the run for something does so over its control sockets, in a thread, so that a process that does not answer
holds up nothing here.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from flow.errors import FlowError
from flow.inspect.live import value_of
from flow.inspect.session import Replica, Session
from flow.inspect.web.access import Guard, Keys
from flow.inspect.web.frames import LOOK_S, Frames
from flow.inspect.web.picture import written_graph
from flow.inspect.web.shown import shown
from flow.inspect.web.stream import STREAMS_MAX, Emit, EventStream
from flow.logs import last_events
from flow.run_directory import RunDirectory

PAGE = Path(__file__).parent / "page"
TAP_HZ, TAP_BYTES, TAP_SILENT_S = 10.0, 256 * 1024, 2.0
BODY_MAX = 4096
EVENTS = 40
CHANGES = ("pause", "resume", "step", "restart", "set", "checkpoint")


class Page:
    """The page of one run."""

    def __init__(self, run: RunDirectory, frames: Frames, keys: Keys, *, control: bool) -> None:
        self._run = run
        self._frames = frames
        self._control = control
        self._streams = trio.CapacityLimiter(STREAMS_MAX)
        routes = [
            Route("/", self._index),
            Route("/api/live", self._live),
            Route("/api/tap", self._tap),
            Route("/api/node", self._node),
            Route("/api/stack", self._stack),
            Route("/api/do", self._do, methods=["POST"]),
            Mount("/page", StaticFiles(directory=PAGE)),
        ]
        self.application = Guard(Starlette(routes=routes), keys)

    async def _index(self, request: Request) -> Response:
        return FileResponse(PAGE / "index.html")

    async def _live(self, request: Request) -> Response:
        async def produce(emit: Emit) -> None:
            seen: dict[str, int] = {}
            while True:
                for name, number, text in await trio.to_thread.run_sync(self._frames.newer, seen):
                    seen[name] = number
                    await emit(name, text)
                await trio.sleep(LOOK_S)

        return EventStream(produce, self._streams)

    async def _tap(self, request: Request) -> Response:
        address, port = request.query_params.get("node", ""), request.query_params.get("port", "")

        async def produce(emit: Emit) -> None:
            while True:
                with Session(self._run) as session:
                    try:
                        await self._follow(session, address, port, emit)
                    except FlowError as error:
                        await emit("problem", json.dumps(str(error)))
                        await trio.sleep(TAP_SILENT_S)

        return EventStream(produce, self._streams)

    async def _follow(self, session: Session, address: str, port: str, emit: Emit) -> None:
        """Send what passes a port until nothing did for a while."""
        replicas = await trio.to_thread.run_sync(session.replicas, address)
        samples = session.tap(replicas, port, seconds=TAP_SILENT_S, hz_max=TAP_HZ, most_bytes=TAP_BYTES)

        def following() -> str | None:
            found = next(samples, None)
            return None if found is None else json.dumps(shown(f"{found[0].name}.{port}", found[1]))

        while (text := await trio.to_thread.run_sync(following)) is not None:
            await emit("sample", text)
        await emit("silent", "null")

    async def _node(self, request: Request) -> Response:
        def ask(session: Session, replica: Replica) -> dict[str, Any]:
            try:
                told = session.ask(replica, "describe")
            except FlowError as error:
                told = {**_written(self._run, replica), "problem": str(error)}
            events = [event for event in last_events(self._run.logs, most=500) if event.node == replica.key]
            lines = [{"time": each.time, "level": each.level, "text": each.text} for each in events[-EVENTS:]]
            return {**told, "events": lines}

        return await self._asked(request.query_params.get("node", ""), ask)

    async def _stack(self, request: Request) -> Response:
        return await self._asked(
            request.query_params.get("node", ""), lambda session, replica: {"lines": session.stack(replica)}
        )

    async def _do(self, request: Request) -> Response:
        if not self._control:
            return _refused(403, "this page may only look; start it with: flow inspect --web --control")
        if request.headers.get("content-type") != "application/json":
            return _refused(415, "expected application/json")
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > BODY_MAX:
                return _refused(413, f"expected at most {BODY_MAX} bytes")
        try:
            told = json.loads(body)
            what, node = told["do"], told.get("node", "")
        except (ValueError, KeyError, TypeError, AttributeError):
            return _refused(400, 'expected {"do": …, "node": …}')
        if what not in CHANGES:
            return _refused(400, f"'{what}' is nothing that can be done; there are {', '.join(CHANGES)}")
        if what == "checkpoint":
            return await self._told(lambda session: session.ask_supervisor("checkpoint"))
        return await self._asked(str(node), lambda session, replica: _change(session, replica, what, told))

    async def _asked(self, address: str, ask: Callable[[Session, Replica], dict[str, Any]]) -> Response:
        """What is answered of one node's replica: the only one that the address names."""

        def of_replica(session: Session) -> dict[str, Any]:
            return ask(session, session.replicas(address)[0])

        return await self._told(of_replica)

    async def _told(self, ask: Callable[[Session], dict[str, Any]]) -> Response:
        def told() -> dict[str, Any]:
            with Session(self._run) as session:
                return ask(session)

        try:
            return Response(json.dumps(await trio.to_thread.run_sync(told), default=str), media_type="application/json")
        except FlowError as error:
            return _refused(409, str(error))


def _change(session: Session, replica: Replica, what: str, told: dict[str, Any]) -> dict[str, Any]:
    if what == "set":
        value = value_of(str(told.get("value", "")))
        return session.ask(replica, "set", name=str(told.get("name", "")), value=value)
    if what == "step":
        return session.ask(replica, "step", count=1)
    return session.ask(replica, what)


def _written(run: RunDirectory, replica: Replica) -> dict[str, Any]:
    """What the run's graph file says of a node whose process cannot be asked."""
    node = written_graph(run).get("nodes", {}).get(replica.node, {})
    kept = {name: value for name, value in node.items() if name not in ("run", "replicas")}
    settings = [{"name": name, "value": value, "live": False, "takes": "", "doc": ""} for name, value in kept.items()]
    return {"type": node.get("run", ""), "doc": "", "settings": settings, "ports": []}


def _refused(status: int, text: str) -> Response:
    return JSONResponse({"error": text}, status)
