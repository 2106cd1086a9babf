"""Who may talk to the page's server: the browser that opened the one-time link, from the page itself, and nobody else.

Host     exactly 127.0.0.1:PORT or localhost:PORT, so that no name that was bent to this address gets in
Origin   exactly the page's own; required where something is changed, and of a WebSocket
cookie   HttpOnly, SameSite=Strict; had once, for the token in the link that the command prints
"""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.responses import PlainTextResponse, RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

OPEN = "/open/"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
USED = "This link was used already. Start the inspector again for another: flow inspect --web\n"


@dataclass
class Keys:
    """The link's token, which goes once, and the cookie it is given for."""

    port: int
    token: str | None = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    @property
    def link(self) -> str:
        """What opens the page, once."""
        return f"http://127.0.0.1:{self.port}{OPEN}{self.token}"

    @property
    def cookie_name(self) -> str:
        """Of this port: cookies are shared between the ports of a host."""
        return f"flow_{self.port}"

    def hosts(self) -> tuple[str, ...]:
        """The only values of Host that are taken."""
        return f"127.0.0.1:{self.port}", f"localhost:{self.port}"

    def use(self, token: str) -> bool:
        """Whether the token is the link's and was not used; it is used from now on."""
        if self.token is None or not hmac.compare_digest(token.encode(), self.token.encode()):
            return False
        self.token = None
        return True


class Guard:
    """An application that lets through only what may come in."""

    def __init__(self, inner: ASGIApp, keys: Keys) -> None:
        self._inner = inner
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._inner(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        answer = self._refusal(scope)
        if answer is None:
            await self._inner(scope, receive, send_guarded)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})  # before it was accepted: answered with 403
        else:
            await answer(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        """What is answered in place of the page; None where all is well."""
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            headers.setdefault(name.lower(), []).append(value)
        hosts = headers.get(b"host", [])
        if len(hosts) != 1 or hosts[0].decode("latin-1") not in self._keys.hosts():
            return PlainTextResponse(f"Host must be {' or '.join(self._keys.hosts())}\n", 403)
        if not self._is_own_page(scope, headers, hosts[0].decode("latin-1")):
            return PlainTextResponse("Only the inspector's own page may ask this\n", 403)
        if scope["type"] == "http" and scope["path"].startswith(OPEN):
            return self._open(scope)
        if not self._has_cookie(headers.get(b"cookie", [])):
            return PlainTextResponse("Open the link that flow inspect --web printed\n", 401)
        return None

    def _is_own_page(self, scope: Scope, headers: dict[bytes, list[bytes]], host: str) -> bool:
        origins = headers.get(b"origin", [])
        needs = scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD")
        if (origins or needs) and [each.decode("latin-1") for each in origins] != [f"http://{host}"]:
            return False
        # A page on another port of this host is the same site, and its requests would bring the cookie.
        sites = headers.get(b"sec-fetch-site", [b"none"])
        return sites in ([b"none"], [b"same-origin"]) or scope["path"].startswith(OPEN)

    def _open(self, scope: Scope) -> Response:
        if scope["method"] != "GET" or not self._keys.use(scope["path"][len(OPEN) :]):
            return PlainTextResponse(USED, 403)
        answer = RedirectResponse("/", 303)
        answer.set_cookie(self._keys.cookie_name, self._keys.cookie, httponly=True, samesite="strict", path="/")
        return answer

    def _has_cookie(self, lines: list[bytes]) -> bool:
        wanted = f"{self._keys.cookie_name}={self._keys.cookie}".encode()
        found = [part.strip() for line in lines for part in line.split(b";")]
        return any(hmac.compare_digest(each, wanted) for each in found)
