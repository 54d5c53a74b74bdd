"""Tokens: what is put in comes out, and whatever is none of ours comes to nothing."""

import re
from collections.abc import Iterator
from string import ascii_letters, digits

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sojourn import limits
from sojourn.dialogs.model import mint
from sojourn.dialogs.reference import ReferenceCodec
from sojourn.dialogs.tokens import Budget, Token, TokenCodec, Tokens
from sojourn.errors import InvalidError, LimitError
from sojourn.testing.dialogs import Desk, button

from .conftest import Counter, heard, telling

KEY, OLDER, OTHER = (bytes([number]) * limits.DIALOG_KEY_BYTES for number in (1, 2, 3))

PLAIN = Tokens()
SIGNED = Tokens(keys=[KEY, OLDER])
REFERENCE = ReferenceCodec(Budget())
CODECS = {"sojourn's": PLAIN, "signed": SIGNED, "the reference's": REFERENCE}

S, M = "\u109e", "\u0b75"

names = st.text(ascii_letters + digits + "_-", min_size=1, max_size=12)
actions = st.none() | st.builds(str.__add__, st.sampled_from(ascii_letters + "_"), names)
numbers = st.none() | st.integers(0, limits.DIALOG_PAGE_MAX)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
confusing = st.sampled_from(["", "p3", "r7", "p03", "p", "*abcd", "~", ".", "%", "%70", "a.b", "s1", "\0", "\n", "🏷"])
spilled = st.text(ascii_letters + digits + "_-", min_size=4, max_size=4)


@st.composite
def tokens(draw: st.DrawFn) -> Token:
    """A token of any shape."""
    spill = draw(st.none() | spilled)
    args = () if spill is not None else tuple(draw(st.lists(confusing | texts, max_size=6)))
    return Token(draw(names), draw(actions), args, draw(numbers), draw(numbers), spill)


def written_alike(text: str) -> Iterator[str]:
    """Texts that one slip away from the given one."""
    for place in range(len(text)):
        yield text[:place]
        yield text[place + 1 :]
        yield text[:place] + text[place + 1 :]
        for bit in range(7):
            yield text[:place] + chr(ord(text[place]) ^ (1 << bit)) + text[place + 1 :]


# -- The way there and back -------------------------------------------------------------------------------------------


@pytest.mark.row("I-C02", "I-C03", "I-C09")
@pytest.mark.parametrize("codec", [PLAIN, SIGNED], ids=["plain", "signed"])
@given(token=tokens())
def test_what_is_put_into_a_token_comes_out(codec: Tokens, token: Token) -> None:
    text = codec.encode(token)
    assert codec.decode(text) == token
    assert re.fullmatch(r"[A-Za-z0-9_.%*~-]+", text), "it can stand anywhere"


@pytest.mark.row("I-C02", "I-C03")
@given(one=tokens(), other=tokens())
def test_two_tokens_are_never_written_alike(one: Token, other: Token) -> None:
    assert (PLAIN.encode(one) == PLAIN.encode(other)) == (one == other)


@pytest.mark.row("I-C02")
@pytest.mark.parametrize(
    ("token", "text"),
    {
        Token("AbCdEf012345", "vote", ("yes", "12"), page=3, revision=7): "s1.AbCdEf012345.vote.yes.12.p3.r7",
        Token("d"): "s1.d.",
        Token("d", None, ("a",)): "s1.d..a",
        Token("d", "go", ("",)): "s1.d.go.",
        Token("d", "go", ("", "")): "s1.d.go..",
        Token("d", "go", ("a.b~c",)): "s1.d.go.a%2Eb%7Ec",
        Token("d", "go", ("ü",)): "s1.d.go.%C3%BC",
        Token("d", "go", ("p3", "r7", "pay")): "s1.d.go.%703.%727.pay",
        Token("d", "go", page=0): "s1.d.go.p0",
        Token("d", "go", ("p0",)): "s1.d.go.%700",
        Token("d", "go", spill="a1B2"): "s1.d.go.*a1B2",
        Token("d", "go", ("*a1B2",), revision=1): "s1.d.go.%2Aa1B2.r1",
    }.items(),
)
def test_the_form_of_a_token_stays_what_it_is(token: Token, text: str) -> None:
    assert PLAIN.encode(token) == text
    assert PLAIN.decode(text) == token


@pytest.mark.row("I-C09")
@pytest.mark.parametrize("count", range(5))
def test_empty_arguments_are_counted(count: int) -> None:
    token = Token("d", "go", ("",) * count)
    for codec in (PLAIN, SIGNED, REFERENCE):
        assert codec.decode(codec.encode(token)) == token


@pytest.mark.parametrize("args", [("\ud800",), ("a", "\udfffb"), (1,)])
def test_what_is_no_text_cannot_be_an_argument(args: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError) as refused:
        PLAIN.encode(Token("d", "go", args))
    assert refused.value.name == "args"


@pytest.mark.row("I-C04")
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("dialog_id", ["", "a.b", "a~b", "a%b", "ü", "a\n", f"a{S}b", f"a{M}b", "\ud800"])
def test_an_id_that_could_not_stand_in_a_token_is_refused(codec: TokenCodec, dialog_id: str) -> None:
    with pytest.raises(InvalidError):
        codec.encode(Token(dialog_id, "go"))


@pytest.mark.parametrize("action", ["", "1st", "a b", "größe", "go\n", "*abcd"])
def test_an_action_that_is_no_name_is_refused(action: str) -> None:
    with pytest.raises(InvalidError):
        PLAIN.encode(Token("d", action))


@pytest.mark.row("I-C15")
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize(
    "page", [-1, limits.DIALOG_PAGE_MAX + 1, pytest.param(10**5_000, id="endless"), 1.5, True, "3"]
)
def test_a_page_that_is_none_is_refused(codec: TokenCodec, page: int) -> None:
    with pytest.raises(InvalidError):
        codec.encode(Token("d", "go", page=page))


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("revision", [-1, 10**19, pytest.param(10**5_000, id="endless"), 1.5, True, "3"])
def test_a_revision_that_is_none_is_refused(codec: TokenCodec, revision: int) -> None:
    with pytest.raises(InvalidError):
        codec.encode(Token("d", "go", revision=revision))


@pytest.mark.parametrize(("spill", "args"), [("abc", ()), ("abcde", ()), ("ab.d", ()), ("", ()), ("abcd", ("",))])
def test_what_stands_for_the_arguments_stands_alone(spill: str, args: tuple[str, ...]) -> None:
    with pytest.raises(InvalidError):
        PLAIN.encode(Token("d", "go", args, spill=spill))


# -- What is none of ours ---------------------------------------------------------------------------------------------


@pytest.mark.row("I-C07")
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@given(text=st.text() | st.text("s1.pr~%*-_09azAZ") | st.text(f"SN{S}{M}a0\ud800\0"))
@example("\ud800" * 10)
@example("s1.\0")
def test_no_text_makes_decoding_raise(codec: TokenCodec, text: str) -> None:
    for each in (text, f"s1.d.{text}", f"s1.d.go.{text}", f"s1.d.go~{text}", f"SSN{M}d{text}", f"SSN{M}d{S}{text}"):
        token = codec.decode(each)
        assert token is None or isinstance(token, Token)


@pytest.mark.row("I-C07")
@given(text=st.text("s1.pr~%*-_09azAZ27E"))
def test_each_token_has_one_spelling(text: str) -> None:
    for each in (text, f"s1.d.{text}", f"s1.d.go.{text}"):
        token = PLAIN.decode(each)
        assert token is None or PLAIN.encode(token) == each


@pytest.mark.row("I-C07")
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
@pytest.mark.parametrize("part", ["a", ".", "p3.", "%", "%70", "%FF", "\0", "~", S, M, "\ud800", "🏷"])
@pytest.mark.parametrize("head", ["", "s1.d.go", "s1.d.go.", f"SSN{M}d", f"SSN{M}d{S}"])
def test_endless_text_is_no_token(codec: TokenCodec, part: str, head: str) -> None:
    assert codec.decode(head + part * 1_000_000) is None


@pytest.mark.row("I-C07", "I-C15")
@pytest.mark.parametrize(
    "text",
    [
        "",
        "s1",
        "s1.",
        "s1.d",
        "s1..go",
        "s1.d.1st",
        "s1.d.go\n",
        " s1.d.go",
        "s1.d.go.a b",
        "s1.d.go.ü",
        "s1.d.go.%",
        "s1.d.go.%4",
        "s1.d.go.%41",
        "s1.d.go.%c3%bc",
        "s1.d.go.%FF",
        "s1.d.go.%ED%A0%80",
        "s1.d.go.%70",
        "s1.d.go.*abc",
        "s1.d.go.*abcd.a",
        "s1.d.go.a.*abcd",
        "s1.d.go.p03",
        "s1.d.go.p1.a",
        "s1.d.go.p1.p2",
        "s1.d.go.r1.p1",
        "s1.d.go.p1000000000",
        "s1.d.go.r10000000000000000000",
        "s1.d.go~",
        "s1.d.go~abcdefghijklmnop",
        "s2.d.go",
        "S1.d.go",
        f"SSN{M}d{S}go",
        "CMD.d.go",
        "s1." + "d" * (limits.DIALOG_ID_CHARS + 1) + ".go",
        "s1.d." + "a" * (limits.DIALOG_NAME_CHARS + 1),
    ],
)
def test_what_is_malformed_is_no_token(text: str) -> None:
    assert PLAIN.decode(text) is None


@pytest.mark.row("I-C15")
@pytest.mark.parametrize("text", ["3x", "p", "p-1", "p1_0", "page3", "P3", "3"])
def test_what_only_looks_like_a_page_is_an_argument(text: str) -> None:
    assert PLAIN.decode(f"s1.d.go.{text}") == Token("d", "go", (text,))


@pytest.mark.row("I-C15")
@pytest.mark.parametrize("page", [0, 1, limits.DIALOG_PAGE_MAX])
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_page_within_bounds_is_read(codec: TokenCodec, page: int) -> None:
    token = Token("d", "go", ("a",), page=page, revision=10**19 - 1)
    assert codec.decode(codec.encode(token)) == token


@pytest.mark.row("I-C16")
@pytest.mark.parametrize("text", ["s2.d.go.p3", "x.d.go.p3", ".d.go.p3", f"CMD{M}d{M}3{S}go", f"SSNX{M}d{M}3{S}go"])
@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_a_page_of_another_namespace_is_not_read(codec: TokenCodec, text: str) -> None:
    assert codec.decode(text) is None


@pytest.mark.row("I-C07", "I-C08", "I-C16")
async def test_a_foreign_token_is_left_to_others(desk: Desk, counter: type[Counter]) -> None:
    handle = await desk.start(counter)
    told = telling(desk.dialogs)
    before = await handle.info()
    for text in (
        f"s2.{handle.id}.more",
        f"s1.{handle.id}.more.p03",
        f"CMD{M}{handle.id}{S}more",
        "",
        "\ud800",
        "x" * 10_000,
    ):
        dispatched = await desk.dispatch(button(handle.id, token=text, platform=desk.screen))
        assert (dispatched.result, dispatched.is_handled, dispatched.dialog_id) == ("foreign", False, None)
        assert not desk.last.is_answered, "whose it is will answer"
        assert await desk.dialogs.resolve(desk.last) is None
    assert await handle.info() == before
    assert await heard(told)
    assert (await desk.click(counter.more)).result == "kept"


# -- Budgets ----------------------------------------------------------------------------------------------------------


@pytest.mark.row("I-C05", "I-C06")
@pytest.mark.parametrize("keys", [None, [KEY]], ids=["plain", "signed"])
@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_the_whole_token_is_measured(keys: list[bytes] | None, unit: str) -> None:
    token = Token("d" * 12, "vote", ("yes",), page=3)
    length = len(Tokens(keys=keys).encode(token))
    enough = msgspec.convert({"most": length, "unit": unit}, Budget)
    assert len(Tokens(enough, keys).encode(token)) == length
    for over in (msgspec.structs.replace(token, dialog_id="d" * 13), msgspec.structs.replace(token, page=10)):
        with pytest.raises(LimitError) as refused:
            Tokens(enough, keys).encode(over)
        assert (refused.value.limit, refused.value.found, refused.value.unit) == (length, length + 1, unit)


@pytest.mark.row("I-C05")
def test_what_could_not_be_read_again_is_not_written() -> None:
    most = Token("d", "go", ("a" * (limits.DIALOG_TOKEN_CHARS - len("s1.d.go.")),))
    assert PLAIN.decode(PLAIN.encode(most)) == most
    for codec in (PLAIN, Tokens(Budget(10_000_000))):
        with pytest.raises(LimitError):
            codec.encode(Token("d", "go", ("a" * (limits.DIALOG_TOKEN_CHARS - len("s1.d.go.") + 1),)))


@pytest.mark.row("I-C05")
def test_a_token_takes_sixteen_bytes_beside_its_action_and_arguments() -> None:
    telegram = Budget(64, "bytes")
    action, args = "vote", ("yes", "12")
    said = len(".".join((action, *args)))
    assert len(Tokens(telegram).encode(Token(mint(), action, args))) - said == 16
    assert len(Tokens(telegram).encode(Token(mint(), action, args, page=3))) - said == 19
    assert len(Tokens(telegram, [KEY]).encode(Token(mint(), action, args, page=3))) - said == 19 + 17


# -- The MAC ----------------------------------------------------------------------------------------------------------

SAID = Token("AbCdEf012345", "pay", ("100", "eve"), page=3, revision=7)


def test_the_newest_key_signs_and_every_key_is_known() -> None:
    older, newer, rotated = Tokens(keys=[OLDER]), Tokens(keys=[KEY]), Tokens(keys=[KEY, OLDER])
    assert rotated.decode(older.encode(SAID)) == SAID
    assert rotated.encode(SAID) == newer.encode(SAID)
    assert older.decode(newer.encode(SAID)) is None


def test_the_mac_stays_what_it_is() -> None:
    assert Tokens(keys=[KEY]).encode(Token("d", "go")) == "s1.d.go~Dap0gPNhU6BOm9Ov"


def test_a_token_with_another_key_is_forged() -> None:
    assert SIGNED.decode(Tokens(keys=[OTHER]).encode(SAID)) is None


def test_one_without_a_mac_is_forged_and_one_with_is_foreign_without_keys() -> None:
    assert SIGNED.decode(PLAIN.encode(SAID)) is None
    assert PLAIN.decode(SIGNED.encode(SAID)) is None


@pytest.mark.row("I-C07")
def test_no_slip_of_a_signed_token_is_read() -> None:
    text = SIGNED.encode(SAID)
    assert [each for each in written_alike(text) if each != text and SIGNED.decode(each) is not None] == []


def test_no_other_token_is_opened_by_the_mac_of_one() -> None:
    text = SIGNED.encode(SAID)
    body, _, mac = text.partition("~")
    others = (
        Token(SAID.dialog_id, SAID.action, SAID.args[::-1], SAID.page, SAID.revision),
        Token(SAID.dialog_id, SAID.action, SAID.args, SAID.revision, SAID.page),
        Token("pay", "AbCdEf012345", SAID.args, SAID.page, SAID.revision),
        Token("AbCdEf012346", SAID.action, SAID.args, SAID.page, SAID.revision),
        Token(SAID.dialog_id, SAID.action, (*SAID.args, "p3"), revision=SAID.revision),
    )
    for other in others:
        assert SIGNED.decode(f"{PLAIN.encode(other)}~{mac}") is None
    assert SIGNED.decode(f"{body.replace('s1.', 's2.')}~{mac}") is None
    assert SIGNED.decode(f"{mac}~{body}") is None
    assert SIGNED.decode(f"{text}~{mac}") is None


@given(token=tokens(), key=st.binary(min_size=limits.DIALOG_KEY_BYTES, max_size=100))
def test_no_key_but_the_right_one_opens_a_token(token: Token, key: bytes) -> None:
    text = SIGNED.encode(token)
    assert (Tokens(keys=[key]).decode(text) is not None) == (key.rstrip(b"\0") == KEY), "HMAC fills keys up with zeros"


@pytest.mark.parametrize("keys", [[], [b""], [b"short"], [KEY, b"short"], KEY, [KEY.decode()]])
def test_keys_that_protect_nothing_are_refused(keys: list[bytes]) -> None:
    with pytest.raises(InvalidError) as refused:
        Tokens(keys=keys)
    assert "short" not in str(refused.value)


def test_more_keys_than_can_be_tried_are_refused() -> None:
    Tokens(keys=[KEY] * limits.DIALOG_KEYS)
    with pytest.raises(LimitError):
        Tokens(keys=[KEY] * (limits.DIALOG_KEYS + 1))
