"""Steps run in order and once, what goes wrong names the step, and newer data is kept as it is or refused."""

import copy
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.documents.migration import Chain, MigrationStep, filled, unknown, with_unknown
from sojourn.errors import IncompatibleError, InvalidError, LimitError, MigrationFailedError

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=4),
    max_leaves=12,
)
tables = st.dictionaries(st.sampled_from("abcd"), plain, max_size=4)


def note(name: str, *, breaking: bool = True) -> MigrationStep:
    def apply(data: Any) -> Any:
        data["seen"].append(name)
        return data

    return MigrationStep(name, apply, breaking)


@pytest.mark.row("D-N14")
def test_steps_run_in_their_order_and_each_once() -> None:
    chain = Chain([note("one"), note("two"), note("three")])
    assert chain.run("k", {"seen": []}, ()) == {"seen": ["one", "two", "three"]}
    assert chain.run("k", {"seen": []}, ("two",)) == {"seen": ["one", "three"]}
    assert chain.run("k", {"seen": []}, chain.merged(())) == {"seen": []}
    assert [step.name for step in chain.pending(("three", "one"))] == ["two"]
    assert Chain().run("k", {"seen": []}, ("gone",)) == {"seen": []}


@pytest.mark.row("D-N14")
def test_a_step_does_not_write_into_what_it_was_given_and_keeps_no_hold_on_what_it_gave() -> None:
    shared: dict[str, Any] = {"seen": [], "shared": []}

    def hand_out(data: Any) -> Any:
        data["seen"].append("one")
        return shared

    given_data: dict[str, Any] = {"seen": []}
    first = Chain([MigrationStep.transform("one", hand_out)]).run("k", given_data, ())
    assert given_data == {"seen": []}
    first["shared"].append(1)
    assert shared["shared"] == []


@pytest.mark.row("D-N14")
def test_a_step_that_raises_is_named_and_changes_nothing() -> None:
    def fail(data: Any) -> Any:
        data["seen"].append("half")
        raise ZeroDivisionError("no coins")

    chain = Chain([note("one"), MigrationStep("two", fail), note("three")])
    before: dict[str, Any] = {"seen": []}
    with pytest.raises(MigrationFailedError, match="'two' failed: ZeroDivisionError: no coins") as failed:
        chain.run("player_1", before, ())
    assert failed.value.step == "two"
    assert "player_1" in str(failed.value)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)
    assert before == {"seen": []}


async def waits(data: Any) -> Any:
    return data


async def gives_each(data: Any) -> AsyncIterator[Any]:
    yield data


def gives_one_by_one(data: Any) -> Iterator[Any]:
    yield data


class Waiting:
    async def __call__(self, data: Any) -> Any:
        return data


@pytest.mark.row("D-N14")
@pytest.mark.parametrize("result", [lambda _: None, waits, gives_each, gives_one_by_one])
def test_a_step_that_gives_nothing_back_or_waits_is_named(result: Any) -> None:
    chain = Chain([MigrationStep.transform("one", lambda data: result(data))])  # noqa: PLW0108  only the call shows what it gives
    with pytest.raises(MigrationFailedError, match="'one' gave") as failed:
        chain.run("k", {}, ())
    assert failed.value.step == "one"


@pytest.mark.row("D-N14")
@pytest.mark.parametrize("apply", [waits, gives_each, gives_one_by_one, Waiting(), None, "text"])
def test_a_step_that_is_seen_to_wait_is_refused_at_once(apply: Any) -> None:
    with pytest.raises(InvalidError, match="'one' is no function that gives its result at once"):
        Chain([MigrationStep("one", apply)])


@pytest.mark.row("D-N14")
def test_a_name_that_comes_twice_is_refused() -> None:
    with pytest.raises(InvalidError, match="'one' comes twice"):
        Chain([note("one"), note("two"), note("one")])


@pytest.mark.parametrize("name", ["", "a\n", "\x01", 5, None])
def test_a_name_out_of_form_is_refused(name: Any) -> None:
    with pytest.raises(InvalidError, match="migrations"):
        Chain([MigrationStep(name, lambda data: data)])


def test_too_many_steps_and_too_long_names_are_refused() -> None:
    Chain([note(str(number)) for number in range(limits.MIGRATIONS)])
    with pytest.raises(LimitError) as many:
        Chain([note(str(number)) for number in range(limits.MIGRATIONS + 1)])
    assert many.value.limit == limits.MIGRATIONS
    Chain([note("n" * limits.MIGRATION_CHARS)])
    with pytest.raises(LimitError) as long:
        Chain([note("n" * (limits.MIGRATION_CHARS + 1))])
    assert long.value.limit == limits.MIGRATION_CHARS


@pytest.mark.row("D-N14")
def test_a_breaking_step_of_a_newer_program_is_refused_by_name_and_a_compatible_one_is_not() -> None:
    chain = Chain([note("one"), note("two", breaking=False)])
    assert chain.names == ("one", "two")
    assert chain.floor == ("one",)
    chain.check("player_1", ("one",))
    chain.check("player_1", ())
    with pytest.raises(IncompatibleError, match=r"player_1 .* 'nine'"):
        chain.check("player_1", ("one", "nine"))


@pytest.mark.row("D-N14")
def test_names_of_newer_programs_are_kept_when_an_older_one_saves() -> None:
    chain = Chain([note("one"), note("two", breaking=False), note("three")])
    assert chain.merged(("two", "nine", "one")) == ("two", "nine", "one", "three")
    assert chain.merged(()) == ("one", "two", "three")
    assert chain.merged_floor(("nine",)) == ("nine", "one", "three")
    assert Chain().merged(("nine",)) == ("nine",)


def test_added_fields_are_new_each_time_and_what_is_there_stays() -> None:
    fields: dict[str, Any] = {"coins": 5, "bag": {"slots": 4, "items": []}}
    step = MigrationStep.add_fields("bag", fields)
    assert not step.breaking
    assert MigrationStep.add_fields("bag", fields, breaking=True).breaking
    fields["coins"] = 6
    chain = Chain([step])
    assert chain.run("k", {"coins": 1, "bag": {"items": [1]}}, ()) == {"coins": 1, "bag": {"items": [1], "slots": 4}}
    first = chain.run("k", {}, ())
    first["bag"]["items"].append("x")
    assert chain.run("k", {}, ()) == {"coins": 5, "bag": {"slots": 4, "items": []}}
    assert chain.run("k", {"bag": None}, ()) == {"bag": None, "coins": 5}


def test_fields_are_added_to_a_dict_only() -> None:
    with pytest.raises(MigrationFailedError, match="not to a list") as failed:
        Chain([MigrationStep.add_fields("bag", {"coins": 5})]).run("k", [], ())
    assert failed.value.step == "bag"


@given(plain, plain)
def test_filling_changes_nothing_that_is_there_and_leaves_nothing_out(value: Any, template: Any) -> None:
    before, begun = copy.deepcopy(value), copy.deepcopy(template)
    whole = filled(value, template)
    assert (value, template) == (before, begun)
    assert filled(whole, template) == whole
    assert contains(whole, value)
    if isinstance(value, dict) and isinstance(template, dict):
        assert set(whole) == set(value) | set(template)
    else:
        assert whole == value


def contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and contains(whole[name], value) for name, value in part.items())
    return bool(whole == part)


def without(value: Any, dropped: str) -> Any:
    """Return what a program knows that has no field of this name anywhere."""
    if not isinstance(value, dict):
        return value
    return {name: without(part, dropped) for name, part in value.items() if name != dropped}


@pytest.mark.row("D-N14")
@given(tables)
def test_what_a_program_does_not_know_is_put_back_as_it_was(stored: Any) -> None:
    known = without(stored, "a")
    found = unknown(stored, known)
    assert (found is None) == (known == stored)
    assert with_unknown(known, found) == stored


@pytest.mark.row("D-N14")
def test_what_is_known_wins_and_what_has_gone_takes_its_unknown_parts_with_it() -> None:
    stored = {"coins": 1, "new": [1], "bags": {"left": {"slots": 1, "colour": "red"}, "right": {"colour": "blue"}}}
    found = unknown(stored, {"coins": 1, "bags": {"left": {"slots": 1}, "right": {}}})
    changed = {"coins": 2, "bags": {"left": {"slots": 3}}}
    assert with_unknown(changed, found) == {
        "coins": 2,
        "new": [1],
        "bags": {"left": {"slots": 3, "colour": "red"}},
    }
    assert changed == {"coins": 2, "bags": {"left": {"slots": 3}}}
    assert with_unknown({"bags": None, "new": 9}, found) == {"bags": None, "new": 9}
    assert with_unknown([1], found) == [1]
    assert unknown([{"new": 1}], [{}]) is None


def test_what_was_unknown_is_not_shared_between_two_saves() -> None:
    stored: dict[str, Any] = {"new": [1]}
    found = unknown(stored, {})
    stored["new"].append(2)
    first: Any = with_unknown({}, found)
    first["new"].append(3)
    assert with_unknown({}, found) == {"new": [1]}
