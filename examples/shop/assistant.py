"""The shop's assistant: it answers out of a few rules, and takes its time over it, as a model would.

A question and its answer are a turn, stored as a snapshot behind the one that it was asked from. So a conversation is
a tree: asking again, or from further up, begins a branch. The answer is made in the background, by whichever server
took the question, and may be stopped by any other.
"""

import re
from datetime import timedelta
from typing import Literal

import msgspec

from examples.shop.model import PRODUCTS, Basket
from sojourn import ApplicationError, LeaseHeldError, NotResumableError
from sojourn.kernel import Store
from sojourn.snapshots import Snapshots, Status, Tree, Turn

LEASE = timedelta(seconds=4)  # how long a turn seems to be under way whose server is dead
PAUSE = 0.4  # seconds between one phrase and the next
PHRASE = 3  # words that it says at a time
TURNS = 60  # in a conversation; the page draws each
QUESTION_CHARS = 200


class Message(msgspec.Struct, frozen=True):
    """What one of the two has said, and which product "it" means from then on."""

    role: Literal["visitor", "assistant"]
    text: str
    about: str | None = None


class Talk(msgspec.Struct):
    """A conversation as of one turn: questions and answers, by turns."""

    messages: list[Message] = []


class Exchange(msgspec.Struct, frozen=True):
    """A question with its answer, and the turn that it was."""

    turn: str
    question: str
    answer: str


class Twig(msgspec.Struct, frozen=True):
    """A turn, as the page draws it. `problem` is what it failed of."""

    id: str
    parent: str | None
    status: Status
    problem: str | None


class Conversation(msgspec.Struct, frozen=True):
    """What the page shows: every turn in the order in which they began, and all that was said up to one of them."""

    turns: list[Twig]
    newest: str | None
    shown: str | None
    said: list[Exchange]


class Assistant:
    """Holds a conversation with each session."""

    def __init__(self, store: Store) -> None:
        self.snapshots = Snapshots(store, Talk, lease=LEASE)
        self._clock = store.clock

    async def show(self, session_id: str, at: str | None) -> Conversation:
        """Return the conversation up to this turn; without one, or where it is unknown, up to the newest leaf."""
        tree = await self.snapshots.tree(session_id)
        shown = at if at in tree.nodes else tree.newest
        twigs = [
            Twig(info.snapshot_id, info.parent_id, info.status, None if info.error is None else info.error.message)
            for info in (node.info for node in tree.nodes.values())
        ]
        return Conversation(twigs, tree.newest, shown, [] if shown is None else await self._said(tree, shown))

    async def ask(
        self, session_id: str, question: str, basket: Basket, *, after: str | None = None, beside: bool = False
    ) -> str:
        """Begin to answer, behind this turn or else behind the newest leaf, and return the new turn's id.

        Where another answer is under way there, the question is refused; with `beside` it begins a branch.

        Raises:
            ApplicationError: it was refused, or is no question; the turn is unknown or has no answer; there is no room.
        """
        if not question.strip() or len(question) > QUESTION_CHARS:
            raise ApplicationError(f"Please ask something, in at most {QUESTION_CHARS} letters.")
        tree = with_room(await self._tree(session_id, after))
        try:
            async with self.snapshots.turn(session_id, after=after, if_busy="branch" if beside else "reject") as turn:
                return self._begin(turn, question.strip(), tree, basket)
        except LeaseHeldError as error:
            wait = "One moment: another answer is still under way. Wait for it, stop it, or ask beside it."
            raise ApplicationError(wait, {"busy": True}) from error
        except NotResumableError as error:
            raise ApplicationError("That answer was not finished. Ask from the one before it.") from error

    async def ask_again(self, session_id: str, again: str, basket: Basket) -> str:
        """Answer the question of this turn in other words, beside it, and return the new turn's id.

        Raises:
            ApplicationError: there is no such turn, or no room for another.
        """
        tree = with_room(await self._tree(session_id, again))
        said = await self._said(tree, again)
        if not said or said[-1].turn != again:
            raise ApplicationError("What that turn was asked is lost.")
        async with self.snapshots.regenerate(again) as turn:
            return self._begin(turn, said[-1].question, tree, basket)

    async def stop(self, session_id: str, turn: str) -> None:
        """Stop an answer, on whichever server it is made. One that is finished stays as it is.

        Raises:
            ApplicationError: there is no such turn.
        """
        await self._tree(session_id, turn)
        await self.snapshots.abort(turn)

    async def _tree(self, session_id: str, turn: str | None) -> Tree:
        """Return the conversation that has this turn: whoever knows the id of another's gets nothing by it."""
        tree = await self.snapshots.tree(session_id)
        if turn is not None and turn not in tree.nodes:
            raise ApplicationError("There is no such turn in this conversation.")
        return tree

    async def _said(self, tree: Tree, shown: str) -> list[Exchange]:
        """Return what was said from the root to this turn, each question with its answer as far as it came."""
        path = list[str]()
        turn: str | None = shown
        while turn is not None and turn in tree.nodes:
            path.insert(0, turn)
            turn = tree.nodes[turn].info.parent_id
        stored = [turn for turn in path if tree.nodes[turn].info.state_bytes is not None]  # one that just began is not
        last = await self.snapshots.get_snapshot(snapshot_id=stored[-1]) if stored else None
        messages = [] if last is None or last.state is None else last.state.messages
        pairs = zip(path, messages[::2], messages[1::2], strict=False)
        return [Exchange(turn, question.text, answer.text) for turn, question, answer in pairs]

    def _begin(self, turn: Turn[Talk], question: str, tree: Tree, basket: Basket) -> str:
        """Have the turn go on in the background, and return its id."""
        about = turn.messages[-1].about if turn.messages else None
        again = sum(node.info.parent_id == turn.parent_id for node in tree.nodes.values())
        turn.messages.extend([Message("visitor", question), Message("assistant", "")])

        async def answer(turn: Turn[Talk]) -> None:
            told = reply(question, about, basket, again)
            words = told.text.split()
            for count in range(PHRASE, len(words), PHRASE):
                await self._clock.sleep(PAUSE)
                turn.messages[-1] = Message("assistant", " ".join(words[:count]))
                await turn.store_partial()  # so that whoever looks on can read it
            turn.messages[-1] = told

        turn.detach(answer)
        return turn.snapshot_id


def with_room(tree: Tree) -> Tree:
    """Return the conversation, if there is room for one more turn."""
    if len(tree.nodes) >= TURNS:
        raise ApplicationError("This conversation is long enough. Please begin a new one.")
    return tree


# -- What it knows ----------------------------------------------------------------------------------------------------

HINTS = {
    "pears": "pear pears hungry eat fruit food breakfast snack",
    "candle": "candle candles cosy evening read reading dinner",
    "mug": "mug mugs tea coffee drink thirsty cup",
    "blanket": "blanket blankets cold warm cool sleep freeze winter",
    "map": "map maps way walk lost path hike",
    "lantern": "lantern lanterns dark storm light rain night",
}
BACK = {"it", "that", "this", "one", "they", "them"}  # to what was spoken of last
PRICES = {"much", "cost", "costs", "price", "expensive"}
WAYS = (
    "For that I would take the {name}. {about} It is {price}, and I carried it up from the cellar with my own hands.",
    "Let me think. Others who asked me that went home with the {name}, at {price}. {about} Nobody brought one back.",
    "As I said: the {name}. {about} At {price} it costs less than a bad night, and it is there for the next one, too.",
)
PRICE = (
    "The {name} is {price}, and for two of them you pay {twice}. We do not haggle here, though you are welcome to try."
)
UNKNOWN = (
    "I know about six things: pears, candles, mugs, blankets, maps and lanterns. Tell me what the night will be like, "
    "and I shall tell you which of them you need."
)


def reply(question: str, about: str | None, basket: Basket, again: int) -> Message:
    """Return an answer. Asked again, it says the same in other words.

    Raises:
        LookupError: the visitor wants to see the manager.
    """
    words = set(re.findall(r"[a-z]+", question.lower()))
    if "manager" in words:
        raise LookupError("The manager has gone home.")
    if "basket" in words:
        return Message("assistant", in_words(basket), about)
    found = next((sku for sku, hints in HINTS.items() if words & set(hints.split())), None)
    if found is None and words & BACK:
        found = about
    if found is None:
        return Message("assistant", UNKNOWN, about)
    product = PRODUCTS[found]
    way = PRICE if words & PRICES else WAYS[again % len(WAYS)]
    price, twice = euros(product.cents), euros(2 * product.cents)
    text = way.format(name=product.name.lower(), about=product.about, price=price, twice=twice)
    return Message("assistant", text, found)


def in_words(basket: Basket) -> str:
    """Tell what is in a basket."""
    if not basket.items:
        return "Your basket is empty. That is easily mended: what do you expect of the night, cold, dark or hungry?"
    things = ", ".join(f"{count} of the {PRODUCTS[sku].name.lower()}" for sku, count in basket.items.items())
    total = sum(PRODUCTS[sku].cents * count for sku, count in basket.items.items())
    return f"In your basket I see {things}. Together that makes {euros(total)}, and it keeps as long as your session."


def euros(cents: int) -> str:
    """Return an amount as the page writes it."""
    return f"€{cents / 100:,.2f}"
