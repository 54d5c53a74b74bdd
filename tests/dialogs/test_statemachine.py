"""Random lives of dialogs in two processes, beside a model that says what each step must answer.

A dialog is absent, running or ended. It starts or comes to nothing, is clicked on, meets its deadline, is ended from
outside, and is forgotten; processes restart meanwhile, and platforms deliver twice. `Model` is all of the rules.
"""

import asyncio
import copy
from collections import Counter
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias, TypeVar

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from sojourn import limits
from sojourn.dialogs import (
    KEEP,
    REFRESH,
    Answer,
    Cause,
    Context,
    Dialog,
    DialogEvent,
    DialogInfo,
    Dialogs,
    Dispatched,
    End,
    Ended,
    EventName,
    State,
    User,
    button,
    users,
)
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import DialogExistsError, DialogGoneError
from sojourn.kernel import Store
from sojourn.testing import ManualClock
from sojourn.testing.dialogs import ANN, RecordedInteraction, Screen, command
from sojourn.testing.dialogs import button as clicked

R = TypeVar("R")

TTL = timedelta(minutes=3)
RETAIN = timedelta(minutes=10)
EVE = User("eve")
MILLISECOND = timedelta(milliseconds=1)
ROUNDS = 30
PATIENCE_S = 5.0
"""After that much real time something that never happens is a failure, and not a run that hangs."""

Action: TypeAlias = Literal["more", "refresh", "fail", "done"]
Beginning: TypeAlias = Literal["well", "sour", "failing", "at once"]
"""How a start goes: well, well with an end hook that will raise, with a hook that raises, with one that ends it."""


class OnPurposeError(Exception):
    """What the handlers here raise."""


class Said(msgspec.Struct):
    """What the dialogs here keep."""

    beginning: Beginning
    clicks: int = 0


class Walk(Dialog[int]):
    """Counts clicks. Only Ann may start it."""

    data: Said
    ttl = TTL
    start_filter = users(ANN.id)

    async def start(self, ctx: Context) -> object:
        await ctx.reply("0")
        if self.data.beginning == "failing":
            raise OnPurposeError
        return ctx.end(-1) if self.data.beginning == "at once" else None

    @button
    async def more(self, ctx: Context) -> Answer:  # noqa: ARG002  every handler gets it
        self.data.clicks += 1
        return KEEP

    @button
    async def refresh(self, ctx: Context) -> Answer:  # noqa: ARG002  every handler gets it
        self.data.clicks += 1
        return REFRESH

    @button
    async def fail(self, ctx: Context) -> Answer:
        self.data.clicks += 1
        ctx.end(self.data.clicks)
        raise OnPurposeError

    @button
    async def done(self, ctx: Context) -> End:
        self.data.clicks += 1
        return ctx.end(self.data.clicks)

    async def end(self, ctx: Context, ended: Ended[int]) -> None:
        await ctx.edit_origin(ended.code)
        if self.data.beginning == "sour":
            raise OnPurposeError


# -- The model --------------------------------------------------------------------------------------------------------


class Living(msgspec.Struct):
    """A dialog that runs."""

    beginning: Beginning
    deadline: int
    clicks: int = 0


class Over(msgspec.Struct):
    """A dialog that has ended, and until when that is remembered."""

    ended: Ended[int]
    forgotten: int


class Delivery(msgspec.Struct, frozen=True):
    """One click, as a platform delivers it, once or more."""

    dialog_id: str
    action: Action
    user: User
    delivery_id: str


class Answered(NamedTuple):
    """What became of a click."""

    result: str
    cause: Cause | None = None
    ended: Ended[int] | None = None


class Model:
    """What has to be true of dialogs at each instant."""

    def __init__(self) -> None:
        self.now = 0
        self.dialogs: dict[str, Living | Over] = {}
        self.handled: dict[str, int] = {}
        self.events: list[tuple[EventName, str]] = []
        self.errors: list[str] = []

    def living(self, dialog_id: str) -> Living | None:
        """A dialog that has not ended, though its time may be over."""
        found = self.dialogs.get(dialog_id)
        return found if isinstance(found, Living) else None

    def remembered(self, dialog_id: str) -> Ended[int] | None:
        """How a dialog has ended."""
        found = self.dialogs.get(dialog_id)
        return found.ended if isinstance(found, Over) else None

    def go_to(self, now: int) -> None:
        """Let it be later."""
        self.now = now
        self.dialogs = {
            each: found for each, found in self.dialogs.items() if not isinstance(found, Over) or found.forgotten > now
        }
        self.handled = {each: until for each, until in self.handled.items() if until > now}

    def start(self, dialog_id: str, beginning: Beginning, user: User) -> str:
        """Start one, and say what comes of it."""
        if dialog_id in self.dialogs:
            return "exists"
        if user != ANN:
            self._tell(EventName.DENIED, dialog_id)
            return "denied"
        if beginning == "failing":
            self.errors.append("start")
            self._tell(EventName.START_FAILED, dialog_id)
            return "failed"
        self.dialogs[dialog_id] = Living(beginning, self.now + TTL // MILLISECOND)
        self._tell(EventName.STARTED, dialog_id)
        if beginning == "at once":
            self._over(dialog_id, "self_ended", -1)
        return "started"

    def click(self, click: Delivery) -> Answered:
        """Click on one, and say what comes of it."""
        dialog_id = click.dialog_id
        if click.delivery_id in self.handled:
            self._tell(EventName.DUPLICATE, dialog_id)
            return Answered("duplicate")
        ended = self.remembered(dialog_id)
        if ended is not None:
            return Answered("missing", Cause.EXPIRED if ended.code == "expired" else Cause.ENDED, ended)
        living = self.living(dialog_id)
        if living is None:
            return Answered("missing", Cause.UNKNOWN)
        if living.deadline <= self.now:
            return Answered("missing", Cause.EXPIRED, self._expired(dialog_id))
        if click.user != ANN:
            self._tell(EventName.DENIED, dialog_id)
            return Answered("denied")
        if click.action == "fail":
            self.errors.append("update")
            self._tell(EventName.UPDATE_FAILED, dialog_id)
            return Answered("failed")
        self.handled[click.delivery_id] = self.now + limits.DIALOG_DELIVERY_KEEP // MILLISECOND
        living.clicks += 1
        if click.action == "done":
            return Answered("ended", ended=self._over(dialog_id, "self_ended", living.clicks))
        self._tell(EventName.UPDATED, dialog_id)
        if click.action == "refresh":
            living.deadline = self.now + TTL // MILLISECOND
            return Answered("refreshed")
        return Answered("kept")

    def end(self, dialog_id: str, code: str) -> Ended[int] | None:
        """End one from outside, and say how it ended; None: there is none."""
        living = self.living(dialog_id)
        if living is None:
            return self.remembered(dialog_id)
        return self._expired(dialog_id) if living.deadline <= self.now else self._over(dialog_id, code, None)

    def expire(self) -> int:
        """End all whose time is over, and say how many."""
        overdue = [
            (one.deadline, each) for each in self.dialogs if (one := self.living(each)) and one.deadline <= self.now
        ]
        for _, dialog_id in sorted(overdue):
            self._expired(dialog_id)
        return len(overdue)

    def expire_one(self, dialog_id: str) -> None:
        """End one whose time is over."""
        self._expired(dialog_id)

    def _expired(self, dialog_id: str) -> Ended[int]:
        ended = self._over(dialog_id, "expired", None)
        self._tell(EventName.EXPIRED, dialog_id)
        return ended

    def _over(self, dialog_id: str, code: str, result: int | None) -> Ended[int]:
        living = self.living(dialog_id)
        assert living is not None
        if living.beginning == "sour":
            self.errors.append("end")
        ended = Ended(dialog_id, code, "", result, datetime.fromtimestamp(self.now / 1_000, UTC))
        self.dialogs[dialog_id] = Over(ended, self.now + RETAIN // MILLISECOND)
        self._tell(EventName.ENDED, dialog_id)
        return ended

    def _tell(self, name: EventName, dialog_id: str) -> None:
        self.events.append((name, dialog_id))


def plain(ended: Ended[Any] | None) -> Ended[Any] | None:
    """How it ended, without the words for it."""
    return None if ended is None else msgspec.structs.replace(ended, reason="")


def answered(dispatched: Dispatched) -> Answered:
    return Answered(dispatched.result, dispatched.cause, plain(dispatched.ended))


class Naps(ManualClock):
    """By what processes sleep. Where a test says so, the short pauses before something is tried again take no time."""

    is_hasty = False

    async def sleep(self, seconds: float) -> None:
        """Wait until the clock has been advanced by that much, unless it is not worth it."""
        await (asyncio.sleep(0) if self.is_hasty and seconds < 0.5 else super().sleep(seconds))


# -- The machine ------------------------------------------------------------------------------------------------------

ids = st.sampled_from(["one", "two"])
processes = st.integers(0, 1)
people = st.sampled_from([ANN] * 5 + [EVE])
actions: st.SearchStrategy[Action] = st.sampled_from(["more", "more", "more", "refresh", "refresh", "fail", "done"])
beginnings: st.SearchStrategy[Beginning] = st.sampled_from(["well", "well", "well", "sour", "failing", "at once"])
pauses = st.sampled_from([MILLISECOND, TTL / 2, TTL / 2, TTL - MILLISECOND, TTL, RETAIN, timedelta(hours=1)])


class Lives(RuleBasedStateMachine):
    """Two processes that serve the same dialogs, and the model of them."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.model = Model()
        self.clock = ManualClock()
        self.naps = Naps()
        self.screen = Screen()
        self.sent: list[Delivery] = []
        self.is_ordered = True
        self.told: list[DialogEvent] = []
        self.errors: list[str] = []
        self.store = Store(MemoryEngine(clock=self.clock), clock=self.naps)
        self.run(self.store.__aenter__())
        self.model.go_to(self.clock.now())
        self.processes = [self.process(), self.process()]

    def teardown(self) -> None:
        try:
            for each in self.processes:
                self.run(each.close())
            self.run(self.store.close())
        finally:
            self.runner.close()

    def run(self, work: Coroutine[Any, Any, R]) -> R:
        """Wait for this, and for what follows on it."""

        async def followed() -> R:
            async with asyncio.timeout(PATIENCE_S):
                done = await work
                for _ in range(ROUNDS):
                    await asyncio.sleep(0)
                return done

        return self.runner.run(followed())

    def process(self) -> Dialogs:
        """Start a process."""
        dialogs = Dialogs(self.store, retain=RETAIN)
        dialogs.register("walk")(Walk)
        dialogs.add_platform(self.screen)
        dialogs.subscribe(self.told.append, *EventName)
        for phase in ("start", "update", "end"):
            handlers = getattr(dialogs.errors, phase)
            handlers.set(OnPurposeError, self.noting(phase))
        self.run(dialogs.__aenter__())
        self.model.expire()
        return dialogs

    def noting(self, phase: str) -> Callable[[OnPurposeError, Context], object]:
        """What notes an error of a phase."""
        return lambda _error, _ctx: self.errors.append(phase)

    def interaction(self, click: Delivery) -> RecordedInteraction:
        """A click as a platform brings it, once more each time."""
        return clicked(
            click.dialog_id, click.action, user=click.user, delivery_id=click.delivery_id, platform=self.screen
        )

    def new(self, dialog_id: str, action: Action, user: User) -> Delivery:
        """A click that nobody has made before."""
        self.sent.append(Delivery(dialog_id, action, user, f"delivery {len(self.sent)}"))
        return self.sent[-1]

    async def dispatch(self, process: int, click: Delivery) -> Answered:
        """Click in a process; whatever comes of it, who clicked gets an answer."""
        interaction = self.interaction(click)
        dispatched = await self.processes[process].dispatch(interaction)
        assert dispatched.is_handled
        assert dispatched.dialog_id == click.dialog_id
        assert interaction.is_answered
        return answered(dispatched)

    async def ended(self, process: int, dialog_id: str, code: str) -> Ended[int] | None:
        """End a dialog from a process."""
        try:
            return plain(await self.processes[process].end(dialog_id, code=code))
        except DialogGoneError:
            return None

    # -- What can happen ----------------------------------------------------------------------------------------------

    @rule(dialog_id=ids, beginning=beginnings, user=people, process=processes)
    def start(self, dialog_id: str, beginning: Beginning, user: User, process: int) -> None:
        interaction = command(user=user, platform=self.screen)
        data = Said(beginning)
        try:
            handle = self.run(self.processes[process].start(Walk, interaction, data=data, id=dialog_id))
        except DialogExistsError:
            outcome: str | None = "exists"
        else:
            outcome = handle.outcome
            assert interaction.is_answered
        assert outcome == self.model.start(dialog_id, beginning, user)

    @precondition(lambda self: self.model.dialogs)
    @rule(dialog_id=ids, action=actions, user=people, process=processes)
    def click(self, dialog_id: str, action: Action, user: User, process: int) -> None:
        click = self.new(dialog_id, action, user)
        assert self.run(self.dispatch(process, click)) == self.model.click(click)

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), process=processes)
    def deliver_again(self, data: st.DataObject, process: int) -> None:
        click = data.draw(st.sampled_from(self.sent[-8:]))
        assert self.run(self.dispatch(process, click)) == self.model.click(click)

    @precondition(lambda self: self.model.dialogs)
    @rule(dialog_id=ids, code=st.sampled_from(["cancelled", "moved"]), process=processes)
    def end(self, dialog_id: str, code: str, process: int) -> None:
        assert self.run(self.ended(process, dialog_id, code)) == self.model.end(dialog_id, code)

    @precondition(lambda self: self.model.dialogs)
    @rule(dialog_id=ids, action=actions, other=st.none() | actions | st.just("cancelled"))
    def at_once(self, dialog_id: str, action: Action, other: str | None) -> None:
        """Two processes act at once: two clicks, the same one twice, or a click and an end. Either may be first."""
        click = self.new(dialog_id, action, ANN)
        here: Callable[[Model], object] = lambda model: model.click(click)  # noqa: E731  like its neighbours
        there: Callable[[Model], object]
        works: tuple[Coroutine[Any, Any, object], Coroutine[Any, Any, object]]
        if other == "cancelled":
            there = lambda model: model.end(dialog_id, "cancelled")  # noqa: E731
            works = self.dispatch(0, click), self.ended(1, dialog_id, "cancelled")
        else:
            second = click if other is None else self.new(dialog_id, msgspec.convert(other, Action), ANN)
            there = lambda model: model.click(second)  # noqa: E731
            works = self.dispatch(0, click), self.dispatch(1, second)

        async def both() -> list[object]:
            return list(await asyncio.gather(*works))

        self.naps.is_hasty = True
        found = self.run(both())
        self.naps.is_hasty = False
        for order in ((here, there), (there, here)):
            model = copy.deepcopy(self.model)
            first, second_answer = (one(model) for one in order)
            if found == ([first, second_answer] if order[0] is here else [second_answer, first]):
                break
        else:
            pytest.fail(f"{found} is what neither order gives")
        self.model = model
        self.is_ordered = False

    @precondition(lambda self: self.model.dialogs)
    @rule(
        pause=pauses, noticed_by=st.sampled_from(["the processes", "who is told to look", "nobody"]), process=processes
    )
    def pass_time(self, pause: timedelta, noticed_by: str, process: int) -> None:
        """Let time pass. Where nobody notices, whoever comes to a dialog next finds that its time is over."""
        self.clock.advance(pause)
        self.model.go_to(self.clock.now())
        if noticed_by == "the processes":
            self.naps.advance(max(pause, limits.DUE_POLL))
            self.run(asyncio.sleep(0))
            self.model.expire()
        elif noticed_by == "who is told to look":
            assert self.run(self.processes[process].expire()) == self.model.expire()

    @precondition(lambda self: self.model.dialogs)
    @rule(process=processes)
    def restart(self, process: int) -> None:
        self.run(self.processes[process].close())
        self.processes[process] = self.process()

    @precondition(lambda self: self.model.dialogs)
    @rule(dialog_id=ids, process=processes)
    def wait(self, dialog_id: str, process: int) -> None:
        """Wait for the end of a dialog: of one whose time is over that is its end, else the wait alone is over."""
        living = self.model.living(dialog_id)
        if living is not None and living.deadline > self.model.now:
            with pytest.raises(TimeoutError):
                self.run(self.processes[process].wait(dialog_id, timeout=0))
            return
        if living is not None:
            self.model.expire_one(dialog_id)
        ended, waiting = self.model.remembered(dialog_id), self.processes[process].wait(dialog_id)
        if ended is None:
            with pytest.raises(DialogGoneError):
                self.run(waiting)
        else:
            assert plain(self.run(waiting)) == ended

    # -- What always holds --------------------------------------------------------------------------------------------

    @invariant()
    def all_is_as_the_model_says(self) -> None:
        """Compare what each process sees, what it has told, and whose errors it has told, with what should be."""

        async def seen() -> list[tuple[str, DialogInfo | None]]:
            return [(each, await process.get(each)) for process in self.processes for each in ("one", "two")]

        for dialog_id, info in self.runner.run(seen()):
            self.check(dialog_id, info)
        told = [(event.name, event.dialog_id) for event in self.told]
        if self.is_ordered:
            assert told == self.model.events
        else:  # they come from two processes
            assert Counter(told) == Counter(self.model.events)
        assert Counter(self.errors) == Counter(self.model.errors)
        for each in (self.told, self.model.events, self.errors, self.model.errors):
            each.clear()
        self.is_ordered = True

    def check(self, dialog_id: str, info: DialogInfo | None) -> None:
        """Compare what is known of a dialog with what should be."""
        living, ended = self.model.living(dialog_id), self.model.remembered(dialog_id)
        if info is None:
            assert (living, ended) == (None, None)
            return
        assert plain(info.ended) == ended
        if living is None:
            assert (info.state, info.deadline, info.is_overdue) == (State.ENDED, None, False)
            return
        at = datetime.fromtimestamp(living.deadline / 1_000, UTC)
        assert (info.state, info.deadline) == (State.RUNNING, at)
        assert info.is_overdue == (living.deadline <= self.model.now)


@pytest.mark.row("I-C01", "I-C27", "I-C30", "I-C36", "I-C38", "I-C42", "I-C46", "I-C51")
@pytest.mark.parametrize("number", range(4))
def test_whatever_happens_to_dialogs_they_are_as_the_model_says(number: int) -> None:
    # Not shrunk, which would take minutes: `phases` can be left out to have the shortest life that fails.
    chosen = settings(
        phases=[Phase.generate],
        max_examples=25,
        stateful_step_count=40,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(seed(number)(Lives), settings=chosen)
