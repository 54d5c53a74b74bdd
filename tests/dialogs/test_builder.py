"""Tokens in the making: pushed, set, cloned, paged, built and read back."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.dialogs.builder import TokenBuilder
from sojourn.dialogs.reference import ReferenceCodec
from sojourn.dialogs.tokens import Budget, Token, Tokens
from sojourn.errors import InvalidError, LimitError

from .test_tokens import M, S, names

CODEC = ReferenceCodec(Budget())

parts = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[S, M]), max_size=10), max_size=5)


def built(*tokens: object, slots: tuple[object, ...] = ()) -> TokenBuilder:
    """A builder of these tokens and slots."""
    builder = TokenBuilder("d", *tokens, codec=CODEC)
    builder.push_slots(*slots)
    return builder


# -- Tokens -----------------------------------------------------------------------------------------------------------


def test_a_builder_begins_with_the_tokens_it_is_given() -> None:
    assert TokenBuilder("d").tokens == ()
    assert TokenBuilder("d", "go").tokens == ("go",)
    assert TokenBuilder("d", "go", "a", "b").tokens == ("go", "a", "b")
    assert TokenBuilder("d").dialog_id == "d"


def test_tokens_are_pushed_one_after_another_or_at_once() -> None:
    assert built().push("a").push("b").tokens == built().push("a", "b").tokens == ("a", "b")
    assert built("a").push().tokens == ("a",)
    assert built("a").push("b").tokens == ("a", "b")


def test_what_is_pushed_becomes_text() -> None:
    assert built(1, 2.5, None).tokens == ("1", "2.5", "None")


def test_pushing_returns_the_builder_itself() -> None:
    builder = built()
    assert builder.push("a") is builder
    assert builder.set_at(1, "b") is builder
    assert builder.set_page(1) is builder
    assert builder.next_page() is builder
    assert builder.previous_page() is builder
    assert builder.set_slot(1, "x") is builder


@pytest.mark.row("I-C03", "I-C10")
@pytest.mark.parametrize("bad", [S, M, f"a{S}", f"{M}a", "\ud800"])
def test_of_several_of_which_one_is_invalid_none_is_pushed(bad: str) -> None:
    builder = built("go", slots=("1",))
    with pytest.raises(InvalidError) as refused:
        builder.push("a", bad, "b")
    assert refused.value.name == "tokens"
    with pytest.raises(InvalidError) as refused:
        builder.push_slots("2", bad)
    assert refused.value.name == "slots"
    for setting in (builder.set_at, builder.set_slot):
        with pytest.raises(InvalidError):
            setting(5, bad)
    with pytest.raises(InvalidError):
        TokenBuilder("d", "a", bad)
    assert (builder.tokens, builder.slots) == (("go",), ("1",))


@pytest.mark.row("I-C04")
@pytest.mark.parametrize("dialog_id", ["", f"a{M}b", f"a{S}b", "a.b", "a~b", "ü"])
def test_a_builder_is_refused_an_id_that_could_not_stand_in_a_token(dialog_id: str) -> None:
    with pytest.raises(InvalidError):
        TokenBuilder(dialog_id)


def test_a_builder_is_refused_an_id_that_is_too_long() -> None:
    with pytest.raises(LimitError):
        TokenBuilder("d" * (limits.DIALOG_ID_CHARS + 1))


@pytest.mark.row("I-C11")
def test_a_place_that_is_taken_cannot_be_set() -> None:
    builder = built("go", "")
    for index in (0, 1):
        with pytest.raises(InvalidError):
            builder.set_at(index, "a")
    assert builder.set_at(2, "b").tokens == ("go", "", "b")
    with pytest.raises(InvalidError):
        builder.set_at(2, "b")
    assert builder.tokens == ("go", "", "b")


@pytest.mark.row("I-C12")
def test_what_is_set_past_the_end_leaves_holes_that_are_empty_and_free() -> None:
    builder = built("go").set_at(3, "b")
    assert builder.tokens == ("go", "", "", "b")
    assert CODEC.decode(builder.build()) == Token("d", "go", ("", "", "b"))
    assert Tokens().decode(Tokens().encode(builder.token)) == Token("d", "go", ("", "", "b"))
    assert builder.clone_set_at(1, "a").set_at(2, "").tokens == ("go", "a", "", "b")
    with pytest.raises(InvalidError):
        builder.set_at(2, "").set_at(2, "a")


@pytest.mark.row("I-C12")
@pytest.mark.parametrize("index", [-1, limits.DIALOG_TOKEN_CHARS, 10**12])
def test_a_place_that_no_token_has_cannot_be_set(index: int) -> None:
    builder = built("go", slots=("1",))
    for setting in (builder.set_at, builder.set_slot):
        with pytest.raises(InvalidError):
            setting(index, "a")
    assert (builder.tokens, builder.slots) == (("go",), ("1",))


# -- Slots ------------------------------------------------------------------------------------------------------------


def test_pushing_slots_returns_the_place_of_the_first() -> None:
    builder = built("go")
    assert builder.push_slots("a") == 0
    assert builder.push_slots("b", "c") == 1
    assert builder.push_slots("d") == 3
    assert builder.slots == ("a", "b", "c", "d")
    assert builder.tokens == ("go",)


def test_a_slot_is_found_by_its_place_or_is_none() -> None:
    builder = built(slots=("a", ""))
    assert [builder.slot(index) for index in (0, 1, 2, -1, 10**9)] == ["a", "", None, None, None]


@pytest.mark.row("I-C11", "I-C12")
def test_slots_are_set_where_they_are_free() -> None:
    builder = built(slots=("a",))
    with pytest.raises(InvalidError):
        builder.set_slot(0, "b")
    assert builder.set_slot(2, "c").slots == ("a", "", "c")
    assert builder.set_slot(1, "b").slots == ("a", "b", "c")
    with pytest.raises(InvalidError):
        builder.set_slot(1, "x")


# -- Clones -----------------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C13")
@given(tokens=parts, slots=parts, more=parts)
def test_a_clone_is_exact_and_goes_its_own_way(tokens: list[str], slots: list[str], more: list[str]) -> None:
    builder = built("go", *tokens, slots=tuple(slots))
    clone = builder.clone()
    assert clone is not builder
    assert clone.build() == builder.build()
    before = builder.build()
    clone.push(*more, "x")
    clone.push_slots("y")
    assert clone.tokens == (*builder.tokens, *more, "x")
    assert clone.slots == (*builder.slots, "y")
    assert builder.build() == before
    builder.push("z")
    assert clone.tokens[-1] == "x"


@pytest.mark.row("I-C13")
@pytest.mark.parametrize(
    "clone",
    [
        lambda builder: builder.clone(),
        lambda builder: builder.clone_push("more"),
        lambda builder: builder.clone_set_at(9, "more"),
        lambda builder: builder.clone_page(8),
        lambda builder: builder.clone_next_page(),
        lambda builder: builder.clone_previous_page(),
    ],
)
def test_every_clone_keeps_id_tokens_slots_and_page(clone: Callable[[TokenBuilder], TokenBuilder]) -> None:
    builder = TokenBuilder("d", "go", page=3, codec=CODEC).set_at(3, "b").set_slot(2, "x")
    before = builder.build()
    other = clone(builder)
    assert other is not builder
    assert builder.build() == before
    assert other.dialog_id == "d"
    assert other.tokens[:4] == ("go", "", "", "b")
    assert other.slots[1:] == ("", "x")
    assert f"{M}{other.page}{M}" in other.build()
    assert other.set_at(1, "still free").set_slot(1, "too").slots[1:] == ("too", "x")


@pytest.mark.row("I-C13")
def test_a_clone_has_the_budget_of_its_builder() -> None:
    builder = TokenBuilder("d", "go", codec=ReferenceCodec(Budget(10)))
    with pytest.raises(LimitError):
        builder.clone_push("a" * 10).build()


# -- The page ---------------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C14")
def test_a_page_given_at_the_beginning_stands_in_the_token() -> None:
    builder = TokenBuilder("d", "go", page=3)
    assert builder.page == 3
    assert builder.build() == f"SSN{M}d{M}3{S}go"
    assert CODEC.decode(builder.build()) == builder.token == Token("d", "go", page=3)
    assert Tokens().encode(builder.token) == "s1.d.go.p3"


@pytest.mark.row("I-C14")
def test_a_page_stands_in_the_token_whenever_it_was_set() -> None:
    wanted = TokenBuilder("d", "go", "a", page=3).build()
    assert TokenBuilder("d").set_page(3).push("go", "a").build() == wanted
    assert TokenBuilder("d", "go").push("a").set_page(3).build() == wanted
    assert TokenBuilder("d", "go").set_page(2).set_page(3).clone_push("a").build() == wanted
    assert TokenBuilder("d", "go", "a", page=9).clone_page(3).build() == wanted


def test_without_a_page_turning_pages_changes_nothing() -> None:
    builder = built("go")
    assert builder.page is None
    assert builder.next_page().page is None
    assert builder.previous_page().page is None
    assert builder.slots == ()


def test_pages_are_turned_and_stay_within_bounds() -> None:
    builder = TokenBuilder("d", page=0)
    assert builder.previous_page().page == 0
    assert builder.next_page().page == 1
    assert builder.clone_next_page().page == 2
    assert builder.clone_previous_page().page == 0
    assert builder.page == 1
    last = TokenBuilder("d", page=limits.DIALOG_PAGE_MAX)
    assert last.next_page().page == limits.DIALOG_PAGE_MAX
    assert last.previous_page().page == limits.DIALOG_PAGE_MAX - 1


def test_the_first_slot_is_the_page_when_it_is_a_number() -> None:
    assert built(slots=("12", "x")).page == 12
    assert built(slots=("12", "x")).set_page(0).slots == ("0", "x")
    assert built().set_page(4).push_slots("x") == 1


@pytest.mark.row("I-C15")
@pytest.mark.parametrize("slot", ["", "3x", "-1", "03", "1.0", "٣", "1000000000", "9" * 5_000])
def test_a_first_slot_that_is_no_plain_number_is_no_page(slot: str) -> None:
    assert built(slots=(slot,)).page is None
    assert built(slots=(slot,)).next_page().slots == (slot,)


@pytest.mark.row("I-C15")
@pytest.mark.parametrize("page", [-1, limits.DIALOG_PAGE_MAX + 1, True, 1.0])
def test_a_page_that_is_none_is_refused_and_the_old_one_stays(page: int) -> None:
    builder = TokenBuilder("d", page=3)
    with pytest.raises(InvalidError):
        builder.set_page(page)
    with pytest.raises(InvalidError):
        TokenBuilder("d", page=page)
    assert builder.page == 3


# -- Built and read ---------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C02", "I-C13")
@given(dialog_id=names, tokens=parts.filter(lambda each: each != [""]), slots=parts)
def test_what_was_built_is_read_as_it_was(dialog_id: str, tokens: list[str], slots: list[str]) -> None:
    builder = TokenBuilder(dialog_id, *tokens, codec=CODEC)
    builder.push_slots(*slots)
    again = TokenBuilder.from_text(builder.build())
    assert again is not None
    assert (again.dialog_id, again.tokens, again.slots) == (dialog_id, tuple(tokens), tuple(slots))
    assert again.page == builder.page


def test_what_was_read_can_be_built_on() -> None:
    again = TokenBuilder.from_text(f"SSN{M}d{M}3{M}x{S}go{S}{S}a", CODEC)
    assert again is not None
    assert again.push("b").next_page().build() == f"SSN{M}d{M}4{M}x{S}go{S}{S}a{S}b"
    with pytest.raises(InvalidError):
        again.set_at(1, "an empty token that was read is no hole")


def test_a_token_of_slots_only_is_read() -> None:
    again = TokenBuilder.from_text(f"SSN{M}d{M}3{M}x{S}")
    assert again is not None
    assert (again.tokens, again.slots, again.page) == ((), ("3", "x"), 3)
    assert again.token == Token("d", page=3)


@pytest.mark.row("I-C07", "I-C16")
@pytest.mark.parametrize("text", ["", "go", S, M, f"go{S}a", f"CMD{M}d{M}3{S}", f"SSN{M}{S}", f"SSN{M}d{S}a{M}3"])
def test_of_what_is_no_token_there_is_no_builder(text: str) -> None:
    assert TokenBuilder.from_text(text) is None


@pytest.mark.row("I-C07")
@given(text=st.text() | st.text(f"SN{S}{M}a0\ud800"))
def test_no_text_makes_reading_raise(text: str) -> None:
    for each in (text, f"SSN{M}d{text}", f"SSN{M}d{S}{text}"):
        again = TokenBuilder.from_text(each, CODEC)
        assert again is None or again.build() == each


@pytest.mark.row("I-C09")
def test_empty_tokens_are_kept_and_a_lone_one_is_refused_rather_than_lost() -> None:
    assert CODEC.decode(built("", "").build()) == Token("d", None, ("",))
    assert CODEC.decode(built("go", "").build()) == Token("d", "go", ("",))
    with pytest.raises(InvalidError):
        built("").build()


@pytest.mark.row("I-C05", "I-C06")
def test_the_whole_of_what_is_built_is_measured() -> None:
    builder = TokenBuilder("d", "a" * 91)
    assert len(builder.build()) == 97
    assert len(builder.clone_push("ab").build()) == 100
    for over in (builder.clone_push("abc"), builder.clone_push("ab").set_page(1), TokenBuilder("dddd", "a" * 94)):
        with pytest.raises(LimitError) as refused:
            over.build()
        assert refused.value.limit == 100
