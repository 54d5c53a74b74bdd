"""One request and its answer: plain values between ASGI and the routes."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final, TypeAlias

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError

__all__ = ["Answer", "Receive", "Request", "Scope", "Send", "json_answer", "read_body", "read_json", "request_of"]

Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_JSON: Final = b"application/json"
_TEXT: Final = b"text/plain"
_SCHEMES: Final = {"ws": "http", "wss": "https"}  # origins are those of pages, whatever they ask by
# A string that never ends is one too: looked for anew at each of its quotes, it would cost its length squared.
_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_LENGTH: Final = re.compile(r"[0-9]{1,18}", re.ASCII)
_NO_BRACKETS: Final = bytes(range(256)).translate(None, b"[]{}")


class DisconnectedError(Exception):
    """The client went away before its request was whole; there is nobody to answer."""


class Request(msgspec.Struct, frozen=True):
    """A request without its body. Header names are lower case; one given twice has both values, a comma between.

    `handed_out` gathers headers that go with the answer whatever it is: a new token must arrive even with a failure.
    """

    method: str
    path: str
    headers: dict[bytes, bytes]
    scheme: str
    client: str
    receive: Receive
    handed_out: list[tuple[bytes, bytes]]
    query: bytes = b""

    def __repr__(self) -> str:
        """Show what is asked, and not the headers, which carry secrets."""
        return f"<Request {self.method} {self.path!r}>"

    def header(self, name: bytes) -> str | None:
        """Return a header's text, or None."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")


class Answer(msgspec.Struct, frozen=True):
    """A status, a body, mostly of JSON, and headers beside those that every answer has.

    What never ends has a `stream` in place of a body: it sends the parts, and the last of them.
    """

    status: int
    body: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    kind: bytes = _JSON
    stream: Callable[[Send], Awaitable[None]] | None = None


def json_answer(value: object, *, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    """Return an answer whose body is the value as JSON."""
    return Answer(status, msgspec.json.encode(value), headers)


def request_of(scope: Scope, receive: Receive) -> Request:
    """Take a request from ASGI.

    Raises:
        LimitError: its headers are longer than `limits.HEADER_BYTES`.
    """
    pairs: list[tuple[bytes, bytes]] = scope["headers"]
    size = sum(len(name) + len(value) for name, value in pairs)
    if size > limits.HEADER_BYTES:
        raise LimitError("headers", limit=limits.HEADER_BYTES, found=size, unit="bytes")
    client = scope.get("client")
    scheme: str = scope.get("scheme", "http")
    return Request(
        scope.get("method", "GET"),  # which a WebSocket begins by
        scope["path"],
        _joined(pairs),
        _SCHEMES.get(scheme, scheme),
        client[0] if client else "",
        receive,
        [],
        scope.get("query_string", b""),
    )


def _joined(pairs: list[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    headers = dict(pairs)
    if len(headers) < len(pairs):  # so that no one of them decides, where whoever else looks goes by the other
        for name in headers:
            separator = b"; " if name == b"cookie" else b", "
            headers[name] = separator.join(value for given, value in pairs if given == name)
    return headers


async def read_body(request: Request) -> bytes:
    """Read the body, no further than the limit.

    Raises:
        LimitError: it is longer than `limits.BODY_BYTES`; the rest is not read.
        InvalidError: it is compressed, which would hide its length.
        DisconnectedError: the client went away in the middle.
    """
    if request.header(b"content-encoding") not in {None, "identity"}:
        raise InvalidError("Content-Encoding", "send the body as it is, not compressed")
    declared = request.header(b"content-length") or ""
    if _LENGTH.fullmatch(declared) and int(declared) > limits.BODY_BYTES:
        raise LimitError("body", limit=limits.BODY_BYTES, found=int(declared), unit="bytes")
    parts: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise DisconnectedError
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > limits.BODY_BYTES:
            raise LimitError("body", limit=limits.BODY_BYTES, found=size, unit="bytes")
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


async def read_json(request: Request, decoder: msgspec.json.Decoder[Any], *, as_text: bool = False) -> Any:  # noqa: ANN401  what the decoder gives
    """Read the body as JSON of the decoder's type; `as_text` takes it also where it calls itself text, as beacons do.

    Raises:
        InvalidError: it is not JSON, not of that type, or nested too deeply.
        LimitError: it is too long.
    """
    kind = (request.headers.get(b"content-type") or b"").split(b";")[0].strip().lower()
    if kind != _JSON and not (as_text and kind == _TEXT):
        raise InvalidError("Content-Type", "send application/json")
    body = await read_body(request)
    check_depth(body)
    try:
        return decoder.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidError("body", str(error)) from error


def check_depth(text: bytes) -> None:
    """Refuse JSON that is nested too deeply, before anything is built of it.

    Raises:
        InvalidError: it is nested more than `limits.JSON_DEPTH` levels deep.
    """
    if text.count(b"[") + text.count(b"{") <= limits.JSON_DEPTH:
        return
    depth = 0
    for byte in _STRINGS.sub(b"", text).translate(None, _NO_BRACKETS):
        depth += 1 if byte in b"[{" else -1
        if depth > limits.JSON_DEPTH:
            raise InvalidError("body", f"it is nested more than {limits.JSON_DEPTH} levels deep")
