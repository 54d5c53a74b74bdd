"""What type checkers say of documents: right uses have exact types, wrong ones are errors.

mypy and pyright read this file; nothing runs it. A line marked as an error must be one, or the mark itself is.
"""
# pyright: reportUnnecessaryTypeIgnoreComment=true

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal, TypedDict, assert_type

import msgspec
import pydantic

import sojourn
from sojourn.documents import Cause, Difference, Document, Documents, EndReason, Info, LeaseInfo, Message, Page, Version
from sojourn.kernel import Attempt

store = sojourn.open("memory:")


class Player(msgspec.Struct):
    coins: int = 0


@dataclass(frozen=True)
class Board:
    title: str = ""


class Device(pydantic.BaseModel):
    online: bool = False


class Settings(TypedDict):
    dark: bool


def is_settings(value: Any) -> bool:
    return isinstance(value, dict)


players = Documents(store, "players", schema=Player, template=Player())
assert_type(players, Documents[Player])
assert_type(Documents(store, "boards", schema=Board, template=Board()), Documents[Board])
assert_type(Documents(store, "devices", schema=Device, template=Device()), Documents[Device])
settings = Documents(store, "settings", schema=Settings, template=Settings(dark=True))
assert_type(settings, Documents[Settings])
checked = Documents(store, "checked", schema=is_settings, template=Settings(dark=True))
assert_type(checked, Documents[Settings])

Documents(store, "players", schema=Player)  # type: ignore[call-arg]
Documents(store, "players", schema=7, template=Player())  # type: ignore[arg-type]
Documents(store, "players", schema=Player, template=Player(), autosave=300)  # type: ignore[arg-type]
Documents(store, "players", schema=Player, template=Player(), autosav=None)  # type: ignore[call-arg]


def earn(draft: Player) -> bool:
    draft.coins += 1
    return True


def forgetful(draft: Player) -> None:
    draft.coins += 1


async def late(draft: Player) -> bool:
    return True


def of_a_board(draft: Board) -> bool:
    return True


def richer(player: Player) -> Player | Literal[False]:
    return Player(player.coins + 1)


def changed(key: str, new: Player, old: Player | None, cause: Cause) -> None: ...


def always_old(key: str, new: Player, old: Player, cause: Cause) -> None: ...


async def lost(key: str, unsaved: Player | None) -> None: ...


def ended(key: str, reason: EndReason) -> None: ...


async def asked(player: Document[Player]) -> None:
    await player.unload()


def gift(draft: Player, message: Message) -> bool:
    draft.coins += assert_type(message.body, Any)
    return True


told = Documents(
    store,
    "players",
    schema=Player,
    template=Player(),
    autosave=None,
    lease=timedelta(seconds=10),
    changed_callbacks=[changed],
    on_lease_lost=lost,
    on_session_end=ended,
    on_hand_over=asked,
    on_message=gift,
)
assert_type(told, Documents[Player])
Documents(store, "players", schema=Player, template=Player(), changed_callbacks=[always_old])  # type: ignore[list-item]
Documents(store, "players", schema=Player, template=Player(), on_message=earn)  # type: ignore[arg-type]


async def handle() -> None:
    player = await players.load("ada", subjects=["u1"], wait=2.5, ask=True, steal_after=timedelta(seconds=3))
    assert_type(player, Document[Player])
    assert_type(player.key, str)
    assert_type(player.value, Player)
    assert_type(player.last_saved, Player | None)
    assert_type(player.is_saved, bool)
    assert_type(player.closed, bool)
    assert_type(player.info, Info)
    assert_type(await player.get(), Player)
    assert_type(await player.update(earn), bool)
    assert_type(await player.update_immutable(richer), bool)
    with player.edit() as draft:
        assert_type(draft, Player)
    assert_type(players.loaded("ada"), Document[Player])
    async with players.open("ada") as opened:
        assert_type(opened, Document[Player])
    player.value = Player()  # type: ignore[misc]
    player.key = "eve"  # type: ignore[misc]
    await player.update(forgetful)  # type: ignore[arg-type]
    await player.update(late)  # type: ignore[arg-type]
    await player.update(of_a_board)  # type: ignore[arg-type]
    await player.update_immutable(earn)  # type: ignore[arg-type]
    await player.save("now")  # type: ignore[call-arg, arg-type]


async def keyed() -> None:
    assert_type(await players.get("ada"), Player)
    assert_type(await players.update("ada", earn), bool)
    assert_type(await players.update_immutable("ada", richer), bool)
    with players.edit("ada") as draft:
        assert_type(draft, Player)
    await players.get(1)  # type: ignore[arg-type]
    await players.update(earn)  # type: ignore[call-arg, arg-type]
    await players.update("ada", late)  # type: ignore[arg-type]
    await players.load("ada", wait="long")  # type: ignore[arg-type]


def trade(draft: dict[str, Player]) -> bool:
    draft["ada"].coins -= 1
    draft["bo"].coins += 1
    return True


def swap(state: Mapping[str, Player]) -> Mapping[str, Player] | Literal[False]:
    return {"ada": state["bo"], "bo": state["ada"]}


async def late_trade(draft: dict[str, Player]) -> bool:
    return True


async def together(tx: Attempt) -> None:
    keys = ("ada", "bo")
    assert_type(await players.transact(keys, trade), bool)
    assert_type(await players.transact({"ada", "bo"}, trade, unloaded="refuse", wait=1, tx=tx), bool)
    assert_type(await players.transact_immutable(keys, swap), bool)
    await players.transact(keys, late_trade)  # type: ignore[arg-type]
    await players.transact(keys, earn)  # type: ignore[arg-type]
    await players.transact_immutable(keys, trade)  # type: ignore[arg-type]
    await players.transact(keys, trade, unloaded="steal")  # type: ignore[arg-type]


async def looked_at(tx: Attempt) -> None:
    assert_type(await players.peek("ada", tx=tx), Player | None)
    assert_type(await players.probe_lease("ada"), LeaseInfo | None)
    assert_type(await players.revoke("ada"), LeaseInfo | None)
    assert_type(await players.list(limit=5), Page[Info])
    async for info in players.list_for("u1"):
        assert_type(info, Info)
    async for version in players.history("ada"):
        assert_type(version, Version)
    assert_type(await players.read("ada", revision=7), Player)
    assert_type(await players.diff("ada", 7, 8), tuple[Difference, ...])
    assert_type(await players.rollback("ada", revision=7), int | None)
    assert_type(await players.erase("ada"), bool)
    assert_type(await players.export("ada"), dict[str, Any])
    assert_type(await players.send("ada", {"coins": 1}, id="gift-1"), bool)
    await players.read("ada")  # type: ignore[call-arg]
    await players.rollback("ada", 7)  # type: ignore[call-arg]
