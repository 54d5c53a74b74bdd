"""A cursor over the texts of a token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.dialogs.builder import TokenBuilder, TokenIterator

texts = st.lists(st.text(max_size=5), max_size=8)


@pytest.fixture
def three() -> TokenIterator:
    return TokenIterator(["a", "b", "c"])


def rest(iterator: TokenIterator) -> list[str]:
    """What is after the cursor."""
    return [iterator.get() for _ in range(len(iterator) - iterator.position)]


def test_the_cursor_goes_over_one_after_another(three: TokenIterator) -> None:
    assert [three.get(), three.get(), three.get()] == ["a", "b", "c"]
    assert three.position == len(three) == 3


@pytest.mark.row("I-C17")
def test_getting_past_the_end_raises_and_the_cursor_stays(three: TokenIterator) -> None:
    assert rest(three) == ["a", "b", "c"]
    for _ in range(2):
        with pytest.raises(IndexError):
            three.get()
        assert three.position == 3
    assert three.previous() == "c"
    with pytest.raises(IndexError):
        TokenIterator().get()


@pytest.mark.row("I-C17")
def test_what_need_not_be_there_is_none_past_the_end(three: TokenIterator) -> None:
    rest(three)
    assert (three.next(), three.peek(), three.position) == (None, None, 3)
    assert TokenIterator().previous() is None


@pytest.mark.row("I-C12", "I-C18")
def test_empty_texts_are_got_like_all_others() -> None:
    iterator = TokenIterator(["", "a", ""])
    assert [iterator.get(), iterator.get(), iterator.get()] == ["", "a", ""]
    assert (iterator.previous(), iterator.peek(), iterator.get_at(0), iterator[0]) == ("", "", "", "")
    holes = TokenIterator(TokenBuilder("d", "go").set_at(3, "b").tokens)
    assert rest(holes) == ["go", "", "", "b"]


def test_peeking_moves_nothing(three: TokenIterator) -> None:
    assert (three.peek(), three.peek(), three.position) == ("a", "a", 0)
    three.get()
    assert (three.peek(), three.position) == ("b", 1)


def test_next_and_previous_step_over_the_same_one(three: TokenIterator) -> None:
    assert three.previous() is None
    assert (three.next(), three.next()) == ("a", "b")
    assert (three.previous(), three.position) == ("b", 1)
    assert (three.next(), three.next(), three.next()) == ("b", "c", None)


def test_it_says_what_is_before_and_after_the_cursor(three: TokenIterator) -> None:
    assert (three.has_previous, three.has_next) == (False, True)
    three.get()
    assert (three.has_previous, three.has_next) == (True, True)
    rest(three)
    assert (three.has_previous, three.has_next) == (True, False)
    assert (TokenIterator().has_previous, TokenIterator().has_next) == (False, False)


@pytest.mark.row("I-C19")
def test_places_are_counted_from_the_end_where_they_are_negative(three: TokenIterator) -> None:
    assert [three.get_at(index) for index in range(-4, 4)] == [None, "a", "b", "c", "a", "b", "c", None]
    assert (three[-1], three[0], three[1:]) == ("c", "a", ["b", "c"])
    for index in (-4, 3):
        with pytest.raises(IndexError):
            three[index]
    assert three.position == 0


@pytest.mark.row("I-C19")
def test_a_clone_stands_where_the_other_does_and_goes_its_own_way(three: TokenIterator) -> None:
    three.get()
    clone = three.clone()
    assert clone.position == 1
    clone.set_at(2, "x")
    assert rest(clone) == ["b", "x"]
    assert (three.position, rest(three)) == (1, ["b", "c"])


@pytest.mark.row("I-C19")
def test_a_text_is_set_where_there_is_one(three: TokenIterator) -> None:
    three.set_at(0, "x")
    three.set_at(-1, "z")
    assert (list(three), three.position) == (["x", "b", "z"], 0)
    for index in (-4, 3):
        with pytest.raises(IndexError):
            three.set_at(index, "y")
    assert list(three) == ["x", "b", "z"]


@pytest.mark.row("I-C19")
def test_what_is_mapped_or_filtered_is_a_new_one_from_the_beginning(three: TokenIterator) -> None:
    three.get()
    upper, others = three.map(str.upper), three.filter(lambda text: text != "b")
    assert (upper.position, others.position) == (0, 0)
    assert (rest(upper), rest(others)) == (["A", "B", "C"], ["a", "c"])
    upper.set_at(0, "x")
    assert (list(three), three.position) == (["a", "b", "c"], 1)


def test_what_it_was_made_from_is_not_its_own() -> None:
    made_from = ["a", "b"]
    iterator = TokenIterator(made_from)
    iterator.set_at(0, "x")
    made_from.append("c")
    assert (made_from, list(iterator)) == (["a", "b", "c"], ["x", "b"])


def test_iterating_goes_through_all_wherever_the_cursor_stands(three: TokenIterator) -> None:
    three.get()
    assert list(three) == list(three) == ["a", "b", "c"]
    assert three.position == 1
    assert "b" in three


def test_they_are_joined(three: TokenIterator) -> None:
    three.get()
    assert str(three) == "a,b,c"
    assert three.join("") == "abc"
    assert three.join(" / ") == "a / b / c"
    assert str(TokenIterator()) == TokenIterator().join(";") == ""


@given(texts=texts, steps=st.lists(st.sampled_from(["get", "next", "previous", "peek"]), max_size=30))
def test_whatever_steps_are_taken_the_cursor_is_where_they_lead(texts: list[str], steps: list[str]) -> None:
    iterator, place = TokenIterator(texts), 0
    for step in steps:
        if step == "get" and place == len(texts):
            with pytest.raises(IndexError):
                iterator.get()
            continue
        at = place - 1 if step == "previous" else place
        expected = texts[at] if 0 <= at < len(texts) else None
        assert getattr(iterator, step)() == expected
        if expected is not None and step != "peek":
            place += -1 if step == "previous" else 1
        assert iterator.position == place
        assert (iterator.has_previous, iterator.has_next) == (place > 0, place < len(texts))
