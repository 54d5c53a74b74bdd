"""What the shop sells, and what it keeps."""

from typing import Literal

import msgspec


class Product(msgspec.Struct, frozen=True):
    """A product, its price in cents, and how many of it each hour's delivery brings."""

    name: str
    about: str
    cents: int
    delivered: int


PRODUCTS = {
    "pears": Product("Two pears", "Ripe by the time you get there.", 240, 60),
    "candle": Product("Beeswax candle", "Burns nine hours. A night has eight.", 650, 24),
    "mug": Product("Enamel mug", "Falls well, chips with dignity.", 1150, 18),
    "blanket": Product("Wool blanket", "Wide enough for two who get along.", 7800, 6),
    "map": Product("Walking map", "Folds back, given patience.", 890, 30),
    "lantern": Product("Storm lantern", "One an hour. Somebody else wants it too.", 4600, 1),
}


class Basket(msgspec.Struct, frozen=True):
    """How many of what one session holds, and how often it was written."""

    items: dict[str, int] = {}
    writes: int = 0

    def plus(self, sku: str, count: int) -> "Basket":
        """Return the basket with more of a product, or less; never less than none."""
        items = self.items | {sku: max(0, self.items.get(sku, 0) + count)}
        return Basket({sku: count for sku, count in items.items() if count}, self.writes + 1)

    def marked(self) -> "Basket":
        """Return the same basket, written once more."""
        return Basket(self.items, self.writes + 1)

    def emptied(self) -> "Basket":
        """Return the basket with nothing in it."""
        return Basket({}, self.writes + 1)


class Decision(msgspec.Struct, frozen=True):
    """What became of giving something back, and why."""

    is_approved: bool
    word: str


class Purchase(msgspec.Struct, frozen=True):
    """So many of one product that a session bought at once, and what became of giving them back."""

    id: str
    sku: str
    count: int
    decision: Decision | None = None


class Shelf(msgspec.Struct, frozen=True):
    """How many of a product are left of the last delivery."""

    left: int


Place = Literal["cellar", "loft"]


class Rack(msgspec.Struct):
    """What lies on one of the stock room's racks."""

    items: dict[str, int]


FULL = Rack(dict.fromkeys(PRODUCTS, 12))
