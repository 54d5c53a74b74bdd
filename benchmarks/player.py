"""The document that rows measure: a player of a game, 1 KB as JSON."""

from __future__ import annotations

from typing import Final

import msgspec

__all__ = ["PLAYER", "PLAYER_TEXT", "Player", "earn", "player_named"]


class Player(msgspec.Struct):
    """A player: some text, a number that changes, and what it owns."""

    name: str
    coins: int
    place: tuple[float, float]
    bag: dict[str, int]
    flags: dict[str, bool]


PLAYER: Final = Player(
    name="a player of some game",
    coins=0,
    place=(12.5, 40.25),
    bag={f"item-{number:04}": number for number in range(47)},
    flags={f"flag-{number:02}": number % 2 == 0 for number in range(16)},
)
PLAYER_TEXT: Final = msgspec.json.encode(PLAYER)


def player_named(number: int) -> str:
    """Return the key of a player."""
    return f"player-{number:05}"


def earn(draft: Player) -> bool:
    """Change a player a little."""
    draft.coins += 1
    return True
