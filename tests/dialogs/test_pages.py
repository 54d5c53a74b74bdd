"""Dialogs of pages: rows I-C73 to I-C75, and what stands under a page."""

from typing import Any

import pytest

from sojourn import limits
from sojourn.dialogs import (
    KEEP,
    Answer,
    Button,
    Context,
    DialogInfo,
    Form,
    Handle,
    PagedDialog,
    Token,
    Tokens,
    View,
    button,
    modal,
)
from sojourn.testing.dialogs import Desk, RecordedInteraction
from sojourn.testing.dialogs import button as clicked
from sojourn.testing.dialogs import modal as sent
from sojourn.testing.dialogs import select as chosen
from tests.dialogs.conftest import Kinds, Oops

CHAPTERS = ["Dawn", "Noon", "Dusk"]


class Manual(PagedDialog[None]):
    """A book of a few chapters, which says what went elsewhere than to a page."""

    data: list[str]

    def pages(self) -> int:
        return len(self.data)

    async def view(self, ctx: Context) -> View:
        return View.of(self.data[self.page], [self.page_row(ctx)])

    async def on_select(self, ctx: Context) -> Answer:
        await ctx.notify(f"chosen: {len(ctx.values)}")
        return KEEP

    async def on_modal(self, ctx: Context) -> Answer:
        await ctx.notify(f"sent: {len(ctx.fields)}")
        return KEEP

    @button
    async def mark(self, ctx: Context) -> Answer:
        await ctx.notify(f"marked {ctx.page} at {self.page}")
        return KEEP

    @button
    async def tear(self, ctx: Context) -> Answer:
        """Lose the last chapter."""
        self.data.pop()
        return await self.go(ctx, self.page)

    @button
    async def far(self, ctx: Context, page: int) -> Answer:
        return await self.go(ctx, page)

    @button
    async def jump(self, ctx: Context) -> Answer:
        await ctx.open_form(ctx.form("Where to?", None, self.page_field(ctx, "Page")))
        return KEEP

    @modal
    async def noted(self, ctx: Context) -> Answer:
        await ctx.notify("noted")
        return KEEP


class Strict(Manual):
    """The same, which refuses pages that it does not have."""

    out_of_range = "reject"


class Endless(PagedDialog[None]):
    """Pages of which nobody knows how many there are."""

    async def view(self, ctx: Context) -> View:
        return View.of(f"{self.page}", [self.page_row(ctx)])


class Torn(Manual):
    """The page at noon cannot be shown."""

    async def view(self, ctx: Context) -> View:
        if self.page == 1:
            raise Oops("torn")
        return await super().view(ctx)


class Sparing(Manual):
    """Buttons that lead nowhere are left out."""

    async def view(self, ctx: Context) -> View:
        ends = [ctx.button("First", None, page=0), ctx.button("Last", None, page=len(self.data) - 1)]
        return View.of(self.data[self.page], [(*ends, *self.page_row(ctx, ("‹", "›"), edges="omit"))])  # noqa: RUF001


class Bare(PagedDialog[None]):
    """One that cannot show anything."""


@pytest.fixture
def kinds() -> Kinds:
    kinds = (Manual, Strict, Endless, Torn, Sparing, Bare)
    return {kind.__name__: kind for kind in kinds}


async def opened(desk: Desk, kind: type[PagedDialog[None]] = Manual) -> Handle[None]:
    return await desk.start(kind, data=list(CHAPTERS))


async def known(handle: Handle[Any]) -> DialogInfo:
    info = await handle.info()
    assert info is not None
    return info


def page_token(handle: Handle[Any], page: int | None) -> str:
    return Tokens().encode(Token(handle.id, page=page))


async def click_page(desk: Desk, handle: Handle[Any], page: int) -> RecordedInteraction:
    """Click a button that leads to that page, from wherever it was shown."""
    await desk.dispatch(clicked(handle.id, page=page, platform=desk.screen))
    return desk.last


def row(desk: Desk) -> list[tuple[str, bool]]:
    """The buttons that are shown, and whether each can be used."""
    return [(one.label, not one.disabled) for row in desk.view.rows for one in row if isinstance(one, Button)]


@pytest.mark.row("I-C73")
async def test_a_button_shows_its_page_and_a_second_click_on_it_the_same_page_again(desk: Desk) -> None:
    handle = await opened(desk)
    assert desk.view.text == "Dawn"
    first = await click_page(desk, handle, 1)
    assert [view.text for view in first.edits] == ["Noon"]
    second = await click_page(desk, handle, 1)
    assert [view.text for view in second.edits] == ["Noon"]
    assert (await known(handle)).page == 1


@pytest.mark.row("I-C73")
async def test_a_double_click_on_next_goes_one_page(desk: Desk) -> None:
    await opened(desk)
    await desk.click("Next")
    again = clicked("", token=desk.last.token or "", platform=desk.screen)
    assert (await desk.dispatch(again)).result == "kept"
    assert desk.view.text == "Noon"


@pytest.mark.row("I-C73")
async def test_a_new_process_is_at_the_same_page(desk: Desk) -> None:
    handle = await opened(desk)
    await desk.click("Next")
    await desk.restart()
    assert (await known(handle)).page == 1
    await desk.click("Next")
    assert desk.view.text == "Dusk"


@pytest.mark.row("I-C73")
async def test_a_page_that_cannot_be_shown_is_not_gone_to(desk: Desk) -> None:
    handle = await opened(desk, Torn)
    assert (await desk.click("Next")).result == "failed"
    assert (await known(handle)).page == 0
    assert desk.last.is_answered
    assert desk.view.text == "Dawn"


async def test_a_dialog_of_pages_without_a_view_does_not_start(desk: Desk) -> None:
    assert (await opened(desk, Bare)).outcome == "failed"


@pytest.mark.row("I-C74")
@pytest.mark.parametrize(
    ("asked", "shown"), [(-1, 0), (-(10**30), 0), (3, 2), (limits.DIALOG_PAGE_MAX, 2), (10**30, 2)]
)
async def test_the_nearest_page_is_shown_instead_of_one_that_there_is_not(desk: Desk, asked: int, shown: int) -> None:
    handle = await opened(desk)
    await click_page(desk, handle, 1)
    await desk.dispatch(clicked(handle.id, "far", asked, platform=desk.screen))
    assert desk.view.text == CHAPTERS[shown]
    assert (await known(handle)).page == shown


@pytest.mark.row("I-C74")
@pytest.mark.parametrize("asked", [-1, 3, 10**30])
async def test_a_page_that_there_is_not_can_be_refused_with_a_word(desk: Desk, asked: int) -> None:
    handle = await opened(desk, Strict)
    await click_page(desk, handle, 1)
    dispatched = await desk.dispatch(clicked(handle.id, "far", asked, platform=desk.screen))
    assert dispatched.result == "kept"
    assert desk.last.notices == ["There is no such page."]
    assert desk.last.edits == []
    assert (await known(handle)).page == 1


@pytest.mark.row("I-C74")
async def test_a_token_past_the_end_is_as_any_other_page_that_there_is_not(desk: Desk) -> None:
    clamping, strict = await opened(desk), await opened(desk, Strict)
    assert [view.text for view in (await click_page(desk, clamping, 7)).edits] == ["Dusk"]
    assert (await click_page(desk, strict, 7)).notices == ["There is no such page."]
    assert ((await known(clamping)).page, (await known(strict)).page) == (2, 0)


@pytest.mark.row("I-C74")
async def test_when_there_are_fewer_pages_than_before_the_last_one_is_shown(desk: Desk) -> None:
    handle = await opened(desk)
    await click_page(desk, handle, 2)
    await desk.dispatch(clicked(handle.id, "tear", platform=desk.screen))
    assert desk.view.text == "Noon"
    assert row(desk) == [("Previous", True), ("Next", False)]


@pytest.mark.row("I-C74")
async def test_where_nobody_knows_how_many_pages_there_are_there_is_always_a_next_one(desk: Desk) -> None:
    handle = await desk.start(Endless)
    await click_page(desk, handle, limits.DIALOG_PAGE_MAX - 1)
    assert row(desk) == [("Previous", True), ("Next", True)]
    await desk.click("Next")
    assert (await known(handle)).page == limits.DIALOG_PAGE_MAX
    assert row(desk) == [("Previous", True), ("Next", False)]


async def test_a_button_that_leads_nowhere_is_disabled_and_no_two_tokens_are_the_same(desk: Desk) -> None:
    handle = await desk.start(Manual, data=["Only"])
    assert row(desk) == [("Previous", False), ("Next", False)]
    for data in (["Only"], CHAPTERS):
        handle = await desk.start(Manual, data=list(data))
        for page in range(len(data)):
            await click_page(desk, handle, page)
            tokens = [one.token for shown in desk.view.rows for one in shown]
            assert len(set(tokens)) == len(tokens) == 2


async def test_a_button_that_leads_nowhere_can_be_left_out_beside_others_to_the_same_page(desk: Desk) -> None:
    handle = await opened(desk, Sparing)
    assert row(desk) == [("First", True), ("Last", True), ("›", True)]  # noqa: RUF001
    await click_page(desk, handle, 1)
    tokens = [one.token for shown in desk.view.rows for one in shown]
    assert len(set(tokens)) == len(tokens) == 4


@pytest.mark.row("I-C75")
async def test_a_single_chosen_value_that_is_a_token_of_the_dialog_leads_to_its_page(desk: Desk) -> None:
    handle = await opened(desk)
    await desk.dispatch(chosen(handle.id, None, [page_token(handle, 2)], platform=desk.screen))
    assert desk.view.text == "Dusk"
    assert (await known(handle)).page == 2


@pytest.mark.row("I-C75")
async def test_no_other_chosen_value_leads_to_a_page(desk: Desk) -> None:
    handle, other = await opened(desk), await opened(desk)
    named = Tokens().encode(Token(handle.id, "mark", page=2))
    for values in (
        [page_token(other, 2)],
        [page_token(handle, 1), page_token(handle, 2)],
        [page_token(handle, None)],
        [named],
        ["2"],
        ["\x00\ud800"],
        [],
    ):
        await desk.dispatch(chosen(handle.id, None, values, platform=desk.screen))
        assert desk.last.notices == [f"chosen: {len(values)}"], values
    assert (await known(handle)).page == 0


@pytest.mark.row("I-C75")
async def test_the_number_typed_into_a_field_for_it_leads_to_that_page_as_people_count(desk: Desk) -> None:
    handle = await opened(desk)
    await desk.dispatch(clicked(handle.id, "jump", platform=desk.screen))
    field = opened_form(desk).fields[0]
    assert (field.label, field.value) == ("Page", "1")
    await desk.submit(**{field.name: " 2 "})
    assert desk.view.text == "Noon"
    assert (await known(handle)).page == 1


@pytest.mark.row("I-C75")
@pytest.mark.parametrize("kind", [Manual, Strict])
@pytest.mark.parametrize("typed", ["", "two", "1.0", "٣", "9" * 5_000, "1\x00", "--1", "\ud800"])
async def test_what_is_no_number_leads_to_no_page_and_its_writer_is_told(
    desk: Desk, kind: type[Manual], typed: str
) -> None:
    handle = await opened(desk, kind)
    await click_page(desk, handle, 1)
    await desk.dispatch(sent(handle.id, None, {page_token(handle, None): typed}, platform=desk.screen))
    assert desk.last.notices == ["There is no such page."]
    assert (await known(handle)).page == 1


@pytest.mark.row("I-C75")
@pytest.mark.parametrize(("typed", "clamped"), [("0", 0), ("-7", 0), ("4", 2), ("999999999", 2)])
async def test_a_typed_number_out_of_range_is_as_any_other_page_that_there_is_not(
    desk: Desk, typed: str, clamped: int
) -> None:
    for kind, page in ((Manual, clamped), (Strict, 0)):
        handle = await opened(desk, kind)
        await desk.dispatch(sent(handle.id, None, {page_token(handle, None): typed}, platform=desk.screen))
        assert (await known(handle)).page == page


@pytest.mark.row("I-C75")
async def test_no_other_field_leads_to_a_page(desk: Desk) -> None:
    handle, other = await opened(desk), await opened(desk)
    ours = page_token(handle, None)
    twice = Tokens().encode(Token(handle.id, args=("page",)))
    for fields in ({page_token(other, None): "2"}, {ours: "2", twice: "3"}, {"page": "2"}, {"page": ours}, {}):
        await desk.dispatch(sent(handle.id, None, fields, platform=desk.screen))
        assert desk.last.notices == [f"sent: {len(fields)}"], fields
    await desk.dispatch(sent(handle.id, "noted", {ours: "2"}, platform=desk.screen))
    assert desk.last.notices == ["noted"]
    assert (await known(handle)).page == 0


async def test_a_component_that_names_an_action_leads_there_and_tells_it_the_page(desk: Desk) -> None:
    handle = await opened(desk)
    await desk.dispatch(clicked(handle.id, "mark", page=2, platform=desk.screen))
    assert desk.last.notices == ["marked 2 at 0"]
    assert (await known(handle)).page == 0


def opened_form(desk: Desk) -> Form:
    assert desk.screen.form is not None
    return desk.screen.form
