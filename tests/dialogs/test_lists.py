"""Dialogs of lists: rows I-C76 and I-C79."""

from collections.abc import Sequence
from typing import Any, cast

import pytest

from sojourn import limits
from sojourn.dialogs import (
    Answer,
    Button,
    Context,
    DialogInfo,
    Handle,
    ListDialog,
    Slice,
    View,
    button,
)
from sojourn.dialogs.layout import Address
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel import Reads, Store
from sojourn.kernel.codec import unpack
from sojourn.testing.dialogs import Desk
from sojourn.testing.dialogs import button as clicked
from tests.dialogs.conftest import Kinds


class Source:
    """Where the items come from. `asked` is every cursor that was asked for."""

    def __init__(self) -> None:
        self.items = list(range(10, 110, 10))
        self.asked: list[str | None] = []

    def after(self, cursor: str | None, most: int) -> Slice[int]:
        """Return the items behind a cursor, which is the last one before them."""
        self.asked.append(cursor)
        found = sorted(item for item in self.items if cursor is None or item > int(cursor))
        return Slice(found[:most], str(found[most - 1]) if len(found) > most else None)


class Shown(ListDialog[None, int]):
    """Shows its items as text."""

    page_size = 3

    async def view(self, ctx: Context) -> View:
        return View.of(" ".join(map(str, self.shown)), [self.page_row(ctx)])


@pytest.fixture
def source() -> Source:
    return Source()


@pytest.fixture
def loaded(source: Source) -> type[ListDialog[None, int]]:
    """A list whose items are fetched by cursors."""

    class Loaded(Shown):
        async def load(self, ctx: Context, cursor: str | None) -> Slice[int]:  # noqa: ARG002  the signature
            return source.after(cursor, self.page_size)

        @button
        async def take(self, ctx: Context, item: int) -> Answer:
            source.items.remove(item)
            return await self.go(ctx, self.page)

    return Loaded


class Held(Shown):
    """A list that its data holds."""

    data: list[int]

    def items(self) -> Sequence[int]:
        return self.data

    @button
    async def take(self, ctx: Context, item: int) -> Answer:
        self.data.remove(item)
        return await self.go(ctx, self.page)


class Strict(Held):
    """The same, which refuses pages that it does not have."""

    out_of_range = "reject"


class Counted(Shown):
    """A list of which the number of pages is known, and whose items are fetched by the number of the page."""

    def pages(self) -> int:
        return 1_000

    async def load(self, ctx: Context, cursor: str | None) -> Slice[int]:  # noqa: ARG002  the signature
        assert cursor is None
        return Slice(range(self.page * 3, self.page * 3 + 3), "ignored")


class Nowhere(Shown):
    """A list that comes from nowhere."""


@pytest.fixture
def misled() -> list[Any]:
    """What a wrong `load` returns."""
    return [Slice([0], "0")]


@pytest.fixture
def wrong(misled: list[Any]) -> type[ListDialog[None, int]]:
    class Wrong(Shown):
        async def load(self, ctx: Context, cursor: str | None) -> Slice[int]:  # noqa: ARG002  the signature
            found: Slice[int] = misled[0]
            return found

    return Wrong


@pytest.fixture
def strictly(loaded: type[ListDialog[None, int]]) -> type[ListDialog[None, int]]:
    class Strictly(loaded):  # type: ignore[valid-type, misc]  # a class made for this test
        out_of_range = "reject"

    return Strictly


@pytest.fixture
def kinds(
    loaded: type[ListDialog[None, int]], strictly: type[ListDialog[None, int]], wrong: type[ListDialog[None, int]]
) -> Kinds:
    return {
        "loaded": loaded,
        "strictly": strictly,
        "held": Held,
        "strict": Strict,
        "counted": Counted,
        "nowhere": Nowhere,
        "wrong": wrong,
    }


async def known(handle: Handle[Any]) -> DialogInfo:
    info = await handle.info()
    assert info is not None
    return info


async def stored(store: Store, handle: Handle[Any]) -> bytes:
    """The record of a dialog, as the bytes of its text."""
    (record,) = (await store.read(Reads((Address(handle.id, handle.id).dialog,)))).records.keys
    assert record is not None
    return unpack(record.value)


def row(desk: Desk) -> list[tuple[str, bool]]:
    """The buttons that are shown, and whether each can be used."""
    return [(one.label, not one.disabled) for row in desk.view.rows for one in row if isinstance(one, Button)]


@pytest.mark.row("I-C76")
async def test_a_list_in_the_data_has_no_page_behind_its_last(desk: Desk) -> None:
    await desk.start(Held, data=list(range(7)))
    seen = [desk.view.text]
    while row(desk)[1] == ("Next", True):
        await desk.click("Next")
        seen.append(desk.view.text)
    assert seen == ["0 1 2", "3 4 5", "6"]
    await desk.click("Previous")
    assert desk.view.text == "3 4 5"


@pytest.mark.row("I-C76")
@pytest.mark.parametrize(("length", "pages"), [(0, 1), (1, 1), (3, 1), (4, 2), (6, 2)])
async def test_a_list_has_as_many_pages_as_its_items_fill(desk: Desk, length: int, pages: int) -> None:
    handle = await desk.start(Held, data=list(range(length)))
    await desk.dispatch(clicked(handle.id, page=99, platform=desk.screen))
    assert (await known(handle)).page == pages - 1
    assert ("Next", True) not in row(desk)


@pytest.mark.row("I-C76")
async def test_a_list_from_a_loader_has_no_page_behind_its_last(
    desk: Desk, loaded: type[ListDialog[None, int]], source: Source
) -> None:
    await desk.start(loaded)
    seen = [desk.view.text]
    while row(desk)[1] == ("Next", True):
        await desk.click("Next")
        seen.append(desk.view.text)
    assert seen == ["10 20 30", "40 50 60", "70 80 90", "100"]
    assert source.asked == [None, "30", "60", "90"]
    assert row(desk) == [("Previous", True), ("Next", False)]


@pytest.mark.row("I-C76")
async def test_a_loader_that_knows_how_many_pages_there_are_can_be_asked_for_any(desk: Desk) -> None:
    handle = await desk.start(Counted)
    await desk.dispatch(clicked(handle.id, page=500, platform=desk.screen))
    assert desk.view.text == "1500 1501 1502"
    await desk.dispatch(clicked(handle.id, page=5_000, platform=desk.screen))
    assert desk.view.text == "2997 2998 2999"
    assert row(desk) == [("Previous", True), ("Next", False)]


@pytest.mark.row("I-C74")
async def test_a_page_that_was_not_found_yet_is_clamped_or_refused(
    desk: Desk, loaded: type[ListDialog[None, int]], strictly: type[ListDialog[None, int]]
) -> None:
    clamping, strict = await desk.start(loaded), await desk.start(strictly)
    for handle in (clamping, strict):
        await desk.dispatch(clicked(handle.id, page=3, platform=desk.screen))
    assert desk.last.notices == ["There is no such page."]
    assert ((await known(clamping)).page, (await known(strict)).page) == (1, 0)


@pytest.mark.row("I-C74")
async def test_a_list_in_the_data_refuses_pages_that_it_does_not_have(desk: Desk) -> None:
    handle = await desk.start(Strict, data=[1, 2, 3, 4])
    await desk.dispatch(clicked(handle.id, page=2, platform=desk.screen))
    assert desk.last.notices == ["There is no such page."]
    assert (await known(handle)).page == 0


@pytest.mark.row("I-C79")
async def test_a_page_goes_on_behind_what_was_shown_when_the_source_has_changed(
    desk: Desk, loaded: type[ListDialog[None, int]], source: Source
) -> None:
    await desk.start(loaded)
    source.items += [5, 15, 35]
    source.items.remove(20)
    await desk.click("Next")
    assert desk.view.text == "35 40 50"
    await desk.click("Previous")
    assert desk.view.text == "5 10 15"
    await desk.click("Next")
    assert desk.view.text == "30 35 40"


@pytest.mark.row("I-C79")
async def test_a_new_process_goes_on_behind_what_was_shown(
    desk: Desk, loaded: type[ListDialog[None, int]], source: Source
) -> None:
    await desk.start(loaded)
    await desk.click("Next")
    await desk.restart()
    source.items.remove(70)
    await desk.click("Next")
    assert desk.view.text == "80 90 100"
    async with desk.elsewhere() as beside:
        await beside.click("Previous")
        assert beside.view.text == "40 50 60"


@pytest.mark.row("I-C79")
async def test_a_record_holds_no_items(
    desk: Desk, store: Store, loaded: type[ListDialog[None, int]], source: Source
) -> None:
    source.items = list(range(700_000, 700_900))
    handle = await desk.start(loaded)
    before = len(await stored(store, handle))
    for _ in range(5):
        await desk.click("Next")
    text = await stored(store, handle)
    held = {item for item in source.items if str(item).encode() in text}
    assert held == {700_002, 700_005, 700_008, 700_011, 700_014, 700_015, 700_016, 700_017}  # cursors, and what is seen
    assert len(text) - before < 100


@pytest.mark.row("I-C79")
async def test_when_the_source_ends_earlier_than_before_old_buttons_lead_to_its_new_end(
    desk: Desk, loaded: type[ListDialog[None, int]], source: Source
) -> None:
    handle = await desk.start(loaded)
    for _ in range(3):
        await desk.click("Next")
    source.items = source.items[:5]
    await desk.dispatch(clicked(handle.id, page=1, platform=desk.screen))
    assert (desk.view.text, row(desk)) == ("40 50", [("Previous", True), ("Next", False)])
    await desk.dispatch(clicked(handle.id, page=3, platform=desk.screen))
    assert desk.view.text == "40 50"


@pytest.mark.row("I-C79")
@pytest.mark.parametrize("kind", ["held", "loaded"])
async def test_a_page_can_be_shown_anew_after_one_of_its_items_is_gone(desk: Desk, kinds: Kinds, kind: str) -> None:
    data = {"data": list(range(10, 110, 10))} if kind == "held" else {}
    handle = await desk.start(kinds[kind], **data)
    await desk.click("Next")
    await desk.dispatch(clicked(handle.id, "take", 50, platform=desk.screen))
    assert desk.view.text == "40 60 70"
    await desk.click("Next")
    assert desk.view.text == "80 90 100"


@pytest.mark.row("I-C79")
async def test_only_so_many_cursors_are_kept_and_before_a_forgotten_page_comes_the_first(
    desk: Desk, store: Store, loaded: type[ListDialog[None, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "DIALOG_CURSORS", 2)
    handle = await desk.start(loaded)
    for _ in range(3):
        await desk.click("Next")
    assert b'"cursors":{"2":"60","3":"90"}' in await stored(store, handle)
    seen: list[str] = []
    for _ in range(2):
        await desk.click("Previous")
        seen.append(desk.view.text)
    assert seen == ["70 80 90", "10 20 30"]
    await desk.click("Next")
    assert desk.view.text == "40 50 60"


async def test_a_list_without_items_and_loader_does_not_start(desk: Desk) -> None:
    assert (await desk.start(Nowhere)).outcome == "failed"


@pytest.mark.parametrize(
    "returned", [None, [1], ([1], "1"), Slice([1], cast("Any", 1)), Slice([1], "x" * 1_001), Slice([1], "\ud800")]
)
async def test_a_loader_that_returns_something_else_fails_and_nothing_has_moved(
    desk: Desk, wrong: type[ListDialog[None, int]], misled: list[Any], returned: object
) -> None:
    handle = await desk.start(wrong)
    misled[0] = returned
    dispatched = await desk.click("Next")
    assert dispatched.result == "failed"
    assert isinstance(dispatched.error, InvalidError | LimitError)
    assert desk.last.is_answered
    assert (await known(handle)).page == 0
    misled[0] = Slice([7])
    await desk.click("Next")
    assert desk.view.text == "7"
