"""From issue to end: limits, rotation, revocation, and who may come back."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

import sojourn
from sojourn import limits
from sojourn.errors import (
    ConflictError,
    InvalidError,
    LimitError,
    SessionExpiredError,
    SessionInvalidError,
    SessionRevokedError,
    SessionUnknownError,
)
from sojourn.kernel import Attempt, Committed, Key, Put, RankSpan, Reads, Store, Transaction
from sojourn.sessions import Sessions, layout
from sojourn.testing import ManualClock

from .conftest import ABSOLUTE, IDLE

MALFORMED = {
    "empty": "",
    "10,000 characters": "a" * 10_000,
    "no secret": "a" * 22,
    "control characters": "a" * 22 + "." + "b" * 42 + "\n",
    "look-alike letters": "\u0430" * 22 + "." + "b" * 43,
    "full-width digits": "１" * 22 + "." + "b" * 43,  # noqa: RUF001  that is the point
    "half a character": "\ud800" * 22 + "." + "b" * 43,
    "too long a secret": "a" * 22 + "." + "b" * 44,
    "not text": b"a" * 66,
}


async def records(store: Store) -> int:
    """How many records the sessions of this store have, in the spaces that a stranger could fill."""
    pages = [await store.rank(RankSpan(space, limit=limits.PAGE_MAX)) for space in ("session", "session.trace")]
    return sum(len(page.records) for page in pages)


@pytest.mark.row("P-R4")
@pytest.mark.parametrize("token", MALFORMED.values(), ids=MALFORMED.keys())
async def test_what_is_no_token_opens_nothing_and_leaves_nothing(store: Store, sessions: Sessions, token: str) -> None:
    with pytest.raises(SessionUnknownError):
        await sessions.resolve(token)
    assert await sessions.find(token) is None
    assert await records(store) == 0


@pytest.mark.row("P-R4", "F-G4")
async def test_tokens_of_strangers_create_no_record(store: Store, sessions: Sessions) -> None:
    """A flood of well-formed ids costs no memory: nothing is written for what was not issued."""
    foreign = Sessions(store, keys=[b"k" * 32])
    for _ in range(50):
        token = (await foreign.issue()).token
        wrong = f"{token[:22]}.{'A' * 43}"
        with pytest.raises(SessionUnknownError):
            await sessions.resolve(wrong)
        with pytest.raises(SessionUnknownError):
            await sessions.resolve("B" * 22 + token[22:])
    assert await records(store) == 100, "the 50 that were issued, with their traces"


async def test_a_token_of_another_store_opens_nothing(sessions: Sessions, clock: ManualClock) -> None:
    async with sojourn.open("memory:", clock=clock) as other:
        token = (await Sessions(other).issue()).token
    with pytest.raises(SessionUnknownError):
        await sessions.resolve(token)


@pytest.mark.row("P-R6", "F-G3")
async def test_the_idle_limit_ends_a_session_that_is_not_used(sessions: Sessions, clock: ManualClock) -> None:
    token = (await sessions.issue()).token
    for _ in range(5):
        clock.advance(IDLE - timedelta(seconds=1))
        await sessions.resolve(token)
    clock.advance(IDLE + sessions.lifetimes.touch_every)
    with pytest.raises(SessionExpiredError):
        await sessions.resolve(token)


@pytest.mark.row("P-R6")
async def test_the_absolute_limit_ends_a_session_however_active(sessions: Sessions, clock: ManualClock) -> None:
    token = (await sessions.issue()).token
    for _ in range(int(ABSOLUTE / (IDLE / 2)) - 1):
        clock.advance(IDLE / 2)
        await sessions.resolve(token)
    clock.advance(IDLE / 2)
    with pytest.raises(SessionExpiredError):
        await sessions.resolve(token)


@pytest.mark.row("P-R2", "P-R6")
async def test_use_is_noted_in_steps_and_changes_no_data(store: Store, sessions: Sessions, clock: ManualClock) -> None:
    """A touch wakes nobody and moves no revision, and within one step there is none."""
    issued = await sessions.issue()
    await issued.session.state("cart", list[str]).put(["a"])
    keys = tuple(Key(space, issued.session.id, item) for space, item in (("session", ""), ("session.state", "cart")))
    before = (await store.read(Reads(keys))).records
    async with store.watch(*keys) as changes:
        session = await sessions.resolve(issued.token)
        for _ in range(10):
            clock.advance(sessions.lifetimes.touch_every / 20)
            session = await sessions.resolve(issued.token)
            await session.state("cart", list[str]).get()
        deadline = (await sessions.resolve(issued.token)).idle_expires_at
        clock.advance(sessions.lifetimes.touch_every)
        assert (await sessions.resolve(issued.token)).idle_expires_at == deadline, "as read, before the touch"
        moved = (await sessions.resolve(issued.token)).idle_expires_at
        assert moved is not None
        assert deadline is not None
        assert moved - deadline >= sessions.lifetimes.touch_every
        after = (await store.read(Reads(keys))).records
        assert [r and (r.value, r.revision) for r in after.keys] == [r and (r.value, r.revision) for r in before.keys]
        await session.state("cart", list[str]).put(["b"])
        assert (await anext(changes)).keys == {keys[1]}  # type: ignore[union-attr]


@pytest.mark.row("P-R7")
async def test_rotation_keeps_the_state_and_kills_the_old_token_after_the_grace(
    sessions: Sessions, clock: ManualClock
) -> None:
    old = await sessions.issue()
    await old.session.state("cart", list[str]).put(["book"])
    new = await sessions.rotate(old.token)
    assert new.session.id == old.session.id
    assert new.token != old.token
    clock.advance(limits.ROTATION_GRACE - timedelta(milliseconds=1))
    assert (await sessions.resolve(old.token)).id == old.session.id
    clock.advance(timedelta(milliseconds=1))
    with pytest.raises(SessionUnknownError):
        await sessions.resolve(old.token)
    session = await sessions.resolve(new.token)
    assert await session.state("cart", list[str]).get() == ["book"]


@pytest.mark.row("P-R7")
async def test_two_tabs_that_rotate_at_once_both_go_on(sessions: Sessions, clock: ManualClock) -> None:
    old = await sessions.issue()
    async with clock.rushing():
        first, second = await asyncio.gather(sessions.rotate(old.token), sessions.rotate(old.token))
    clock.advance(limits.ROTATION_GRACE)
    assert {(await sessions.resolve(one.token)).id for one in (first, second)} == {old.session.id}
    with pytest.raises(SessionInvalidError):
        await sessions.resolve(old.token)


async def test_a_token_in_its_grace_cannot_prolong_it(sessions: Sessions, clock: ManualClock) -> None:
    old = await sessions.issue()
    await sessions.rotate(old.token)
    clock.advance(limits.ROTATION_GRACE / 2)
    await sessions.rotate(old.token)
    clock.advance(limits.ROTATION_GRACE / 2)
    with pytest.raises(SessionUnknownError):
        await sessions.resolve(old.token)


@pytest.mark.row("P-R3", "P-R7")
async def test_signing_in_leaves_no_earlier_token_alive(sessions: Sessions) -> None:
    """Fixation: whoever knew a token from before the sign-in must not come along, not even within a grace."""
    planted = await sessions.issue()
    renewed = await sessions.rotate(planted.token)
    signed_in = await sessions.rotate(renewed.token, subject="ada")
    for token in (planted.token, renewed.token):
        with pytest.raises(SessionUnknownError):
            await sessions.resolve(token)
        with pytest.raises(SessionUnknownError):
            await sessions.rotate(token)
    session = await sessions.resolve(signed_in.token)
    assert (session.id, session.subject) == (planted.session.id, "ada")
    assert session.signed_in_at is not None


async def test_signing_in_begins_the_absolute_limit_anew_also_for_the_state(
    sessions: Sessions, clock: ManualClock
) -> None:
    token = (await sessions.issue()).token
    session = await sessions.resolve(token)
    await session.state("cart", list[str]).put(["book"])

    async def stay(token: str) -> None:
        for _ in range(int(ABSOLUTE / IDLE * 2) - 2):
            clock.advance(IDLE / 2)
            await sessions.resolve(token)

    await stay(token)
    token = (await sessions.rotate(token, subject="ada")).token
    await stay(token)
    session = await sessions.resolve(token)
    assert await session.state("cart", list[str]).get() == ["book"]
    assert session.created_at is not None


async def test_signing_out_keeps_the_session_but_not_the_subject(sessions: Sessions) -> None:
    issued = await sessions.issue("ada", label="phone")
    out = await sessions.rotate(issued.token, subject=None)
    assert (out.session.id, out.session.subject, out.session.label) == (issued.session.id, None, "phone")
    assert [session async for session in sessions.list_for("ada")] == []


@pytest.mark.row("P-R3", "P-R9")
async def test_a_revoked_session_is_not_revived_by_a_request_in_flight(sessions: Sessions) -> None:
    issued = await sessions.issue()
    in_flight = await sessions.resolve(issued.token)
    await in_flight.state("cart", list[str]).put(["book"])
    assert await sessions.revoke(issued.session.id)
    for late in (
        in_flight.state("cart", list[str]).update(lambda cart: [*cart, "late"]),
        in_flight.state("other", list[str]).put(["late"]),
        in_flight.state("cart", list[str]).get(),
        sessions.resolve(issued.token),
        sessions.rotate(issued.token),
        sessions.rotate(issued.token, subject="ada"),
    ):
        with pytest.raises(SessionRevokedError):
            await late
    assert not await sessions.revoke(issued.session.id)


@pytest.mark.row("P-R3")
async def test_a_revocation_between_read_and_commit_wins(sessions: Sessions, clock: ManualClock) -> None:
    issued = await sessions.issue()
    started, go_on = asyncio.Event(), asyncio.Event()

    async def slow(tx: Attempt) -> None:
        await issued.session.state("cart", list[str]).update(lambda cart: [*cart, "late"], tx=tx)
        started.set()
        await go_on.wait()

    request = asyncio.create_task(sessions.store.run(slow))
    await started.wait()
    await sessions.revoke(issued.session.id)
    go_on.set()
    with pytest.raises(SessionRevokedError):
        await request


async def test_an_ended_session_is_told_from_an_unknown_one_for_a_while(sessions: Sessions, clock: ManualClock) -> None:
    issued = await sessions.issue()
    await sessions.revoke(issued.session.id)
    clock.advance(limits.SESSION_TOMBSTONE)
    with pytest.raises(SessionUnknownError):
        await sessions.resolve(issued.token)


@pytest.mark.row("P-R9", "F-G3", "F-G10")
async def test_signing_out_everywhere_spares_only_the_one_to_keep(sessions: Sessions) -> None:
    issued = [await sessions.issue("ada", label=f"device {place}") for place in range(5)]
    other = await sessions.issue("bob")
    listed = [session async for session in sessions.list_for("ada")]
    assert {session.label for session in listed} == {f"device {place}" for place in range(5)}
    assert await sessions.revoke_all("ada", keep=issued[2].session.id) == 4
    assert [session.id async for session in sessions.list_for("ada")] == [issued[2].session.id]
    assert await sessions.find(issued[0].token) is None
    assert await sessions.find(issued[2].token) is not None
    assert await sessions.find(other.token) is not None
    assert await sessions.revoke_everything() == 2
    assert await sessions.find(other.token) is None


@pytest.mark.row("P-R9")
async def test_a_session_being_issued_does_not_escape_signing_out_everywhere(sessions: Sessions) -> None:
    """Its index record is there, its session is not: `revoke_all` leaves a trace that makes the issue fail."""
    commit = sessions.store.commit

    async def late(transaction: Transaction) -> Committed:
        if any(isinstance(write, Put) and write.key.space == layout.SESSION for write in transaction.writes):
            assert await sessions.revoke_all("ada") == 0
        return await commit(transaction)

    sessions.store.commit = late  # type: ignore[method-assign]
    with pytest.raises(ConflictError):
        await sessions.issue("ada")
    assert [session async for session in sessions.list_for("ada")] == []


@pytest.mark.row("P-R9")
async def test_a_sign_in_beside_signing_out_everywhere_is_found_the_next_time(sessions: Sessions) -> None:
    """The sign-in has written its index and not yet its session: `revoke_all` leaves the index where it is."""
    issued = await sessions.issue()

    async def sign_in(tx: Attempt) -> None:
        await sessions.rotate(issued.token, subject="ada", tx=tx)
        assert await sessions.revoke_all("ada") == 0

    await sessions.store.run(sign_in)
    assert [session.id async for session in sessions.list_for("ada")] == [issued.session.id]
    assert await sessions.revoke_all("ada") == 1
    assert [record async for record in sessions.store.scan(layout.subjects("ada"))] == []


async def test_the_index_is_believed_only_when_the_session_agrees(sessions: Sessions) -> None:
    """A session that went from one subject to another is not ended, nor listed, for the first."""
    issued = await sessions.issue("ada")
    moved = await sessions.rotate(issued.token, subject="bob")
    assert [session async for session in sessions.list_for("ada")] == []
    assert await sessions.revoke_all("ada") == 0
    assert (await sessions.resolve(moved.token)).subject == "bob"


@pytest.mark.row("F-G3")
async def test_all_sessions_are_listed_latest_use_first(sessions: Sessions, clock: ManualClock) -> None:
    issued = []
    for _ in range(3):
        issued.append(await sessions.issue())
        clock.advance(timedelta(minutes=5))
    await sessions.resolve(issued[0].token)
    listed = [session.id async for session in sessions.list_all()]
    assert listed == [issued[place].session.id for place in (0, 2, 1)]


async def test_sweeping_gives_back_the_room_of_idle_sessions(
    store: Store, sessions: Sessions, clock: ManualClock
) -> None:
    """Records after many sessions have come and gone: what was there before, but for the key of the store."""
    for _ in range(20):
        session = (await sessions.issue()).session
        await session.state("cart", list[str]).put(["book"])
    kept = await sessions.issue()
    clock.advance(IDLE / 2)
    await sessions.resolve(kept.token)
    clock.advance(IDLE / 2 + timedelta(minutes=2))
    await store.sweep()
    assert await sessions.sweep() == 20
    assert await sessions.find(kept.token) is not None
    clock.advance(limits.SESSION_TOMBSTONE)
    assert await sessions.find(kept.token) is None
    assert await sessions.sweep() == 1
    clock.advance(ABSOLUTE + limits.SESSION_TOMBSTONE)
    await store.sweep()
    assert await records(store) == 0


async def test_a_session_used_in_the_last_moment_is_not_swept(sessions: Sessions, clock: ManualClock) -> None:
    issued = await sessions.issue()
    for _ in range(10):
        clock.advance(IDLE - timedelta(seconds=1))
        await sessions.resolve(issued.token)
        assert await sessions.sweep() == 0


@pytest.mark.parametrize(
    ("subject", "error"),
    [
        ("", InvalidError),
        ("a" * 129, LimitError),
        ("a\nb", InvalidError),
        ("a\0", InvalidError),
        ("\ud800", InvalidError),
    ],
)
async def test_a_subject_that_cannot_be_one_is_refused_by_name(
    sessions: Sessions, subject: str, error: type[Exception]
) -> None:
    with pytest.raises(error, match="subject"):
        await sessions.issue(subject)


def test_limits_that_make_no_sense_are_refused(store: Store) -> None:
    mistakes: list[dict[str, Any]] = [
        {"idle": timedelta()},
        {"idle": timedelta(days=2), "absolute": timedelta(days=1)},
        {"absolute": timedelta(days=36_500)},
        {"keys": []},
        {"keys": [b"short"]},
    ]
    for wrong in mistakes:
        with pytest.raises(InvalidError):
            Sessions(store, **wrong)


async def test_a_session_begins_with_the_commit_it_is_part_of(sessions: Sessions) -> None:
    tokens: list[str] = []

    async def sign_up(tx: Attempt, *, fail: bool) -> None:
        issued = await sessions.issue("ada", tx=tx)
        tokens.append(issued.token)
        assert issued.session.subject == "ada"
        await issued.session.state("cart", list[str]).put(["book"], tx=tx)
        if fail:
            raise LookupError

    with pytest.raises(LookupError):
        await sessions.store.run(lambda tx: sign_up(tx, fail=True))
    assert await sessions.find(tokens[0]) is None
    await sessions.store.run(lambda tx: sign_up(tx, fail=False))
    session = await sessions.resolve(tokens[1])
    assert await session.state("cart", list[str]).get() == ["book"]
