"""Pages of a list that changes: whoever watches them sees each key once, and none that is there is missing."""

from collections.abc import AsyncIterator
from random import Random

import msgspec
import pytest

import sojourn
from sojourn import Functions, InvalidError, LimitError, QueryCtx, Sessions, limits
from sojourn.functions import Call, Page, PageRequest
from sojourn.kernel import Store
from sojourn.kernel.live import Watch

SIZE = 4


def together(key: str) -> str:
    return "all"


class Lists:
    """A list that is shown in pages, over any store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        functions = Functions(Sessions(store))
        rows = functions.collection("rows", str, by=str, partition=together)

        @functions.query.sessionless
        async def page_of(ctx: QueryCtx, *, page: PageRequest = PageRequest()) -> Page[str]:  # noqa: B008
            return await ctx.db(rows).scan("all", page=page)

        @functions.mutation.sessionless
        async def change(ctx: sojourn.MutationCtx, *, put: list[str], drop: list[str]) -> None:
            for key in put:
                await ctx.db(rows).put(key, key.upper())
            for key in drop:
                await ctx.db(rows).delete(key)

        self.page_of, self.change, self.bound = page_of, change, functions.bind(store)

    async def page(self, request: PageRequest) -> Page[str]:
        return await self.bound.run(self.page_of, page=request)

    async def put(self, *keys: str) -> None:
        await self.bound.run(self.change, put=[*keys], drop=[])

    async def drop(self, *keys: str) -> None:
        await self.bound.run(self.change, put=[], drop=[*keys])


@pytest.fixture
def lists(store: Store) -> Lists:
    return Lists(store)


@pytest.fixture
async def memory() -> AsyncIterator[Lists]:
    async with sojourn.open("memory:") as store:
        yield Lists(store)


def keys(page: Page[str]) -> str:
    """The keys of a page, each one letter."""
    assert all(value == key.upper() for key, value in page.items)
    return "".join(key for key, _ in page.items)


@pytest.mark.row("F-L13")
async def test_a_page_that_is_pinned_has_all_up_to_its_end_and_no_more(lists: Lists) -> None:
    await lists.put(*"bdfh")
    first = await lists.page(PageRequest(size=2))
    assert (keys(first), first.next, first.cut) == ("bd", "d", None)
    pinned, second = PageRequest(size=2, until="d"), PageRequest(size=2, after="d")
    await lists.put("a", "e")
    await lists.drop("d", "h")
    assert [keys(await lists.page(one)) for one in (pinned, second)] == ["ab", "ef"]
    assert ((await lists.page(pinned)).next, (await lists.page(second)).next) == ("d", None)
    await lists.drop("a", "b")
    assert keys(await lists.page(pinned)) == ""


@pytest.mark.row("F-L13")
async def test_a_pinned_page_that_grew_to_twice_its_size_says_where_to_cut_it(lists: Lists) -> None:
    await lists.put(*"abcz")
    pinned = PageRequest(size=2, until="y")
    assert (await lists.page(pinned)).cut is None
    await lists.put("d")
    grown = await lists.page(pinned)
    assert (keys(grown), grown.cut, grown.next) == ("ab", "b", "y")
    halves = [PageRequest(size=2, until="b"), PageRequest(size=2, after="b", until="y")]
    assert [keys(await lists.page(half)) for half in halves] == ["ab", "cd"]


@pytest.mark.row("F-L13")
async def test_the_last_page_says_that_nothing_follows(memory: Lists) -> None:
    await memory.put(*"ab")
    assert (await memory.page(PageRequest(size=2))).next is None
    await memory.put("c")
    assert (await memory.page(PageRequest(size=2))).next == "b"
    assert (await memory.page(PageRequest(size=2, after="c"))) == Page((), None)


async def test_any_text_is_a_place_to_begin_or_end(memory: Lists) -> None:
    await memory.put(*"abc")
    assert keys(await memory.page(PageRequest(after="", until="b"))) == "ab"
    assert keys(await memory.page(PageRequest(after="aa"))) == "bc"
    assert keys(await memory.page(PageRequest(after="b", until="a"))) == ""
    assert keys(await memory.page(PageRequest(after="b", until="b"))) == ""
    for request in (PageRequest(after="x" * limits.ITEM_BYTES * 2), PageRequest(until="x" * limits.ITEM_BYTES * 2)):
        with pytest.raises(LimitError):
            await memory.page(request)
    with pytest.raises(InvalidError):
        await memory.page(PageRequest(after="\0"))


@pytest.mark.parametrize("size", [0, -1, limits.PAGE_MAX // 2 + 1])
async def test_a_page_is_not_too_small_and_not_too_large(memory: Lists, size: int) -> None:
    await memory.put("a")
    assert keys(await memory.page(PageRequest(size=limits.PAGE_MAX // 2, until="b"))) == "a"
    with pytest.raises(InvalidError, match=r"page\.size"):
        await memory.page(PageRequest(size=size))


class Pages:
    """What the browser's `watchPages` does, step by step, over one watch."""

    def __init__(self, lists: Lists, watch: Watch) -> None:
        self._lists = lists
        self._watch = watch
        self._last_id = 0
        self.requests: dict[int, PageRequest] = {}
        self.answers: dict[int, Page[str]] = {}
        self.splits = 0
        self._change({}, [PageRequest(SIZE)])

    def _change(self, requests: dict[int, PageRequest], added: list[PageRequest]) -> None:
        """Watch these pages and no others, as one change."""
        add = {self._last_id + number: request for number, request in enumerate(added, 1)}
        self._last_id += len(added)
        remove = self.requests.keys() - requests.keys()
        bound, function = self._lists.bound, self._lists.page_of
        readings = {
            place: bound.reading(Call(function, None, msgspec.json.encode({"page": request})))
            for place, request in add.items()
        }
        self._watch.change(readings, remove)
        self.requests = {**requests, **add}
        self.answers = {place: page for place, page in self.answers.items() if place in self.requests}

    async def settle(self) -> None:
        """Go on until all that was committed before is shown, and nothing is left to split."""
        self._watch.sync(1)
        async for transition in self._watch:
            for update in transition.updates:
                assert update.result is not None
                self.answers[update.id] = msgspec.json.decode(update.result, type=Page[str])
            if self.answers.keys() == self.requests.keys():
                self._check_tiles()
            if not transition.synced:
                continue
            grown = next((place for place, page in self.answers.items() if page.cut is not None), None)
            if grown is None and self.answers.keys() == self.requests.keys():
                return
            if grown is not None:
                self._split(grown)
            self._watch.sync(1)

    def load_more(self) -> bool:
        last = max(self.requests, key=lambda place: self.requests[place].after or "")
        end = self.answers[last].next
        if end is None:
            return False
        others = {place: request for place, request in self.requests.items() if place != last}
        pinned = msgspec.structs.replace(self.requests[last], until=end)
        self._change(others, [pinned, PageRequest(SIZE, after=end)])
        return True

    def _split(self, grown: int) -> None:
        request, cut = self.requests[grown], self.answers[grown].cut
        others = {place: one for place, one in self.requests.items() if place != grown}
        halves = [msgspec.structs.replace(request, until=cut), msgspec.structs.replace(request, after=cut)]
        self._change(others, halves)
        self.splits += 1

    def _check_tiles(self) -> None:
        """Each page begins where the one before ends, so nothing can be in two of them or in none."""
        ordered = [self.requests[place] for place in self._order()]
        assert [one.after for one in ordered] == [None, *(one.until for one in ordered[:-1])]
        assert ordered[-1].until is None
        for place in self._order():
            request, page = self.requests[place], self.answers[place]
            assert all((request.after or "") < key <= (request.until or "~") for key, _ in page.items)
            assert len(page.items) < 2 * request.size

    def _order(self) -> list[int]:
        return sorted(self.requests, key=lambda place: self.requests[place].after or "")

    def shown(self) -> list[str]:
        return [key for place in self._order() for key, _ in self.answers[place].items]

    def ends(self) -> bool:
        return self.answers[self._order()[-1]].next is None


@pytest.mark.row("F-L13", "F-L2")
@pytest.mark.parametrize("seed", range(8))
async def test_pages_tile_the_list_while_rows_come_and_go(memory: Lists, seed: int) -> None:
    """Proves with random changes, also in the middle of others, that what is shown is a beginning of what is there."""
    random, there = Random(seed), set[str]()  # noqa: S311  a test that can be repeated
    async with memory.store.live.watch() as watch:
        pages = Pages(memory, watch)
        for _ in range(60):
            for _ in range(random.randint(1, 3)):
                low = random.randint(0, 900)
                put = {f"{random.randint(low, low + 99):03}" for _ in range(random.choice([0, 1, 2, 12]))}
                drop = set(random.sample(sorted(there), min(len(there), random.choice([0, 1, 6])))) - put
                await memory.bound.run(memory.change, put=sorted(put), drop=sorted(drop))
                there = (there | put) - drop
            await pages.settle()
            shown = pages.shown()
            assert shown == sorted(there)[: len(shown)]
            assert pages.ends() == (len(shown) == len(there))
            if random.random() < 0.5:
                pages.load_more()
        await pages.settle()
        while pages.load_more():
            await pages.settle()
        assert pages.shown() == sorted(there)
        assert pages.splits
