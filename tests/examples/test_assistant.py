"""The example's assistant, in this process: its clock stands still, so an answer that takes its time is never done."""

from types import ModuleType
from typing import Any

import pytest

from examples.shop import assistant
from examples.shop.assistant import QUESTION_CHARS, Conversation, Talk
from sojourn.errors import ApplicationError
from sojourn.functions import Bound
from sojourn.sessions import Session
from sojourn.snapshots import SnapshotInput, Status

from .conftest import Load, issue


@pytest.fixture
async def shop(load: Load) -> ModuleType:
    return await load("examples.shop", "SHOP_STORE")  # type: ignore[no-any-return]  # a module imported by name


class Visitor:
    """Somebody who talks to the assistant."""

    def __init__(self, shop: ModuleType, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
        self._shop = shop
        self._session = session
        self._monkeypatch = monkeypatch
        self._bound: Bound = shop.functions.bind(shop.store)

    async def begin(self, question: str, **how: Any) -> str:
        """Ask, and return the id of the turn, which stays under way."""
        self._monkeypatch.setattr(assistant, "PAUSE", 1.0)
        return str(await self._run(self._shop.ask, question=question, **how))

    async def ask(self, question: str, **how: Any) -> str:
        """Ask, and return the id of the turn once it has ended."""
        self._monkeypatch.setattr(assistant, "PAUSE", 0.0)
        return await self._ended(await self._run(self._shop.ask, question=question, **how))

    async def ask_again(self, turn: str) -> str:
        """Have a turn's question answered again, and return the id of that turn once it has ended."""
        self._monkeypatch.setattr(assistant, "PAUSE", 0.0)
        return await self._ended(await self._run(self._shop.ask_again, turn=turn))

    async def stop(self, turn: str) -> None:
        """Stop an answer."""
        await self._run(self._shop.stop, turn=turn)

    async def leave_empty(self, parent: str) -> str:
        """Store a turn as it is found when its server died before it could store what it was asked."""
        given = SnapshotInput[Talk](session_id=self._session.id, parent_id=parent, status=Status.FAILED)
        return str(await self._shop.clerk.snapshots.save_snapshot(None, lambda _: given))

    async def forget(self) -> None:
        """Erase the conversation."""
        await self._run(self._shop.forget_conversation)

    async def look(self, at: str | None = None) -> Conversation:
        """Return what the page shows."""
        return await self._run(self._shop.conversation, at=at)  # type: ignore[no-any-return]

    async def add(self, sku: str) -> None:
        """Put something into the basket."""
        await self._run(self._shop.add, sku=sku)

    async def _run(self, function: Any, **arguments: Any) -> Any:
        return await self._bound.run(function, session=self._session, **arguments)

    async def _ended(self, turn: str) -> str:
        async for info in self._shop.clerk.snapshots.watch(turn):
            assert info.snapshot_id == turn
        return turn


@pytest.fixture
async def visitor(shop: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Visitor:
    return Visitor(shop, await issue(shop), monkeypatch)


def texts(conversation: Conversation) -> list[str]:
    """The questions that lead to the turn shown."""
    return [exchange.question for exchange in conversation.said]


def statuses(conversation: Conversation) -> list[Status]:
    """How it stands with each turn."""
    return [turn.status for turn in conversation.turns]


async def test_it_answers_by_what_was_said_before(visitor: Visitor) -> None:
    """Proves that a turn goes on from the state of the one before: "it" is what that one was about."""
    await visitor.ask("What helps against the cold?")
    await visitor.ask("How much is it?")
    shown = await visitor.look()
    assert texts(shown) == ["What helps against the cold?", "How much is it?"]
    assert ["wool blanket" in exchange.answer for exchange in shown.said] == [True, True]
    assert "€78.00" in shown.said[-1].answer


async def test_from_an_earlier_turn_it_goes_another_way(visitor: Visitor) -> None:
    """Proves that each branch has the state of its own, and that the first way is still there, whole."""
    cold = await visitor.ask("What helps against the cold?")
    much = await visitor.ask("How much is it?")
    tea = await visitor.ask("And for tea?", after=cold)
    await visitor.ask("How much is it?")
    shown = await visitor.look()
    assert texts(shown) == ["What helps against the cold?", "And for tea?", "How much is it?"]
    assert "€11.50" in shown.said[-1].answer
    assert [turn.parent for turn in shown.turns] == [None, cold, cold, tea]
    before = await visitor.look(much)
    assert (before.shown, "€78.00" in before.said[-1].answer) == (much, True)


async def test_a_question_is_answered_again_in_other_words(visitor: Visitor) -> None:
    """Proves that a regenerated turn stands beside the first, at the root as behind a turn."""
    first = await visitor.ask("Something to eat?")
    second = await visitor.ask_again(first)
    behind = await visitor.ask("And for the cold?", after=first)
    beside = await visitor.ask_again(behind)
    shown = await visitor.look()
    assert [turn.parent for turn in shown.turns] == [None, None, first, first]
    answers = [(await visitor.look(turn)).said[-1].answer for turn in (first, second, behind, beside)]
    assert len({*answers}) == 4
    assert texts(await visitor.look(second)) == ["Something to eat?"]


async def test_while_it_answers_another_window_is_told(visitor: Visitor) -> None:
    """Proves that a second question is refused, and nothing of it stays, unless it is to be answered beside."""
    await visitor.ask("Something to eat?")
    under_way = await visitor.begin("And for the cold?")
    with pytest.raises(ApplicationError, match="another answer is still under way") as refused:
        await visitor.begin("Or tea?")
    assert refused.value.data == {"busy": True}
    assert statuses(await visitor.look()) == [Status.COMPLETED, Status.PENDING]
    await visitor.ask("Or tea?", beside=True)
    shown = await visitor.look()
    assert texts(shown) == ["Something to eat?", "Or tea?"]
    assert statuses(shown) == [Status.COMPLETED, Status.PENDING, Status.COMPLETED]
    await visitor.stop(under_way)


async def test_what_is_under_way_can_be_read_and_stopped(visitor: Visitor) -> None:
    """Proves that a turn has its question from the start, keeps it when it is stopped, and is gone back over then."""
    await visitor.ask("What helps against the cold?")
    under_way = await visitor.begin("And for tea?")
    assert texts(await visitor.look()) == ["What helps against the cold?", "And for tea?"]
    await visitor.stop(under_way)
    stopped = await visitor.look()
    assert texts(stopped) == ["What helps against the cold?", "And for tea?"]
    assert statuses(stopped) == [Status.COMPLETED, Status.ABORTED]
    await visitor.ask("How much is it?")
    gone_on = await visitor.look()
    assert texts(gone_on) == ["What helps against the cold?", "How much is it?"]
    assert "€78.00" in gone_on.said[-1].answer
    await visitor.ask_again(under_way)
    assert texts(await visitor.look()) == ["What helps against the cold?", "And for tea?"]


async def test_a_server_that_died_at_once_leaves_a_turn_without_a_question(visitor: Visitor) -> None:
    """Proves that such a turn hides nothing of what was said before, and is not taken for the one before."""
    before = await visitor.ask("What helps against the cold?")
    empty = await visitor.leave_empty(before)
    shown = await visitor.look()
    assert (shown.shown, texts(shown)) == (empty, ["What helps against the cold?"])
    with pytest.raises(ApplicationError, match="is lost"):
        await visitor.ask_again(empty)


async def test_what_is_answered_stays_answered(visitor: Visitor) -> None:
    """Proves that who stops too late stops nothing."""
    turn = await visitor.ask("Something to eat?")
    await visitor.stop(turn)
    assert statuses(await visitor.look()) == [Status.COMPLETED]


async def test_a_turn_that_fails_says_why(visitor: Visitor) -> None:
    """Proves that what the work raises is stored with its turn, and the conversation goes on before it."""
    turn = await visitor.ask("May I see the manager?")
    (failed,) = (await visitor.look()).turns
    assert (failed.id, failed.status, failed.problem) == (turn, Status.FAILED, "The manager has gone home.")
    await visitor.ask("Something to eat?")
    assert texts(await visitor.look()) == ["Something to eat?"]
    with pytest.raises(ApplicationError, match="was not finished"):
        await visitor.ask("Why?", after=turn)


async def test_it_knows_the_basket(visitor: Visitor) -> None:
    """Proves that an answer is made of what the session holds."""
    await visitor.ask("What is in my basket?")
    await visitor.add("mug")
    await visitor.ask("What is in my basket?")
    said = [exchange.answer for exchange in (await visitor.look()).said]
    assert ("empty" in said[0], "1 of the enamel mug" in said[1], "€11.50" in said[1]) == (True, True, True)


async def test_a_conversation_is_the_sessions_own(
    shop: ModuleType, visitor: Visitor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Proves that who knows the id of another's turn can neither read nor stop it, nor go on from it."""
    turn = await visitor.begin("Something to eat?")
    other = Visitor(shop, await issue(shop), monkeypatch)
    assert (await other.look(turn)).turns == []
    for prying in (other.stop(turn), other.ask("What?", after=turn), other.ask_again(turn)):
        with pytest.raises(ApplicationError, match="no such turn"):
            await prying
    assert statuses(await visitor.look()) == [Status.PENDING]
    await visitor.stop(turn)


async def test_a_conversation_can_be_forgotten(visitor: Visitor) -> None:
    """Proves that nothing of it is left, and that the next question begins a new one."""
    await visitor.ask_again(await visitor.ask("Something to eat?"))
    await visitor.forget()
    assert (await visitor.look()).turns == []
    await visitor.ask("How much is it?")
    assert "six things" in (await visitor.look()).said[-1].answer


async def test_a_question_is_a_line_of_text(visitor: Visitor) -> None:
    """Proves that what is no question is refused, and begins no turn."""
    for wrong in ("", "  ", "?" * (QUESTION_CHARS + 1)):
        with pytest.raises(ApplicationError, match="ask something"):
            await visitor.ask(wrong)
    assert (await visitor.look()).turns == []


async def test_a_conversation_has_an_end(visitor: Visitor, monkeypatch: pytest.MonkeyPatch) -> None:
    """Proves that the page never has to draw more turns than it can."""
    monkeypatch.setattr(assistant, "TURNS", 2)
    first = await visitor.ask("Something to eat?")
    await visitor.ask("How much is it?")
    for more in (visitor.ask("And tea?"), visitor.ask_again(first)):
        with pytest.raises(ApplicationError, match="long enough"):
            await more
    assert len((await visitor.look()).turns) == 2
