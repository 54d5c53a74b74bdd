"""Filters alone: what they say, how they combine, and what they refuse."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from sojourn.dialogs import Handle
from sojourn.dialogs.context import Context
from sojourn.dialogs.filters import Filter, Rule, all_of, any_of, anyone, filtered, judge, nobody, owner, role, users
from sojourn.dialogs.model import User
from sojourn.errors import InvalidError
from sojourn.testing.dialogs import Desk, button
from tests.dialogs.conftest import Count, Kind, Kinds, heard, telling, variant


def who(user: User, started_by: User | None = None) -> Context:
    return cast("Context", SimpleNamespace(user=user, owner=started_by or user))


ANN = User("ann", "red", roles=frozenset({"clerk", "admin"}))
CTX = who(ANN)


class Asked:
    """Filters that say what they were told to, and note that they were asked."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def at_once(self, name: str, *, says: object) -> Filter:
        def ask(_: Context) -> bool:
            self.names.append(name)
            return cast("bool", says)

        return ask

    def later(self, name: str, *, says: object) -> Filter:
        async def ask(_: Context) -> bool:
            self.names.append(name)
            return cast("bool", says)

        return ask


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.mark.row("I-C64")
@pytest.mark.parametrize("first_waits", [False, True])
@pytest.mark.parametrize("second_waits", [False, True])
@pytest.mark.parametrize(("first", "second"), [(False, False), (False, True), (True, False), (True, True)])
async def test_and_or_and_not_say_what_logic_says(
    asked: Asked, *, first: bool, second: bool, first_waits: bool, second_waits: bool
) -> None:
    one = filtered(asked.later("one", says=first) if first_waits else asked.at_once("one", says=first))
    two = filtered(asked.later("two", says=second) if second_waits else asked.at_once("two", says=second))
    assert await judge(one & two, CTX) is (first and second)
    assert asked.names == (["one", "two"] if first else ["one"])
    asked.names.clear()
    assert await judge(one | two, CTX) is (first or second)
    assert asked.names == (["one"] if first else ["one", "two"])
    assert await judge(~one, CTX) is not first
    assert await judge(~(one & two), CTX) is await judge(~one | ~two, CTX)


@pytest.mark.row("I-C64")
async def test_a_combination_asks_no_further_than_needed(asked: Asked) -> None:
    last = asked.at_once("last", says=True)
    assert await judge(all_of(anyone, asked.later("no", says=False), last), CTX) is False
    assert await judge(any_of(nobody, asked.later("yes", says=True), last), CTX) is True
    assert asked.names == ["no", "yes"]


@pytest.mark.row("I-C64")
async def test_constants_and_empty_combinations() -> None:
    assert anyone(CTX) is True
    assert nobody(CTX) is False
    assert all_of()(CTX) is True
    assert any_of()(CTX) is False
    assert (~anyone)(CTX) is False


@pytest.mark.row("I-C64")
def test_what_need_not_wait_is_answered_at_once() -> None:
    """Proves that no coroutine stands in the way of plain filters, however they are combined."""
    assert (owner & ~nobody | role("nothing"))(CTX) is True


@pytest.mark.row("I-C64")
async def test_a_combination_never_changes(asked: Asked) -> None:
    both = owner & role("admin")
    wider = both | asked.at_once("asked", says=True)
    assert both(who(User("bea"), ANN)) is False
    assert await judge(wider, who(User("bea"), ANN)) is True
    assert await judge(all_of(anyone, both), who(User("bea"), ANN)) is False


@pytest.mark.row("I-C64")
async def test_plain_functions_combine_from_either_side(asked: Asked) -> None:
    yes, no = asked.at_once("yes", says=True), asked.later("no", says=False)
    assert await judge(yes & anyone, CTX) is True
    assert await judge(no | nobody, CTX) is False
    assert await judge(anyone & no, CTX) is False
    assert asked.names == ["yes", "no", "no"]


@pytest.mark.row("I-C80")
def test_the_owner_is_who_started_it_in_the_same_tenant() -> None:
    assert owner(who(ANN, ANN)) is True
    assert owner(who(User("ann", "red", name="another name"), ANN)) is True
    assert owner(who(User("bea", "red"), ANN)) is False
    assert owner(who(User("ann", "blue"), ANN)) is False
    assert owner(who(User(""), ANN)) is False


@pytest.mark.row("I-C80")
def test_roles_and_people() -> None:
    assert role("admin", "chief")(CTX) is True
    assert role("chief")(CTX) is False
    assert role("admin")(who(User("bea"))) is False
    assert users("bea", "ann")(CTX) is True
    assert users("bea")(CTX) is False
    assert users(User("ann", "red"))(CTX) is True
    assert users(User("ann", "blue"))(CTX) is False
    assert users("bea", User("ann", "red"))(CTX) is True


@pytest.mark.parametrize("made", [role, users, lambda: users(""), lambda: users(User(""))])
def test_filters_for_nobody_in_particular_are_refused(made: Any) -> None:
    with pytest.raises(InvalidError):
        made()


@pytest.mark.parametrize("made", [lambda: role(cast("str", 1)), lambda: users(cast("str", 1), "ann")])
def test_names_that_are_no_text_are_refused(made: Any) -> None:
    with pytest.raises(InvalidError):
        made()


@pytest.mark.parametrize(
    "made",
    [
        lambda: filtered(cast("Filter", "yes")),
        lambda: anyone & cast("Filter", None),
        lambda: any_of(anyone, cast("Filter", "ann")),
        lambda: Rule(cast("Filter", None), "none"),
    ],
)
def test_what_cannot_be_called_is_refused(made: Any) -> None:
    with pytest.raises(InvalidError):
        made()


@pytest.mark.parametrize("said", [None, 1, 0, "yes", [], object()])
@pytest.mark.parametrize("waits", [False, True])
async def test_who_says_neither_true_nor_false_lets_nothing_through(asked: Asked, *, said: object, waits: bool) -> None:
    odd = filtered(asked.later("odd", says=said) if waits else asked.at_once("odd", says=said))
    for one in (odd, ~odd, anyone & odd, nobody | odd, odd & anyone, odd | nobody, ~(odd | odd)):
        with pytest.raises(InvalidError):
            await judge(one, CTX)


async def test_what_a_filter_raises_comes_out_of_every_combination() -> None:
    @filtered
    def breaks(_: Context) -> bool:
        raise LookupError("on purpose")

    for one in (breaks, ~breaks, anyone & breaks, nobody | breaks):
        with pytest.raises(LookupError):
            await judge(one, CTX)


def test_a_filter_is_neither_true_nor_false_itself() -> None:
    """Proves that `owner and role("admin")` is an error, and not silently the second alone."""
    with pytest.raises(TypeError, match="&"):
        bool(owner)


def test_a_filter_stays_itself_in_a_class() -> None:
    class Kind:
        by_rule = owner
        by_function = filtered(lambda _: True)

    assert Kind().by_rule is owner
    assert Kind().by_function(CTX) is True
    assert filtered(owner) is owner


def test_a_filter_shows_how_it_is_written() -> None:
    def is_awake(_: Context) -> bool:
        return True

    shown = repr(owner & (role("admin") | ~users("bea")) & is_awake)
    assert shown == "((owner & (role('admin') | ~users('bea'))) & is_awake)"


# -- Before dialogs ---------------------------------------------------------------------------------------------------

CHIEF = User("bea", roles=frozenset({"chief"}))


@pytest.mark.row("I-C64", "I-C80")
@pytest.mark.parametrize("waits", [False, True])
async def test_combined_filters_say_who_may_start_and_who_may_use_a_dialog(
    desk: Desk, counter: Kind, kinds: Kinds, *, waits: bool
) -> None:
    async def later(ctx: Context) -> bool:
        return "chief" in ctx.user.roles

    chief = filtered(later) if waits else role("chief")
    kinds["ruled"] = kind = variant(counter, start_filter=~chief, update_filter=owner | chief & ~users("eve"))
    await desk.restart()
    told = telling(desk.dialogs)
    desk.user = CHIEF
    assert (await desk.start(kind)).outcome == "denied"
    desk.user = User("ann")
    handle = await desk.start(kind)
    assert handle.outcome == "started"
    results = [
        (await desk.dispatch(button(handle.id, kind.more, user=user))).result
        for user in (User("ann"), CHIEF, User("dan"), User("eve", roles=CHIEF.roles), User("ann", "another tenant"))
    ]
    assert results == ["kept", "kept", "denied", "denied", "denied"]
    assert await heard(told, "denied", "started", "updated", "updated", "denied", "denied", "denied")


@pytest.mark.row("I-C80")
async def test_a_filter_may_be_a_method_or_a_property_that_looks_at_the_dialog(
    desk: Desk, counter: Kind, kinds: Kinds
) -> None:
    class Patient(counter):  # type: ignore[misc, valid-type]  # a fixture's class
        def update_filter(self, _: Context) -> bool:
            """Let everybody through until three have clicked."""
            return bool(self.data.clicks < 3)

    kinds["patient"] = Patient
    kinds["proper"] = proper = variant(counter, update_filter=property(lambda self: users(self.data.words[0])))
    await desk.restart()
    started: Handle[int] = await desk.start(Patient)
    clicks = [await desk.dispatch(button(started.id, "more", user="somebody")) for _ in range(4)]
    assert [click.result for click in clicks] == ["kept", "kept", "kept", "denied"]
    handle = await desk.start(proper, data=Count(words=["eve"]))
    assert (await desk.dispatch(button(handle.id, "more"))).result == "denied"
    assert (await desk.dispatch(button(handle.id, "more", user="eve"))).result == "kept"
