"""Tokens: 256 random bits, of which only a keyed hash is ever stored, logged or shown."""

import logging
from datetime import timedelta

import pytest

from sojourn import limits
from sojourn.errors import InvalidError, LimitError, SessionInvalidError, SessionRevokedError, SessionUnknownError
from sojourn.kernel import Key, RankSpan, Reads, Span, Store
from sojourn.sessions import Mode, Sessions
from sojourn.sessions.model import Keyring
from sojourn.testing import ManualClock

from .conftest import ABSOLUTE, IDLE

MINTED = "7f7c5d1e-8f0a-4b7e-9a51-6f2f3a1c9d10"
OTHER = "0b6c2a54-1f4f-4f57-8f5c-c2f5b0a7c111"


@pytest.mark.row("P-R8", "F-G2")
async def test_a_token_carries_the_public_id_and_256_bits(sessions: Sessions) -> None:
    tokens = [(await sessions.issue()).token for _ in range(20)]
    assert all(len(token.split(".")[1]) * 6 >= 256 for token in tokens)
    assert len(set(tokens)) == 20
    issued = await sessions.issue()
    assert issued.token.split(".")[0] == issued.session.id


@pytest.mark.row("P-R8", "F-G8")
async def test_no_record_log_or_repr_shows_the_secret(
    store: Store, sessions: Sessions, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    issued = await sessions.issue("ada", label="phone")
    await issued.session.state("cart", list[str]).put(["book"])
    secret = issued.token.split(".")[1]
    with pytest.raises(SessionInvalidError) as caught:
        await sessions.resolve(issued.token[:-1] + ("A" if issued.token[-1] != "A" else "B"))
    shown = [repr(issued), repr(issued.session), str(issued.session), repr(caught.value), caplog.text]
    for space in ("session", "session.idle", "session.secret", "session.state", "session.trace"):
        shown += [repr(record) async for record in store.scan(Span(space, issued.session.id))]
    shown += [repr(record) async for record in store.scan(Span("session.subject", "ada"))]
    assert not [text for text in shown if secret in text]
    assert issued.session.id in caplog.text


@pytest.mark.row("P-R8")
async def test_a_stored_hash_is_worthless_without_its_key(store: Store) -> None:
    issued = await Sessions(store, keys=[b"a" * 32]).issue()
    assert await Sessions(store, keys=[b"b" * 32]).find(issued.token) is None
    assert await Sessions(store, keys=[b"a" * 32]).find(issued.token) is not None


async def test_keys_are_changed_without_ending_a_session(store: Store) -> None:
    old, new = b"o" * 32, b"n" * 32
    issued = await Sessions(store, keys=[old]).issue()
    both = Sessions(store, keys=[new, old])
    renewed = await both.rotate(issued.token)
    assert await both.find(issued.token) is not None
    assert await Sessions(store, keys=[new]).find(renewed.token) is not None
    assert await Sessions(store, keys=[new]).find(issued.token) is None


async def test_without_keys_two_processes_agree_on_one(store: Store) -> None:
    issued = await Sessions(store).issue()
    assert await Sessions(store).find(issued.token) is not None


def test_the_same_text_hashes_differently_for_each_purpose_and_key() -> None:
    ring = Keyring([b"a" * 32, b"b" * 32])
    assert len({*ring.digests("secret", MINTED), *ring.digests("minted", MINTED)}) == 4


@pytest.fixture
def minted(store: Store) -> Sessions:
    return Sessions(store, idle=IDLE, absolute=ABSOLUTE, mode=Mode.MINTED)


@pytest.mark.row("P-R5", "P-R4")
async def test_a_minted_id_begins_its_session_with_the_first_write(store: Store, minted: Sessions) -> None:
    session = await minted.resolve(MINTED)
    assert not session.is_stored
    assert await session.state("cart", list[str]).get() == []
    assert (await store.rank(RankSpan("session"))).records == ()
    await session.state("cart", list[str]).put(["book"])
    again = await minted.resolve(MINTED)
    assert again.is_stored
    assert again.id == session.id
    assert MINTED not in again.id
    assert await again.state("cart", list[str]).get() == ["book"]


@pytest.mark.row("F-C33")
@pytest.mark.parametrize("wrong", ["", "user123", "a" * 129, "a" * 10_000, "ä" * 30, "a" * 30 + "\n", "a b" * 10])
async def test_a_minted_id_out_of_form_is_refused(minted: Sessions, wrong: str) -> None:
    with pytest.raises(SessionUnknownError):
        await minted.resolve(wrong)


@pytest.mark.row("F-C21")
async def test_after_a_refresh_the_old_minted_id_is_refused_and_the_new_one_leads_to_the_same_state(
    minted: Sessions, clock: ManualClock
) -> None:
    await (await minted.resolve(MINTED)).state("cart", list[str]).put(["book"])
    refreshed = await minted.rotate(MINTED, to=OTHER)
    assert refreshed.token == OTHER
    clock.advance(limits.ROTATION_GRACE)
    session = await minted.resolve(OTHER)
    assert await session.state("cart", list[str]).get() == ["book"]
    with pytest.raises(SessionUnknownError):
        await minted.resolve(MINTED)
    await minted.revoke(session.id)
    with pytest.raises(SessionRevokedError):
        await minted.resolve(OTHER)


async def test_an_ended_minted_id_does_not_begin_again_while_its_trace_is_there(
    minted: Sessions, clock: ManualClock
) -> None:
    session = await minted.resolve(MINTED)
    await session.state("cart", list[str]).put(["book"])
    await minted.revoke(session.id)
    with pytest.raises(SessionRevokedError):
        await session.state("cart", list[str]).put(["late"])
    clock.advance(limits.SESSION_TOMBSTONE)
    assert await (await minted.resolve(MINTED)).state("cart", list[str]).get() == []


async def test_each_mode_says_what_it_needs(sessions: Sessions, minted: Sessions) -> None:
    with pytest.raises(InvalidError, match="browser"):
        await minted.issue()
    await (await minted.resolve(MINTED)).state("cart", list[str]).put([])
    with pytest.raises(InvalidError, match="to"):
        await minted.rotate(MINTED)
    issued = await sessions.issue()
    with pytest.raises(InvalidError, match="grace"):
        await sessions.rotate(issued.token, grace=timedelta(days=1))
    with pytest.raises(InvalidError, match="label"):
        await sessions.rotate(issued.token, label="phone")


async def test_the_key_in_the_store_is_made_once(store: Store) -> None:
    await Sessions(store).issue()
    await Sessions(store).issue()
    (key,) = (await store.read(Reads((Key("session.key", "keys", "0"),)))).records.keys
    assert key is not None
    assert len(key.value) == 32


@pytest.mark.row("P-R3")
async def test_a_hoard_of_tokens_does_not_outlive_signing_in(sessions: Sessions, clock: ManualClock) -> None:
    """Fixation: tokens made in advance are bounded, so that signing in ends them all in its one commit."""
    token = (await sessions.issue()).token
    hoard = [token, *[(await sessions.rotate(token)).token for _ in range(limits.SESSION_SECRETS - 1)]]
    with pytest.raises(LimitError, match="tokens"):
        await sessions.rotate(token)
    await sessions.rotate(hoard[1], subject="ada")
    assert [await sessions.find(old) for old in hoard] == [None] * len(hoard)


async def test_a_minted_session_that_was_moved_and_revoked_does_not_come_back_as_a_stray(
    minted: Sessions, clock: ManualClock
) -> None:
    await (await minted.resolve(MINTED)).state("cart", list[str]).put(["book"])
    await minted.rotate(MINTED, to=OTHER)
    await minted.revoke((await minted.resolve(OTHER)).id)
    clock.advance(limits.SESSION_TOMBSTONE)
    anew = await minted.resolve(OTHER)
    await anew.state("cart", list[str]).put(["pen"])
    assert (await minted.resolve(OTHER)).id == anew.id
    assert await minted.revoke(anew.id)
    with pytest.raises(SessionRevokedError):
        await minted.resolve(OTHER)


async def test_state_does_not_outlive_its_session_into_the_next_of_the_same_id(
    store: Store, clock: ManualClock
) -> None:
    minted = Sessions(store, idle=timedelta(days=2), absolute=timedelta(days=14), mode=Mode.MINTED)
    for _ in range(13):
        await (await minted.resolve(MINTED)).state("note", list[str]).update(lambda note: [*note, "secret"])
        clock.advance(timedelta(days=1))
    clock.advance(timedelta(days=1) + limits.SESSION_TOMBSTONE)
    anew = await minted.resolve(MINTED)
    assert not anew.is_stored
    assert await anew.state("note", list[str]).get() == []
