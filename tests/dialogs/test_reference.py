"""Tokens in the reference's wire form: written and read as there, without its faults."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.dialogs.reference import Parts, ReferenceCodec
from sojourn.dialogs.tokens import Budget, Token, Tokens
from sojourn.errors import InvalidError, LimitError

from .test_tokens import M, S, confusing, names, numbers, spilled, texts

CODEC = ReferenceCodec(Budget())


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    """A token that this form can hold."""
    unlike = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=[S, M]), max_size=20)
    spill = draw(st.none() | spilled)
    args = [] if spill is not None else draw(st.lists(confusing | unlike, max_size=6))
    action = draw(st.none() | unlike.filter(bool))
    return Token(draw(names), action, tuple(args), draw(numbers), draw(numbers), spill)


@pytest.mark.row("I-C02", "I-C09")
@given(token=tokens())
def test_what_is_put_in_comes_out(token: Token) -> None:
    assert CODEC.decode(CODEC.encode(token)) == token


@pytest.mark.row("I-C03", "I-C07")
@given(token=tokens(), text=texts, separator=st.sampled_from([S, M, "\ud800"]))
def test_what_holds_a_separator_is_refused(token: Token, text: str, separator: str) -> None:
    for bad in (Token(token.dialog_id, separator + text), Token(token.dialog_id, "go", (text, text + separator))):
        with pytest.raises(InvalidError):
            CODEC.encode(bad)


@pytest.mark.row("I-C02", "I-C14")
@pytest.mark.parametrize(
    ("token", "text"),
    {
        Token("d"): f"SSN{M}d{S}",
        Token("d", "go"): f"SSN{M}d{S}go",
        Token("d", "go", ("a", "b")): f"SSN{M}d{S}go{S}a{S}b",
        Token("d", "go", ("",)): f"SSN{M}d{S}go{S}",
        Token("d", None, ("",)): f"SSN{M}d{S}{S}",
        Token("d", "go", page=12): f"SSN{M}d{M}12{S}go",
        Token("d", "go", page=0, revision=7): f"SSN{M}d{M}0{M}7{S}go",
        Token("d", "go", revision=7): f"SSN{M}d{M}{M}7{S}go",
        Token("d", "go", spill="a1B2"): f"SSN{M}d{M}{M}{M}a1B2{S}go",
        Token("d", "vote for ü", ("*abcd", "p3")): f"SSN{M}d{S}vote for ü{S}*abcd{S}p3",
    }.items(),
)
def test_the_form_is_that_of_the_reference(token: Token, text: str) -> None:
    assert CODEC.encode(token) == text
    assert CODEC.decode(text) == token


@pytest.mark.row("I-C07", "I-C08")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "SSN",
        "SSN.d.go",
        f"SSN{M}d",
        f"SSN{S}d",
        f"SSN{M}{S}go",
        f"{M}d{S}go",
        f"CMD{M}d{S}go",
        f"ssn{M}d{S}go",
        f"SSN{M}d e{S}go",
        f"SSN{M}d{S}go{M}a",
        f"SSN{M}d{S}go{S}a{M}",
        f"SSN{M}d{S}\ud800",
        f"SSN{M}d{M}\udfff{S}go",
        f"SSN{M}{'d' * (limits.DIALOG_ID_CHARS + 1)}{S}go",
        Tokens().encode(Token("d", "go")),
    ],
)
def test_what_is_malformed_or_foreign_is_no_token(text: str) -> None:
    assert CODEC.decode(text) is None


@pytest.mark.row("I-C15")
@pytest.mark.parametrize("page", ["", "3x", "x3", "-1", "03", "1e3", " 3", "3\n", "³", "٣", "1000000000", "9" * 4_000])
def test_a_page_that_is_no_plain_number_is_no_page(page: str) -> None:
    assert CODEC.decode(f"SSN{M}d{M}{page}{S}go") == Token("d", "go")


@pytest.mark.row("I-C03")
@pytest.mark.parametrize("slot", [S, M, "\ud800"])
def test_a_slot_that_could_not_be_read_again_is_refused(slot: str) -> None:
    with pytest.raises(InvalidError):
        CODEC.write(Parts("d", ("", slot), ("go",)))
    with pytest.raises(InvalidError):
        CODEC.encode(Token("d", "go", spill=slot))


def test_a_single_empty_token_is_refused_rather_than_lost() -> None:
    with pytest.raises(InvalidError):
        CODEC.encode(Token("d", ""))


def test_arguments_beside_those_that_were_spilled_are_refused() -> None:
    with pytest.raises(InvalidError):
        CODEC.encode(Token("d", "go", ("a",), spill="abcd"))


@pytest.mark.row("I-C05", "I-C06")
def test_a_hundred_characters_are_the_budget_of_the_whole() -> None:
    room = 100 - len(f"SSN{M}d{M}3{S}go{S}")
    assert len(ReferenceCodec().encode(Token("d", "go", ("a" * room,), page=3))) == 100
    for over in (Token("d", "go", ("a" * room,), page=10), Token("dd", "go", ("a" * room,), page=3)):
        with pytest.raises(LimitError) as refused:
            ReferenceCodec().encode(over)
        assert (refused.value.limit, refused.value.found) == (100, 101)


@pytest.mark.row("I-C05")
def test_a_separator_takes_three_bytes() -> None:
    token = Token("d", "go", ("ü",))
    assert len(ReferenceCodec(Budget(17, "bytes")).encode(token)) == 10
    with pytest.raises(LimitError) as refused:
        ReferenceCodec(Budget(16, "bytes")).encode(token)
    assert (refused.value.found, refused.value.unit) == (17, "bytes")
