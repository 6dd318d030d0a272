"""What stands before every request and every answer: who may ask, and what a browser may do with the answer."""

import asyncio
import contextlib
import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SAFE = frozenset({"GET", "HEAD"})
_LINGER_SECONDS = 10  # for which the rest of a request is read that was answered before it was whole
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' blob:; object-src 'none'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Guard:
    """Refuse requests that other sites had a browser make, and put the security headers on all answers.

    ``hosts``: the names, in small letters, that the page may be asked for by, which stops other names that lead to the
    same address (DNS rebinding). Addresses in numbers are no names, and always may.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        whole = scope["method"] in _SAFE

        async def receive_noting_the_end() -> Message:
            nonlocal whole
            message = await receive()
            whole = not message.get("more_body", False)
            return message

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            elif not (whole or message.get("more_body", False)):
                # The answer is out; a proxy or a browser that still sends would not look for it, were this the end.
                await send({**message, "more_body": True})
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_LINGER_SECONDS):
                        while not whole:
                            await receive_noting_the_end()
                message = {"type": "http.response.body", "body": b""}
            await send(message)

        refusal = self._refuse(scope["method"], scope["path"], Headers(scope=scope))
        answer = self.app if refusal is None else refusal
        await answer(scope, receive_noting_the_end, send_with_headers)

    def _refuse(self, method: str, path: str, headers: Headers) -> JSONResponse | None:
        # Starlette takes "/metrics" and a line feed for "/metrics"; a proxy that is to deny that lets it by.
        if not path.isprintable():
            return JSONResponse({"error": "Not Found"}, 404)
        host = headers.get("host", "")
        name = _name(host)
        if name is None or not (name in self.hosts or _is_address(name)):
            return JSONResponse({"error": "This page is not served under that name; --allow-host adds one."}, 421)
        if method in _SAFE:
            return None
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if (origin is not None and _place(origin) != host) or site not in ("same-origin", "none"):
            return JSONResponse({"error": "Other sites may not send anything here."}, 403)
        return None


def _place(origin: str) -> str | None:
    """The host and port of an Origin header; None for what is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _name(host: str) -> str | None:
    """The name in a Host header, without its port; None for what is none."""
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:
        return None
