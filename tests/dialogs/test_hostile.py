"""The enemy of dialogs: platforms, people and applications at their worst, on every engine.

Whatever comes, the platform gets no exception and the person an answer, and the dialog is as it was, and goes on.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any, cast

import pytest

from sojourn import limits
from sojourn.dialogs import (
    Cause,
    Context,
    Dialogs,
    Place,
    User,
    anyone,
)
from sojourn.dialogs.layout import Address, focus, person
from sojourn.errors import (
    CorruptError,
    DialogExistsError,
    DialogGoneError,
    DialogStateError,
    InvalidError,
    LimitError,
)
from sojourn.kernel import Delete, Key, Now, Put, Reads, Store, Transaction, ids
from sojourn.kernel.codec import pack
from sojourn.testing.dialogs import (
    Desk,
    RecordedInteraction,
    Screen,
    button,
    callback,
    command,
    message,
    modal,
    select,
)
from tests.dialogs.conftest import (
    MINUTES,
    Count,
    Counter,
    Kind,
    Kinds,
    Start,
    records,
    settled,
    soon,
    variant,
)
from tests.dialogs.hostile import LONE, LONG, NUL, TEXTS, UNSTORABLE, at_last, dump, lives_on
from tests.documents.conftest import HastyClock

# -- Tokens -----------------------------------------------------------------------------------------------------------


def broken(token: str) -> list[str]:
    """Everything that a token could be damaged to, or made up to look like."""
    cut = [token[:length] for length in range(len(token))] + [token[at:] for at in range(1, len(token))]
    flipped = [token[:at] + chr(ord(token[at]) ^ 1) + token[at + 1 :] for at in range(len(token))]
    others = [
        f"s2{token[2:]}",
        f"S1{token[2:]}",
        f"CMD{token[2:]}",
        f"SSN\u0b75{token}",
        f"{token}.p-1",
        f"{token}.p1e9",
    ]
    odd = [f"{token}\0", f"\0{token}", f"{token}\ud800", token * 500, LONG, NUL, LONE, "", "s1", "s1.", "s1..", "~"]
    return cut + flipped + others + odd


async def test_a_signed_token_that_was_damaged_or_made_up_is_nobodys(desk: Desk, counter: Kind) -> None:
    desk.screen = screen = Screen(signs=True)
    desk.dialogs.add_platform(screen)
    handle = await desk.start(counter)
    (token,) = (one.token for row in desk.view.rows for one in row if "More" in repr(one))
    before = await dump(desk, handle.id)
    unsigned = token.partition("~")[0]
    for forged in (*broken(token), unsigned, f"{unsigned}~", f"{unsigned}~AAAAAAAAAAAAAAAA"):
        if forged == token:
            continue
        clicked = await desk.dispatch(button("", token=forged, platform=screen))
        assert (clicked.result, clicked.is_handled) == ("foreign", False), ascii(forged)
    assert await dump(desk, handle.id) == before
    assert counter.diary == ["start"]
    assert (await desk.click("More")).result == "kept"


async def test_an_unsigned_token_that_was_damaged_does_not_count(desk: Desk, counter: Kind) -> None:
    """Proves that what still reads as a token is answered, and what does not is left to others."""
    handle = await desk.start(counter)
    before = await dump(desk, handle.id)
    (token,) = (one.token for row in desk.view.rows for one in row if "More" in repr(one))
    for forged in broken(token):
        clicked = await desk.dispatch(button("", token=forged, platform=desk.screen))
        assert desk.last.is_answered is clicked.is_handled, ascii(forged)
        assert clicked.result in {"foreign", "missing", "failed"}, ascii(forged)
    assert await dump(desk, handle.id) == before
    assert "more" not in counter.diary
    await lives_on(desk, handle)


async def test_a_token_of_other_keys_is_nobodys(desk: Desk, counter: Kind, elsewhere: Start, kinds: Kinds) -> None:
    def keyed(store: Store) -> Dialogs:
        dialogs = Dialogs(store, keys=[b"another secret of sixteen bytes or more"])
        dialogs.register("counter")(counter)
        return dialogs

    desk.screen = Screen(signs=True)
    desk.dialogs.add_platform(desk.screen)
    await desk.start(counter)
    other = await elsewhere(keyed)
    (token,) = (one.token for row in desk.view.rows for one in row if "More" in repr(one))
    assert (await other.dispatch(button("", token=token, platform=other.screen))).result == "foreign"


# -- Starting ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ttl", "error"),
    [
        (timedelta(), InvalidError),
        (timedelta(microseconds=1), InvalidError),
        (-MINUTES, InvalidError),
        (timedelta.min, InvalidError),
        (limits.DIALOG_TTL_MAX + timedelta(milliseconds=1), LimitError),
        (timedelta.max, LimitError),
        (180, InvalidError),
        (0, InvalidError),
        (float("nan"), InvalidError),
        ("3m", InvalidError),
        (True, InvalidError),
    ],
    ids=str,
)
async def test_a_time_to_live_that_is_none_starts_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, ttl: Any, error: type[Exception]
) -> None:
    kinds["odd"] = odd = variant(counter, ttl=ttl)
    await desk.restart()
    for kind, options in ((counter, {"ttl": ttl}), (odd, {})):
        with pytest.raises(error):
            await desk.start(kind, id="one", **options)
        assert await records(desk.store, "one") == []
    assert counter.diary == []
    assert desk.screen.views == {}


@pytest.mark.parametrize(
    "dialog_id", ["", "a.b", "a b", "a~b", "é", LONG, NUL, LONE, "a/b", "a" * 65, b"a", 7, ["a"]], ids=ascii
)
async def test_an_id_that_cannot_stand_in_a_token_is_refused_everywhere(
    desk: Desk, counter: Kind, dialog_id: Any
) -> None:
    for refused in (
        lambda: desk.start(counter, id=dialog_id),
        lambda: desk.dialogs.get(dialog_id),
        lambda: desk.dialogs.end(dialog_id),
        lambda: desk.dialogs.wait(dialog_id, 1),
    ):
        with pytest.raises((InvalidError, LimitError)):
            await cast("Any", refused())
    with pytest.raises((InvalidError, LimitError)):
        desk.dialogs.handle(dialog_id)
    assert counter.diary == []


async def test_an_id_that_is_taken_is_refused_while_it_runs_and_while_its_end_is_known(
    desk: Desk, counter: Kind
) -> None:
    handle = await desk.start(counter, id="one")
    before = await dump(desk, handle.id)
    with pytest.raises(DialogExistsError):
        await desk.start(counter, id="one", data=Count(7))
    assert await dump(desk, handle.id) == before
    await desk.click("Done")
    with pytest.raises(DialogExistsError):
        await desk.start(counter, id="one")
    assert (await handle.wait()).result == 0
    await desk.advance(limits.DIALOG_RETAIN)
    assert (await desk.start(counter, id="one")).outcome == "started"


@UNSTORABLE
async def test_data_that_cannot_be_stored_starts_nothing(desk: Desk, counter: Kind, kinds: Kinds, value: Any) -> None:
    kinds["plain"] = plain = type("Plain", (counter,), {"__annotations__": {"data": Any}})
    await desk.restart()
    for kind in (plain, counter):
        with pytest.raises((InvalidError, LimitError)):
            await desk.start(kind, id="one", data=value)
        assert await records(desk.store, "one") == []
    assert counter.diary == []
    assert desk.screen.views == {}


@UNSTORABLE
async def test_a_result_from_outside_that_cannot_be_stored_ends_nothing(
    desk: Desk, counter: Kind, value: Any, elsewhere: Start
) -> None:
    handle = await desk.start(counter)
    other = await elsewhere(Dialogs)
    for dialogs in (desk.dialogs, other.dialogs):
        with pytest.raises((InvalidError, LimitError)):
            await dialogs.end(handle.id, result=value)
    await lives_on(desk, handle)


@pytest.mark.parametrize(
    "given",
    [
        {"code": ""},
        {"code": True},
        {"code": None},
        {"code": 1.5},
        {"code": "suspended"},
        {"code": LONE},
        {"reason": None},
        {"reason": LONE},
        {"reason": "x" * 1_000_000},
        {"code": "x" * 1_000_000},
    ],
    ids=lambda given: ascii(given)[:20],
)
async def test_an_end_that_makes_no_sense_ends_nothing(desk: Desk, counter: Kind, given: Any) -> None:
    handle = await desk.start(counter)
    with pytest.raises((InvalidError, LimitError)):
        await handle.end(**given)
    await lives_on(desk, handle)


# -- A type that is not known here ------------------------------------------------------------------------------------


async def test_a_dialog_of_an_unknown_type_is_answered_and_never_touched(
    desk: Desk, counter: Kind, elsewhere: Start, clock: HastyClock
) -> None:
    """Proves that neither a click nor its deadline does anything to it where nobody knows what it is."""
    handle = await desk.start(counter)
    await desk.dialogs.close()
    before = await dump(desk, handle.id)
    other = await elsewhere(Dialogs)
    for _ in range(2):
        clicked = await other.dispatch(button(handle.id, counter.more, platform=other.screen))
        assert (clicked.result, clicked.cause) == ("missing", Cause.UNREGISTERED)
        assert other.last.notices
        clock.advance(MINUTES)
        assert await other.dialogs.expire() == 0
        await settled(other.store)
    assert await dump(desk, handle.id) == before
    await desk.restart()
    assert await desk.dialogs.expire() == 1
    assert (await desk.handle(handle.id).wait()).code == "expired"
    assert counter.diary == ["start", "end expired"]


# -- Waiting ----------------------------------------------------------------------------------------------------------


async def test_waiting_for_what_was_never_started_is_an_error_at_once(desk: Desk) -> None:
    with pytest.raises(DialogGoneError):
        await soon(desk.dialogs.wait("unknown"))
    with pytest.raises(DialogGoneError):
        await soon(desk.dialogs.end("unknown"))
    assert await desk.dialogs.get("unknown") is None


@pytest.mark.parametrize("seconds", [-1, float("nan"), -float("inf"), True, "1", timedelta(seconds=-1), object()])
async def test_a_timeout_that_is_none_is_refused(desk: Desk, counter: Kind, seconds: Any) -> None:
    handle = await desk.start(counter)
    with pytest.raises(InvalidError):
        await soon(handle.wait(seconds))


@pytest.mark.parametrize("seconds", [float("inf"), 1e308, timedelta.max, 10**400], ids=lambda given: str(given)[:9])
async def test_a_timeout_without_end_waits_for_the_end_or_is_refused(desk: Desk, counter: Kind, seconds: Any) -> None:
    handle = await desk.start(counter)
    waiting = asyncio.ensure_future(handle.wait(seconds))
    await settled(desk.store)
    await desk.click("Done")
    with suppress(InvalidError):
        assert (await soon(waiting)).result == 0


# -- Records that are damaged -----------------------------------------------------------------------------------------


ODD: list[Any] = [None, -1, "odd", [], {"a": [LONG]}]


def damaged(good: bytes) -> list[bytes]:
    """What a record could hold after somebody wrote it who should not have."""
    row = json.loads(good[1:])
    swapped = [[*row[:at], odd, *row[at + 1 :]] for at in range(len(row)) for odd in ODD]
    return [
        b"",
        b"\xff" * 100,
        b"\x00",
        good[:1],
        good[:-1],
        good + b"x",
        b"\xff" + good[1:],
        good[1:],
        pack(b"[" * 100_000),
        pack(b"null"),
        pack(b"{}"),
        pack(b"[]"),
        *(pack(json.dumps(one).encode()) for one in swapped),
    ]


async def write(store: Store, *writes: Put | Delete) -> None:
    await store.commit(Transaction(ids.new(), writes=writes))


async def test_damaged_records_are_never_an_exception_to_the_platform_and_never_silence(
    desk: Desk, counter: Kind, clock: HastyClock
) -> None:
    handle = await desk.start(counter)
    key = Address(handle.id, handle.id).dialog
    good, rank = cast("tuple[bytes, int]", await dump(desk, handle.id))
    for bad in damaged(good):
        for at in (rank, limits.RANK_MAX, 0, None):
            await write(desk.store, Put(key, bad, rank=at))
            clicked = await soon(desk.dispatch(button(handle.id, counter.more, platform=desk.screen)))
            assert clicked.is_handled, bad[:80]
            assert desk.last.is_answered, bad[:80]
            await write(desk.store, Delete(key))
    await write(desk.store, Put(key, good, rank=rank))
    await lives_on(desk, desk.handle(handle.id))


async def test_damaged_records_are_reported_to_who_asks_and_do_not_keep_others_from_ending(
    desk: Desk, counter: Kind, clock: HastyClock
) -> None:
    others = [await desk.start(counter) for _ in range(2)]
    good, _ = cast("tuple[bytes, int]", await dump(desk, others[0].id))
    bad = damaged(good)
    for at, value in enumerate(bad):
        await write(desk.store, Put(Address(f"bad{at}", f"bad{at}").dialog, value, rank=Now()))
    clock.advance(MINUTES)
    await desk.dialogs.expire()
    for other in others:
        assert (await soon(other.wait())).code == "expired"
    for at in range(len(bad)):
        try:
            await desk.dialogs.get(f"bad{at}")
            await soon(desk.dialogs.end(f"bad{at}"))
            await soon(desk.dialogs.wait(f"bad{at}"))
        except (CorruptError, DialogStateError, DialogGoneError):
            pass


async def test_an_ended_dialog_whose_record_is_damaged_is_answered(desk: Desk, counter: Kind) -> None:
    handle = await desk.start(counter)
    await desk.click("Done")
    key = Address(handle.id, handle.id).dialog
    (record,) = (await desk.store.read(Reads((key,)))).records.keys
    assert record is not None
    for bad in damaged(record.value):
        await write(desk.store, Put(key, bad))
        clicked = await soon(desk.dispatch(button(handle.id, counter.more, platform=desk.screen)))
        assert clicked.is_handled
        assert desk.last.is_answered


@pytest.mark.parametrize("value", [b"", b"\xff\xfe", b"a.b", b"x" * 10_000, b"gone", b"a\0b"], ids=ascii)
async def test_a_damaged_focus_leaves_messages_to_others(desk: Desk, counter: Kind, value: bytes) -> None:
    written = message("hello", platform=desk.screen)
    await write(desk.store, Put(focus(person(desk.screen.name, written.place, written.user)), value))
    dispatched = await desk.dispatch(written)
    assert dispatched.result in {"foreign", "unavailable", "failed"}
    assert not desk.last.replies


async def test_damaged_leases_effects_and_deliveries_are_never_silence(
    desk: Desk, counter: Kind, clock: HastyClock
) -> None:
    handle = await desk.start(counter)
    address = Address(handle.id, handle.id)
    for key in (address.delivery("d1"), Key("dialog.out.test", handle.id, "effect"), address.lease):
        await write(desk.store, Put(key, b"\xff\xff", rank=0))
        came = button(handle.id, counter.more, delivery_id="d2", platform=desk.screen)
        clicked = await at_last(desk, clock, desk.dispatch(came))
        assert clicked.is_handled
        assert came.is_answered


# -- Texts ------------------------------------------------------------------------------------------------------------

WHERE: dict[str, Callable[[str, str], RecordedInteraction]] = {
    "token": lambda _, text: button("", token=text),
    "delivery": lambda one, text: button(one, "more", delivery_id=text),
    "user": lambda one, text: button(one, "more", user=User(text, text, text, frozenset({text}))),
    "place": lambda one, text: button(one, "more", place=Place(text, text, text)),
    "value": lambda one, text: select(one, "chosen", [text, text]),
    "field": lambda one, text: modal(one, "filled", {text: text, "a": text}),
    "argument": lambda one, text: button("", token=f"s1.{one}.more.{text}"),
    "text": lambda _, text: message(text),
    "writer": lambda _, text: message("hello", user=User(text, text), place=Place(text, text, text)),
    "command": lambda _, text: command(text, {text: text}),
    "callback": lambda one, text: callback(one, "more", user=text or "x"),
}


@TEXTS
@pytest.mark.parametrize("where", WHERE)
async def test_texts_of_a_platform_are_never_an_exception(
    desk: Desk, counter: Kind, kinds: Kinds, where: str, text: str
) -> None:
    kinds["open"] = kind = variant(counter, update_filter=anyone, on_message=stored_text)
    await desk.restart()
    handle = await desk.start(kind)
    for focused in (False, True):
        if focused:
            await desk.dispatch(message("focus", platform=desk.screen))
        came = WHERE[where](handle.id, text)
        came.platform = desk.screen
        dispatched = await soon(desk.dispatch(came))
        assert came.is_answered is dispatched.is_handled
        assert dispatched.result != "unavailable"
    await lives_on(desk, handle)


async def stored_text(self: Counter, ctx: Context) -> None:
    self.data.words.append(ctx.text)


@TEXTS
async def test_texts_of_a_platform_start_a_dialog_or_nothing(
    desk: Desk, counter: Kind, kinds: Kinds, text: str
) -> None:
    kinds["open"] = kind = variant(counter, update_filter=anyone)
    await desk.restart()
    for at, came in enumerate(
        [
            command(text, {text: text}),
            command(user=User(text, text, text, frozenset({text}))),
            command(place=Place(text, text, text)),
            command(delivery_id=text),
            message(text),
        ]
    ):
        came.platform = desk.screen
        try:
            handle = await soon(desk.dialogs.start(kind, came, id=f"d{at}"))
        except (InvalidError, LimitError):
            assert await records(desk.store, f"d{at}") == []
            assert not came.replies
            continue
        assert came.is_answered
        if handle.outcome == "started":
            await lives_on(desk, handle)
        else:
            assert await records(desk.store, f"d{at}") == []


async def test_who_writes_with_a_separator_in_the_name_is_nobody_else(desk: Desk, counter: Kind, kinds: Kinds) -> None:
    """Proves that the messages of one person never reach the dialog of another, whatever the two are called."""

    async def start(_: Counter, ctx: Context) -> None:
        await ctx.reply("Write!")
        ctx.focus()

    kinds["listening"] = listening = variant(counter, start=start, on_message=stored_text, update_filter=anyone)
    await desk.restart()
    came = command(user=User("ann", "red"), place=Place("chat\0one", "thread"), platform=desk.screen)
    assert (await desk.dialogs.start(listening, came)).outcome == "started"
    for place, user in (
        (Place("chat", "one\0thread"), User("ann", "red")),
        (Place("one", "thread"), User("ann", "red\0chat")),
        (Place("chat\0one", ""), User("thread\0ann", "red")),
    ):
        written = message("hello", user=user, place=place, platform=desk.screen)
        assert (await desk.dispatch(written)).result == "foreign"
