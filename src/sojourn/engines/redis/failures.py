"""From what a server or a socket says to sojourn's errors: whether anything was written, and what to do about it.

No error of the driver leaves the engine. No message repeats the URL, which may hold a password; what a server says
holds none, but for its answer to a sign-in, from which `Connection.greet` takes it.
"""

from __future__ import annotations

import re
import socket
import ssl
from typing import Final

import hiredis

from sojourn.engines.redis.slots import Address
from sojourn.errors import CommitUnknownError, CorruptError, InvalidError, SojournError, UnavailableError

__all__ = ["ForeignError", "LostError", "at_opening", "code", "lost", "refusal", "while_connecting", "while_opening"]

# What a server says instead of carrying a command out, and what an operator or time can do about it.
_NOT_EXECUTED: Final = {
    "ASK": "a part of the cluster is being moved; wait",
    "BUSY": "a script keeps the server busy; find out whose it is",
    "CLUSTERDOWN": "a part of the cluster has no server at work; look at CLUSTER INFO",
    "LOADING": "the server is still loading its data; wait",
    "MASTERDOWN": "the server is a replica that has lost its primary; look at INFO replication",
    "MISCONF": "the server cannot write to its disk; look at its log",
    "NOREPLICAS": "too few replicas are attached for the server to take writes; look at INFO replication",
    "NOSCRIPT": "the server forgets scripts as soon as it has them; find out who calls SCRIPT FLUSH",
    "OOM": "the server's memory is full; raise maxmemory, or remove something",
    "TRYAGAIN": "a part of the cluster is being moved; wait",
    "UNBLOCKED": "the server ended the wait; ask again",
}

# The same, where somebody must change something: an error of the configuration, if it is met at opening.
_REFUSED: Final = {
    "CROSSSLOT": ("url", "the server is part of a cluster; write redis+cluster://"),
    "DENIED": ("url", "the server is in protected mode; set a password on it, and put it into the URL"),
    "MOVED": ("url", "the server is part of a cluster; write redis+cluster://"),
    "NOAUTH": ("url", "the server asks for a password; write redis://user:password@host"),
    "NOPERM": ("user", "it may not do what a store needs; allow it by ACL SETUSER"),
    "READONLY": ("url", "the server is a replica, which takes no writes; name its primary"),
    "WRONGPASS": ("url", "the user or the password is wrong, or the user is disabled"),
}

# Before 7.0 the code of an error inside a script stands behind the place where it was raised.
_IN_SCRIPT: Final = re.compile(r"@user_script: ?\d+: -?([A-Z]+)\b")

# Since then rights that a script lacks have no code of their own, and have been worded in two ways.
_NO_RIGHTS: Final = ("ACL failure in script", "The user executing the script can't")


class LostError(Exception):
    """A connection ended with answers outstanding: what was asked may have been done. Never leaves the engine."""


class ForeignError(LostError):
    """The same, because what answers is no Redis."""


def code(error: hiredis.ReplyError) -> str:
    """Return the word by which a server names an error."""
    text = str(error)
    if any(words in text for words in _NO_RIGHTS):
        return "NOPERM"
    inside = _IN_SCRIPT.search(text)
    return inside[1] if inside is not None else text.partition(" ")[0]


def refusal(error: hiredis.ReplyError, address: Address, *, writing: bool) -> SojournError:
    """Explain why a server answered a script of ours with an error.

    A script that ends half-way, which ours do not unless somebody has meddled with their keys, is not undone.
    """
    name = code(error)
    advice = _NOT_EXECUTED.get(name) or _REFUSED.get(name, (None, None))[1]
    explained: SojournError
    if advice is not None:
        # Rights are looked at command by command: a script may have written before it lacks one.
        is_half_done = writing and name == "NOPERM" and "script" in str(error)
        explained = (CommitUnknownError if is_half_done else UnavailableError)(f"{address}: {advice} ({error})")
    elif writing:
        explained = CommitUnknownError(f"{address}: a script ended half-way; who else uses its keys? ({error})")
    else:
        explained = CorruptError(f"{address}: what is stored is not what sojourn has stored ({error})")
    explained.__cause__ = error
    return explained


def at_opening(explained: SojournError) -> SojournError:
    """Return what a refusal is while a store is being opened: the configuration's error, where time cures nothing."""
    refused = explained.__cause__
    if isinstance(refused, hiredis.ReplyError) and code(refused) in _REFUSED:
        part, _ = _REFUSED[code(refused)]
        return InvalidError(part, str(explained))
    return explained


def while_opening(error: hiredis.ReplyError, address: Address) -> SojournError:
    """Explain why a server refused what opening a store needs."""
    name, text = code(error), str(error)
    if name in _REFUSED:
        part, advice = _REFUSED[name]
        return InvalidError(part, f"{advice} ({address}: {text})")
    if "DB index" in text or "SELECT is not allowed" in text:
        return InvalidError("url", f"the server has no database of that number ({address}: {text})")
    if "unknown command" in text or "unsupported command" in text or name == "NOPROTO":
        return InvalidError("server", f"it is too old; sojourn needs Redis 6.2 or newer, or Valkey ({address}: {text})")
    if name in _NOT_EXECUTED or "max number of clients" in text:
        return UnavailableError(f"{address}: {_NOT_EXECUTED.get(name, 'the server has too many connections')} ({text})")
    return InvalidError("server", f"it refuses what a store needs ({address}: {text})")


def while_connecting(error: OSError | LostError | hiredis.ReplyError, address: Address) -> SojournError:
    """Explain why no connection came about; nothing was asked, so nothing was written."""
    match error:
        case hiredis.ReplyError():
            return while_opening(error, address)
        case ssl.SSLCertVerificationError():
            problem = f"the certificate of {address} does not prove that it is this host ({error.verify_message})"
            return InvalidError("url", f"{problem}; write the name in it, or name its authority by ssl_ca_certs=")
        case ssl.SSLError():
            return InvalidError(
                "url", f"{address} does not take TLS as it is ({error.reason}); write redis:// if it has none"
            )
        case socket.gaierror():
            return UnavailableError(f"no host is found by the name {address.host}; see whether the URL has it right")
        case TimeoutError():
            return UnavailableError(
                f"{address} does not answer; see whether it runs, a firewall lets us in, it takes TLS (rediss) or not"
            )
        case ForeignError():
            return InvalidError("url", f"{address}: {error}; name the host and port of a Redis or Valkey server")
        case LostError():
            return UnavailableError(f"{address} ended the connection ({error}); if it expects TLS, write rediss://")
        case OSError():
            return UnavailableError(f"{address} cannot be reached ({error}); see whether the server runs there")


def lost(error: LostError, address: Address, *, writing: bool) -> SojournError:
    """Explain that the answer to a script of ours did not come."""
    if writing:
        return CommitUnknownError(f"{address}: {error} before the answer came")
    return UnavailableError(f"{address}: {error}")
