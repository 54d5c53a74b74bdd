"""`sojourn doctor`: examine a store, one line for each check."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import timedelta
from statistics import median
from typing import Final, Literal, TypeAlias

import msgspec

from sojourn import limits
from sojourn.cli import output
from sojourn.cli.failures import OTHERWISE
from sojourn.cli.stores import existing
from sojourn.dialogs import Dialogs
from sojourn.errors import ConflictError, SojournError
from sojourn.kernel import Absent, Delete, Key, Put, Reads, RevisionIs, Store, Transaction, ids
from sojourn.kernel.clock import moment

__all__ = ["Check", "Diagnosis", "checks", "examine"]

SPACE: Final = "cli.doctor"
"""Where the trial records stand. They expire by themselves if the command is killed before it deletes them."""

COMMITS: Final = 9
"""How many commits are timed."""

CLOCKS_APART: Final = timedelta(seconds=1)
"""From where on the two clocks are worth a warning: people who compare logs would see it."""

LATE: Final = timedelta(minutes=1)
"""From where on an overdue dialog is worth a warning: a process that has its type looks each second."""

_LIFE: Final = timedelta(minutes=1)
_STYLES: Final = {"ok": "green", "warning": "yellow", "failed": "bold red"}

Status: TypeAlias = Literal["ok", "warning", "failed"]


class Check(msgspec.Struct, frozen=True):
    """A check says what was found, what to do about it if anything, and the figures that were measured."""

    name: str
    status: Status
    found: str
    advice: str | None = None
    figures: dict[str, float | str] = {}


class Diagnosis(msgspec.Struct, frozen=True):
    """What was examined; `healthy` says that nothing has failed."""

    healthy: bool
    checks: list[Check]


async def examine(url: str | None, *, as_json: bool) -> int:
    """Print what every check finds, each as it comes, and return the exit code.

    Raises:
        InvalidError: there is no such store.
    """
    made = list[Check]()
    async with aclosing(checks(existing(url))) as found:  # a reader that has gone ends the loop, and closes the store
        async for check in found:
            made.append(check)
            if not as_json:
                _print(check)
    healthy = all(check.status != "failed" for check in made)
    if as_json:
        output.document(Diagnosis(healthy, made))
    return 0 if healthy else OTHERWISE


async def checks(store: Store) -> AsyncGenerator[Check, None]:
    """Open the store, examine it and close it. Where it cannot be opened, that is the only check."""
    begun = time.perf_counter()
    try:
        await store.open()
    except SojournError as error:
        yield _failed("open", error)
        return
    try:
        took = _ms(time.perf_counter() - begun)
        yield Check("open", "ok", f"opened in {took:.2f} ms", figures={"took_ms": took})
        for name, check in _CHECKS:
            try:
                yield await check(store)
            except SojournError as error:
                yield _failed(name, error)
        async for found in _settings(store):
            yield found
    finally:
        await store.close()


async def _settings(store: Store) -> AsyncGenerator[Check, None]:
    """Yield what the engine itself finds about its version, its rights and its settings."""
    try:
        findings = await store.examine()
    except SojournError as error:
        yield _failed("settings", error)
        return
    for finding in findings:
        yield Check(finding.name, "ok" if finding.advice is None else "warning", finding.found, finding.advice)


async def _engine(store: Store) -> Check:
    described = store.describe()
    figures: dict[str, float | str] = {"engine": described.engine, "version": described.version}
    return Check("engine", "ok", f"{described.engine} {described.version}", figures=figures)


async def _durable(store: Store) -> Check:
    if store.describe().durable:
        return Check("durable", "ok", "what was committed survives the kill of every process")
    advice = "use it for what may be lost, or choose an engine, or a setting of it, that is durable"
    return Check("durable", "warning", "what was committed may be lost when a process or the machine stops", advice)


async def _across(store: Store) -> Check:
    if store.describe().cross_partition:
        return Check("across", "ok", "one commit may write to several partitions")
    return Check("across", "ok", "one commit writes to one partition; what changes together has to share it")


async def _watch(store: Store) -> Check:
    whose = "every process" if store.describe().cross_process_watch else "this process only"
    return Check("watch", "ok", f"who watches is told of the changes by {whose}")


async def _write(store: Store) -> Check:
    """Write under a guard, read it back, see the guard refuse a second time, delete it."""
    key, value = _trial_key(), secrets.token_bytes(32)
    create = Transaction(ids.new(), (Absent(key),), (Put(key, value, ttl=_LIFE),))
    revision = (await store.commit(create)).revision
    (record,) = (await store.read(Reads((key,)))).records.keys
    if revision is None or record is None or (record.value, record.revision) != (value, revision):
        return _broken("what was written was not read back")
    try:
        await store.commit(msgspec.structs.replace(create, id=ids.new()))
    except ConflictError:
        pass
    else:
        return _broken("a guard let pass what it has to refuse")
    await store.commit(Transaction(ids.new(), (RevisionIs(key, revision),), (Delete(key),)))
    if (await store.read(Reads((key,)))).records.keys != (None,):
        return _broken("what was deleted is still there")
    return Check("write", "ok", "a guarded write was read back, and deleted again")


async def _latency(store: Store) -> Check:
    key, taken = _trial_key(), list[float]()
    for _ in range(COMMITS):
        begun = time.perf_counter()
        await store.commit(Transaction(ids.new(), writes=(Put(key, b"", ttl=_LIFE),)))
        taken.append(_ms(time.perf_counter() - begun))
    await store.commit(Transaction(writes=(Delete(key),)))
    found = f"median {median(taken):.2f} ms, from {min(taken):.2f} to {max(taken):.2f} ms, of {COMMITS}"
    figures: dict[str, float | str] = {"median_ms": median(taken), "least_ms": min(taken), "most_ms": max(taken)}
    return Check("commit", "ok", found, figures=figures)


async def _clock(store: Store) -> Check:
    before = _host_ms()
    now = (await store.read(Reads())).now
    after = _host_ms()
    apart = min(0, now - before) or max(0, now - after)
    figures: dict[str, float | str] = {"engine_ahead_ms": apart}
    if abs(apart) <= CLOCKS_APART // timedelta(milliseconds=1):
        return Check(
            "clock", "ok", f"engine and host agree within {abs(apart) + after - before + 1} ms", figures=figures
        )
    found = f"the engine's clock is {abs(apart) / 1_000:,.1f} s {'ahead of' if apart > 0 else 'behind'} this host's"
    advice = "the engine's decides when sessions end; set the wrong one right, or logs will not match"
    return Check("clock", "warning", found, advice, figures)


async def _dialogs(store: Store) -> Check:
    """Look at the dialogs that end next. One that should have ended long ago has no process that could end it."""
    page = await Dialogs(store).list()
    now = moment((await store.read(Reads())).now)
    late = [info for info in page.items if info.deadline is not None and now - info.deadline > LATE]
    if not late:
        return Check("dialogs", "ok", "none is past its deadline")
    kinds = ", ".join(sorted({info.type for info in late}))
    first = output.distance(now, late[0].deadline or now)
    count = f"{len(late):,}{' or more' if len(late) == limits.PAGE else ''}"
    found = f"{count} past their deadline, the first since {first.removesuffix(' ago')}: {kinds}"
    advice = "run a process that has their types, in `async with dialogs`; or see `sojourn dialogs list`"
    return Check("dialogs", "warning", found, advice, {"overdue": len(late)})


_CHECKS: Final[tuple[tuple[str, Callable[[Store], Awaitable[Check]]], ...]] = (
    ("engine", _engine),
    ("durable", _durable),
    ("across", _across),
    ("watch", _watch),
    ("write", _write),
    ("commit", _latency),
    ("clock", _clock),
    ("dialogs", _dialogs),
)


def _trial_key() -> Key:
    return Key(SPACE, secrets.token_hex(8), "")


def _failed(name: str, error: SojournError) -> Check:
    return Check(name, "failed", f"{error.code}: {error}")


def _broken(found: str) -> Check:
    return Check("write", "failed", found, "do not use this engine; run sojourn.testing.conformance on it")


def _host_ms() -> int:
    return time.time_ns() // 1_000_000


def _ms(seconds: float) -> float:
    return round(seconds * 1_000, 2)


def _print(check: Check) -> None:
    output.status(check.status, _STYLES[check.status], check.name, check.found)
    if check.advice is not None:
        output.status("", "", "", check.advice)
