"""The URL of a store on Redis: which servers, who asks, and which keys are the store's."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sojourn import limits
from sojourn.engines.redis.slots import Address
from sojourn.errors import InvalidError

__all__ = ["Access", "Location", "locate"]

_PORT: Final = 6_379
_PORT_MAX: Final = 65_535
_NUMBER_DIGITS: Final = 5
_PREFIX: Final = "sojourn"
_FORM: Final = "redis://user:password@host:port/database?prefix=name"
_TLS_FILES: Final = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")


@dataclass(frozen=True, slots=True)
class Access:
    """How to be let in: the same at every server of a store. Its `repr` tells no secret."""

    username: str | None = None
    password: str | None = field(default=None, repr=False)
    database: int = 0
    tls: ssl.SSLContext | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """Where a store is. `addresses` are one server, or some of a cluster's, by which to find the others."""

    addresses: tuple[Address, ...]
    access: Access
    prefix: str
    is_cluster: bool


def locate(url: str) -> Location:
    """Read the URL; no I/O but for the TLS files that it names.

    Raises:
        InvalidError: a part of it is not of the form asked for. The message does not repeat the URL, which may hold a
            password.
    """
    try:
        url.encode()  # lone surrogates, as from an environment that is not UTF-8, cannot be sent
        parts = urlsplit(url)
    except ValueError:
        # Without the cause, which may quote what stands before the host.
        raise InvalidError("url", f"this is not a URL; the form is {_FORM}") from None
    scheme, _, cluster = parts.scheme.partition("+")
    if scheme not in {"redis", "rediss"} or cluster not in {"", "cluster"}:
        raise InvalidError("url", f"the scheme must be redis, rediss, redis+cluster or rediss+cluster: {_FORM}")
    if parts.fragment:
        raise InvalidError("url", "it has a part behind #; write # in a password or a name as %23")
    if "@" in parts.query:  # else what follows in the password would be taken for options, and told
        raise InvalidError("url", "it has an @ behind ?; write ? in a password as %3F, and @ in an option as %40")
    options = _options(parts)
    username, password, hosts = _split(parts)
    addresses = tuple(_address(host) for host in hosts.split(","))
    if len(addresses) > 1 and not cluster:
        raise InvalidError("url", "several hosts are a cluster's: write redis+cluster://, or name one")
    access = Access(username, password, _database(parts, is_cluster=bool(cluster)), _tls(scheme, options))
    return Location(addresses, access, _prefix(options), is_cluster=bool(cluster))


def _split(parts: SplitResult) -> tuple[str | None, str | None, str]:
    who, at, hosts = parts.netloc.rpartition("@")
    username, _, password = who.partition(":")
    if at and not password:
        raise InvalidError("url", f"it has a user without a password; the form is {_FORM}")
    return unquote(username) or None, unquote(password) or None, hosts


def _address(text: str) -> Address:
    # An address of IPv6 stands in brackets, so the last colon behind them is the port's.
    host, bracket, rest = text.rpartition("]")
    name, _, port = (host + bracket, "", rest.removeprefix(":")) if bracket else text.partition(":")
    name = name.strip("[]")
    if not name:
        raise InvalidError("url", f"it names no host; the form is {_FORM}")
    try:
        name.encode("idna")
    except UnicodeError as error:
        raise InvalidError("url", "the host is no name that a host can have") from error
    if not port:
        return Address(name, _PORT)
    if not (port.isascii() and port.isdecimal() and len(port) <= _NUMBER_DIGITS and 0 < int(port) <= _PORT_MAX):
        raise InvalidError("url", f"the port must be a number from 1 to {_PORT_MAX}")
    return Address(name, int(port))


def _database(parts: SplitResult, *, is_cluster: bool) -> int:
    text = parts.path.removeprefix("/")
    if not text:
        return 0
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS):
        raise InvalidError("url", f"what follows the host must be the number of a database; the form is {_FORM}")
    if is_cluster and int(text):
        raise InvalidError("url", "a cluster has only the database 0; use prefix= to keep stores apart")
    return int(text)


def _options(parts: SplitResult) -> Mapping[str, str]:
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise InvalidError("url", "what follows ? must be of the form name=value&name=value") from None
    options = dict(pairs)
    for name in options:
        if name not in {"prefix", *_TLS_FILES}:
            known = ", ".join(("prefix", *_TLS_FILES))
            raise InvalidError("url", f"there is no option {name[:32]!r}; known are {known}")
    if len(options) < len(pairs):
        raise InvalidError("url", "an option is given twice")
    return options


def _prefix(options: Mapping[str, str]) -> str:
    prefix = options.get("prefix", _PREFIX)
    if not prefix or len(prefix.encode()) > limits.SPACE_BYTES or not prefix.isprintable() or set(prefix) & set("{}:"):
        problem = f"must be 1 to {limits.SPACE_BYTES} printable bytes without colon and braces"
        raise InvalidError("prefix", problem)
    return prefix


def _tls(scheme: str, options: Mapping[str, str]) -> ssl.SSLContext | None:
    authorities, certificate, key = (options.get(name) for name in _TLS_FILES)
    if scheme == "redis":
        if authorities or certificate or key:
            raise InvalidError("url", "a certificate is of no use without TLS; write rediss://")
        return None
    try:
        context = ssl.create_default_context(cafile=authorities)
        if certificate:
            context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise InvalidError("url", f"a certificate's file cannot be used: {error}") from error
    return context
