"""Messages to documents: kept until a holder has handled them, each once, in one commit with the change it makes."""

import asyncio
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from sojourn import limits
from sojourn.documents import Cause, Documents, Message
from sojourn.errors import (
    ClosedError,
    CommitUnknownError,
    InvalidError,
    LimitError,
    OverloadedError,
    TransformInvalidError,
    UnavailableError,
)
from sojourn.kernel import Store
from tests.documents.conftest import (
    LEASE,
    HastyClock,
    Holders,
    Player,
    Players,
    insist,
    players_over,
    records,
    settled,
    until,
)
from tests.documents.trading import Gate, earn

Received = list[tuple[str, Any]]


@pytest.fixture
def received() -> Received:
    """Id and body of each message that `take` was given."""
    return []


@pytest.fixture
def take(received: Received) -> Callable[[Player, Message], bool]:
    """Handle a message: its body is an item for the player."""

    def take(draft: Player, message: Message) -> bool:
        received.append((message.id, message.body))
        draft.items.append(str(message.body))
        return True

    return take


@pytest.fixture
def gate(store: Store) -> Gate:
    return Gate(store)


async def waiting_for(documents: Documents[Player], key: str) -> list[Any]:
    """The bodies of the messages that wait for a document, as an export shows them."""
    return [message["body"] for message in (await documents.export(key)).get("messages", [])]


async def stored_items(documents: Documents[Player], key: str = "ada") -> list[str]:
    found = await documents.peek(key)
    return [] if found is None else found.items


# == Sent and handled


async def test_a_holder_handles_a_message_at_once_and_durably(
    players: Players, take: Callable[..., bool], holder: Holders
) -> None:
    """No clock moves here: the watch wakes it."""
    told: list[tuple[list[str], Cause]] = []
    here = players(on_message=take, changed_callbacks=[lambda _, new, __, cause: told.append((new.items, cause))])
    ada = await here.load("ada")
    elsewhere = await holder()
    assert await elsewhere.players.send("ada", "sword", id="1")
    await until(lambda: ada.value.items)
    assert await stored_items(elsewhere.players) == ["sword"]
    assert ada.is_saved
    assert told[1:] == [(["sword"], Cause.MESSAGE)]
    assert [version.cause for version in (await here.history("ada")).items] == [Cause.MESSAGE]
    assert await waiting_for(here, "ada") == []


async def test_messages_wait_for_the_next_holder_and_come_in_their_order(
    players: Players, take: Callable[..., bool], received: Received
) -> None:
    here = players(on_message=take)
    for number in range(limits.MESSAGE_PAGE + 20):
        assert await here.send("ada", number)
    assert await here.peek("ada") is None, "sending begins no document"
    ada = await here.load("ada")
    await until(lambda: len(ada.value.items) == limits.MESSAGE_PAGE + 20)
    assert [body for _, body in received] == list(range(limits.MESSAGE_PAGE + 20))
    assert await waiting_for(here, "ada") == []


async def test_a_message_says_what_it_is_and_when_it_was_sent(players: Players, clock: HastyClock) -> None:
    seen: list[Message] = []

    def note(draft: Player, message: Message) -> bool:
        seen.append(message)
        return True

    here = players(on_message=note)
    clock.advance(timedelta(days=1))
    body = {"gift": ["sword", None, 2.5, True], "from": "bo ✨"}
    await here.send("ada", body, id="gift 17")
    sent_at = clock.now() / 1_000
    await here.load("ada")
    await until(lambda: seen)
    (message,) = seen
    assert (message.id, message.body) == ("gift 17", body)
    assert abs(message.sent_at.timestamp() - sent_at) < limits.LEASE_TTL.total_seconds()
    assert message.sent_at.tzinfo is not None


async def test_an_id_is_taken_once_by_whomever_it_is_sent_and_also_when_it_was_handled(
    players: Players, take: Callable[..., bool], holder: Holders, received: Received
) -> None:
    here, elsewhere = players(on_message=take), (await holder()).players
    assert await here.send("ada", "sword", id="1")
    assert not await elsewhere.send("ada", "shield", id="1")
    ada = await here.load("ada")
    await until(lambda: ada.value.items)
    assert not await elsewhere.send("ada", "shield", id="1")
    assert await elsewhere.send("bo", "shield", id="1"), "an id is one document's"
    assert received == [("1", "sword")]


async def test_an_id_is_forgotten_after_a_day(players: Players, clock: HastyClock) -> None:
    here = players()
    assert await here.send("ada", "sword", id="1")
    clock.advance(limits.MESSAGE_KEEP - timedelta(seconds=1))
    assert not await here.send("ada", "sword", id="1")
    clock.advance(timedelta(seconds=1))
    assert await here.send("ada", "sword", id="1")


async def test_messages_without_an_id_are_each_another(players: Players, received: Received) -> None:
    here = players()
    assert [await here.send("ada", "sword") for _ in range(3)] == [True] * 3
    assert await waiting_for(here, "ada") == ["sword"] * 3


async def test_the_same_message_sent_side_by_side_is_taken_once(players: Players, holder: Holders) -> None:
    senders = [players(), *[(await holder()).players for _ in range(2)]]
    taken = await asyncio.gather(*(sender.send("ada", "sword", id="1") for sender in senders for _ in range(3)))
    assert sorted(taken) == [False] * 8 + [True]
    assert await waiting_for(senders[0], "ada") == ["sword"]


async def test_a_message_is_stored_with_what_was_changed_before_it(players: Players, take: Callable[..., bool]) -> None:
    here = players(on_message=take)
    ada = await here.load("ada")
    await ada.update(earn(5))
    await here.send("ada", "sword")
    await until(lambda: ada.value.items)
    assert await here.peek("ada") == Player(coins=5, items=["sword"])
    assert ada.is_saved


async def test_a_message_that_changes_nothing_is_handled_and_calls_nobody(players: Players) -> None:
    told: list[Cause] = []
    seen: list[str] = []

    def note(draft: Player, message: Message) -> bool:
        seen.append(message.id)
        return True

    here = players(on_message=note, changed_callbacks=[lambda *told_of: told.append(told_of[-1])])
    ada = await here.load("ada")
    await here.send("ada", None, id="1")
    await until(lambda: seen)
    await ada.unload()
    assert await waiting_for(here, "ada") == []
    assert told == [Cause.LOAD]
    assert seen == ["1"]


async def test_where_messages_are_not_handled_they_wait(players: Players, store: Store) -> None:
    here = players()
    async with here.open("ada"):
        await here.send("ada", "sword")
        await settled(store)
    assert await waiting_for(here, "ada") == ["sword"]


async def test_one_that_is_left_is_kept_for_whoever_loads_the_document_next(
    players: Players, take: Callable[..., bool], received: Received, store: Store
) -> None:
    left: list[str] = []

    def leave(draft: Player, message: Message) -> bool:
        left.append(message.id)
        draft.items.append("dropped")
        return bool(message.body != "letter")

    here = players(on_message=leave)
    ada = await here.load("ada")
    await here.send("ada", "letter", id="1")
    await until(lambda: left)
    for number in (2, 3):
        await here.send("ada", "sword", id=str(number))
        await until(lambda: len(left) == number)  # noqa: B023  it is over before the next
    await ada.unload()
    assert left == ["1", "2", "3"], "one that is left is not looked at again"
    assert await stored_items(here) == ["dropped", "dropped"]
    assert await waiting_for(here, "ada") == ["letter"]
    elsewhere = players(on_message=take)
    async with elsewhere.open("ada") as again:
        await until(lambda: len(again.value.items) == 3)
    assert received == [("1", "letter")]
    assert await waiting_for(here, "ada") == []


# == Failing handlers


async def test_one_whose_handler_fails_is_tried_again_and_holds_up_nobody(
    players: Players, store: Store, clock: HastyClock, received: Received, caplog: pytest.LogCaptureFixture
) -> None:
    fails = True

    def take(draft: Player, message: Message) -> bool:
        received.append((message.id, message.body))
        draft.items.append(str(message.body))
        if fails and message.id == "1":
            raise ZeroDivisionError
        return True

    here = players(on_message=take)
    ada = await here.load("ada")
    await here.send("ada", "curse", id="1")
    await until(lambda: received)
    await here.send("ada", "sword", id="2")
    await until(lambda: ada.value.items)
    assert await stored_items(here) == ["sword"], "what the failing one wrote into its draft is gone"
    assert [message for message, _ in received] == ["1", "2"], "it is not tried again at once"
    fails = False
    await settled(store)
    clock.advance(limits.MESSAGE_PAUSE)
    await until(lambda: len(ada.value.items) == 2)
    assert await stored_items(here) == ["sword", "curse"]
    assert await waiting_for(here, "ada") == []
    assert "the message 1 to the document ada fails" in caplog.text
    assert "curse" not in caplog.text, "what a message says is nobody's business"


async def test_one_that_fails_again_and_again_is_reported_once(
    players: Players, store: Store, clock: HastyClock, caplog: pytest.LogCaptureFixture
) -> None:
    tries: list[str] = []

    def take(draft: Player, message: Message) -> bool:
        tries.append(message.id)
        raise ZeroDivisionError

    here = players(on_message=take)
    await here.load("ada")
    for at, name in enumerate("12"):
        await here.send("ada", "curse", id=name)
        await until(lambda: len(tries) == at + 1)  # noqa: B023  it is over before the next
    for round_ in (2, 3, 4):
        await settled(store)
        clock.advance(limits.MESSAGE_PAUSE)
        await until(lambda: len(tries) == 2 * round_)  # noqa: B023  likewise
    await settled(store)
    reports = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.getMessage().split()[2] for record in reports] == ["1", "2"]
    assert all(record.exc_info for record in reports)


@pytest.mark.parametrize("answer", [None, 1, "yes"])
async def test_a_handler_that_says_neither_true_nor_false_has_not_handled_it(
    players: Players, store: Store, clock: HastyClock, answer: Any
) -> None:
    calls: list[str] = []

    def take(draft: Player, message: Message) -> bool:
        calls.append(message.id)
        draft.coins += 1
        return answer if len(calls) == 1 else True

    here = players(on_message=take)
    ada = await here.load("ada")
    await here.send("ada", None)
    await until(lambda: calls)
    await settled(store)
    assert ada.value.coins == 0
    clock.advance(limits.MESSAGE_PAUSE)
    await until(lambda: ada.value.coins)
    assert await waiting_for(here, "ada") == []


async def test_a_handler_that_breaks_the_schema_or_calls_back_changes_nothing(players: Players, store: Store) -> None:
    problems: list[Exception] = []
    here: Documents[Player]

    def take(draft: Player, message: Message) -> bool:
        if message.body == "calls back":
            try:
                _ = here.update("ada", earn(1))
            except TransformInvalidError as error:
                problems.append(error)
                raise
        draft.coins = "many"  # type: ignore[assignment]
        return True

    here = players(on_message=take)
    ada = await here.load("ada")
    await here.send("ada", "calls back")
    await here.send("ada", "many")
    await until(lambda: problems)
    await settled(store)
    assert ada.value == Player()
    assert await waiting_for(here, "ada") == ["calls back", "many"]
    await ada.update(earn(1))
    await ada.save()


async def test_a_handler_that_waits_is_refused_at_once(players: Players) -> None:
    async def take(draft: Player, message: Message) -> bool:
        return True

    with pytest.raises((TransformInvalidError, InvalidError)):
        players(on_message=take)


# == Losses, crashes and lost answers


async def test_a_message_whose_holder_crashes_is_handled_by_the_next_one_once(
    holder: Holders, take: Callable[..., bool], clock: HastyClock, players: Players
) -> None:
    first = await holder(on_message=take)
    ada = await first.players.load("ada")
    await first.players.send("ada", "sword")
    await until(lambda: ada.value.items)
    first.wire.cut()
    here = players(on_message=take)
    await here.send("ada", "shield")
    await first.crash()
    clock.advance(LEASE)
    again = await here.load("ada")
    await until(lambda: len(again.value.items) == 2)
    assert await stored_items(here) == ["sword", "shield"]


@pytest.mark.parametrize("arrives", [True, False], ids=["answer lost", "commit lost"])
async def test_a_crash_in_the_commit_of_a_message_leaves_both_halves_or_none(
    holder: Holders, take: Callable[..., bool], clock: HastyClock, players: Players, *, arrives: bool
) -> None:
    first = await holder(on_message=take)
    await first.players.load("ada")
    here = players()
    first.wire.break_after(0, arrives=arrives)
    await here.send("ada", "sword")
    await until(first.wire.broken.is_set)
    assert await waiting_for(here, "ada") == ([] if arrives else ["sword"])
    assert await stored_items(here) == (["sword"] if arrives else [])
    async with clock.rushing():  # it asks for the outcome until its lease is over
        await first.crash()
    clock.advance(LEASE)
    taking = players(on_message=take)
    again = await taking.load("ada")
    await until(lambda: again.value.items)
    assert again.value.items == ["sword"]


async def test_a_message_meanwhile_handed_to_a_holder_that_was_fenced_out_is_the_next_ones(
    players: Players, take: Callable[..., bool], store: Store, gate: Gate, holder: Holders
) -> None:
    here = players(on_message=take)
    ada = await here.load("ada")
    gate.shut()
    await here.send("ada", "sword")
    await gate.arrived.wait()
    thief = await holder(on_message=take)
    await thief.players.revoke("ada")
    stolen = await thief.players.load("ada")
    await until(lambda: stolen.value.items)
    gate.open()
    await until(lambda: ada.closed)
    await settled(store)
    assert ada.value.items == []
    assert await stored_items(here) == ["sword"]


async def test_while_the_store_is_away_messages_wait_and_come_when_it_is_back(
    holder: Holders, take: Callable[..., bool], players: Players, store: Store, clock: HastyClock
) -> None:
    first = await holder(on_message=take, lease=timedelta(hours=1))
    ada = await first.players.load("ada")
    await settled(first.store)
    first.wire.cut()
    with clock.hasty(limits.MESSAGE_PAUSE.total_seconds()):
        await players().send("ada", "sword")
        await settled(store)
        assert ada.value.items == []
        first.wire.resume()
        await until(lambda: ada.value.items)
    assert await stored_items(players()) == ["sword"]


async def test_a_sender_that_cannot_reach_the_store_is_told_and_may_repeat(holder: Holders, clock: HastyClock) -> None:
    first = await holder()
    first.wire.cut()
    with pytest.raises(UnavailableError):
        await first.players.send("ada", "sword", id="1")
    first.wire.resume()
    first.wire.losses = limits.REPEAT_ATTEMPTS
    with clock.hasty(), pytest.raises(CommitUnknownError):
        await first.players.send("ada", "sword", id="1")
    assert not await first.players.send("ada", "sword", id="1"), "it had been taken"
    assert await waiting_for(first.players, "ada") == ["sword"]


async def test_every_message_takes_effect_once_under_lost_answers(faulty_store: Store, clock: HastyClock) -> None:
    items: list[str] = []

    def take(draft: Player, message: Message) -> bool:
        draft.items.append(str(message.body))
        return True

    documents = players_over(faulty_store, on_message=take, lease=timedelta(hours=1))
    ada = await insist(lambda: documents.load("ada", wait=0))
    with clock.hasty(limits.MESSAGE_PAUSE.total_seconds()):
        for number in range(60):
            items.append(str(number))
            await insist(lambda: documents.send("ada", items[-1], id=items[-1]))
        await until(lambda: len(ada.value.items) >= len(items) or ada.closed)
    assert ada.value.items == items or sorted(ada.value.items, key=int) == items
    assert (await insist(lambda: documents.peek("ada"))) == ada.value


# == Unload, close, erase


async def test_an_unload_while_messages_come_loses_none(
    players: Players, take: Callable[..., bool], store: Store
) -> None:
    here = players(on_message=take)
    sent = [str(number) for number in range(20)]

    async def send() -> None:
        for number in sent:
            await here.send("ada", number, id=number)

    sending = asyncio.create_task(send())
    while not sending.done():
        async with here.open("ada"):
            await asyncio.sleep(0)
    await sending
    ada = await here.load("ada")
    await until(lambda: len(ada.value.items) == len(sent))
    assert ada.value.items == sent
    await ada.unload()
    assert await stored_items(here) == sent


async def test_a_close_while_messages_come_leaves_no_lease_and_loses_none(
    players: Players, take: Callable[..., bool], store: Store
) -> None:
    here, sender = players(on_message=take), players()
    await here.load("ada")
    for number in range(5):
        await sender.send("ada", str(number))
    await here.close()
    await settled(store)
    assert await sender.probe_lease("ada") is None
    handled = await stored_items(sender)
    assert handled + await waiting_for(sender, "ada") == [str(number) for number in range(5)]
    with pytest.raises(ClosedError):
        await here.send("ada", "late")


async def test_an_erasure_takes_messages_and_their_ids_along(players: Players) -> None:
    here = players()
    await here.send("ada", "sword", id="1")
    assert await here.erase("ada")
    assert await waiting_for(here, "ada") == []
    assert await here.send("ada", "sword", id="1"), "nothing is known of it any more"


async def test_handled_messages_leave_nothing_but_their_ids_for_a_day(
    players: Players, take: Callable[..., bool], store: Store, clock: HastyClock
) -> None:
    here = players(on_message=take)
    async with here.open("ada") as ada:
        for number in range(10):
            await here.send("ada", number)
        await until(lambda: len(ada.value.items) == 10)
    kept = [record.key.space for record in await records(store, "ada")]
    assert kept.count("document.players.inbox") == 0
    assert kept.count("document.players.sent") == 10
    clock.advance(limits.MESSAGE_KEEP)
    kept = [record.key.space for record in await records(store, "ada")]
    assert kept.count("document.players.sent") == 0


async def test_messages_to_documents_of_another_name_or_key_are_not_theirs(
    players: Players, take: Callable[..., bool], store: Store, received: Received
) -> None:
    here = players(on_message=take)
    await here.load("ada")
    boards = Documents(store, "boards", schema=Player, template=Player())
    await boards.send("ada", "not yours")
    await here.send("ada2", "nor this")
    await here.send("ad", "nor that")
    await here.send("ada", "yours")
    await until(lambda: received)
    await settled(store)
    assert [body for _, body in received] == ["yours"]


# == Bad input and limits


@pytest.mark.parametrize(
    "body",
    [b"bytes", {1: "one"}, float("nan"), {"at": timedelta(1)}, object()],
    ids=["bytes", "number as key", "nan", "duration", "object"],
)
async def test_a_body_that_is_not_json_is_refused_before_anything_is_written(
    players: Players, store: Store, body: Any
) -> None:
    with pytest.raises(InvalidError):
        await players().send("ada", body)
    assert await records(store, "ada") == []


async def test_a_body_or_an_id_that_is_too_long_is_refused(players: Players) -> None:
    here = players()
    await here.send("ada", "x" * (limits.MESSAGE_BYTES - 2))
    with pytest.raises(LimitError):
        await here.send("ada", "x" * (limits.MESSAGE_BYTES - 1))
    await here.send("ada", 1, id="x" * limits.MESSAGE_ID_CHARS)
    with pytest.raises(LimitError):
        await here.send("ada", 1, id="x" * (limits.MESSAGE_ID_CHARS + 1))
    for wrong in ("", "line\nbreak", "\x01", 7):
        with pytest.raises(InvalidError):
            await here.send("ada", 1, id=wrong)  # type: ignore[arg-type]
    with pytest.raises(InvalidError):
        await here.send("", 1)


async def test_too_many_messages_for_one_document_are_refused_until_some_are_handled(
    players: Players, take: Callable[..., bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MESSAGES", 10)
    here = players(on_message=take)
    taken = 0

    async def fill() -> None:
        nonlocal taken
        while True:
            assert await here.send("ada", taken)
            taken += 1

    with pytest.raises(OverloadedError):
        await fill()
    assert 9 <= taken <= 11
    assert await here.send("bo", "others are not concerned")
    async with here.open("ada") as ada:
        await until(lambda: len(ada.value.items) == taken)
        assert await here.send("ada", "again")
