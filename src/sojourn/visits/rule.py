"""Who is not tracked: bots, pages fetched ahead, and whoever asks not to be. Each is told by a reason.

judge = Judge(rules=(*RULES, HEADLESS, Rule("office", lambda arrival: "ExampleCorp" in arrival.agent)))
if judge.admits(Arrival(agent, headers)):
    ...
judge.counts()                                                      # {"dnt": 3, "bot": 41, "office": 7, ...}

What decides is a pure function of the arrival, so a logged agent can be judged again by other rules.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final, Literal

import msgspec

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.visits.model import checked

__all__ = ["Arrival", "HEADLESS", "Judge", "RULES", "Rule"]

_log = logging.getLogger(__name__)

_BOT: Final = re.compile(
    # "Cubot" makes telephones.
    r"(?<!cu)bots?\b|crawl|spider|slurp|scrap(er|y)|archiver|facebookexternalhit|meta-external|whatsapp/|embedly"
    r"|preview|lighthouse|page ?speed|inspectiontool|googleother|mediapartners|monitor|uptime|pingdom"
    r"|chatgpt-user|perplexity-user"
    r"|^(curl|wget|python|aiohttp|httpx|go-http-client|libwww|java|ruby|node|axios|postmanruntime)\b",
    re.IGNORECASE,
)
_HEADLESS: Final = re.compile(r"headless|phantomjs|slimerjs|puppeteer|playwright|selenium", re.IGNORECASE)
_AHEAD: Final = re.compile(r"prefetch|prerender|preview", re.IGNORECASE)


class Arrival(msgspec.Struct, frozen=True):
    """What is known of somebody who arrives: the agent ("" for none), and the headers by lower-case names."""

    agent: str
    headers: Mapping[str, str]


class Rule(msgspec.Struct, frozen=True):
    """A reason not to track, and to whom it applies. `applies` goes by the arrival alone, and is quick.

    Raises:
        InvalidError: the reason is empty or cannot be printed.
        LimitError: the reason is longer than `limits.NAME_CHARS`.
    """

    reason: str
    applies: Callable[[Arrival], bool]

    def __post_init__(self) -> None:
        """Check the reason, which is logged and counted by."""
        checked("reason", self.reason, limits.NAME_CHARS)


def _is_ahead(arrival: Arrival) -> bool:
    """Say whether the browser fetches what nobody has asked to see yet."""
    return any(
        _AHEAD.search(arrival.headers.get(name, "")) for name in ("sec-purpose", "purpose", "x-purpose", "x-moz")
    )


def _asks(arrival: Arrival, header: str) -> bool:
    """Say whether a signal is on: also where browser and proxy both send it, which joins the two."""
    return "1" in map(str.strip, arrival.headers.get(header, "").split(","))


RULES: Final = (
    Rule("no_agent", lambda arrival: not arrival.agent.strip()),
    Rule("bot", lambda arrival: _BOT.search(arrival.agent) is not None),
    Rule("prefetch", _is_ahead),
)
"""The rules when none are given, in the order in which they are asked."""

HEADLESS: Final = Rule("headless", lambda arrival: _HEADLESS.search(arrival.agent) is not None)
"""A browser that a program drives. Not among `RULES`: it runs every script as a person's does, and is what the tests of
one's own pages come with."""

_SIGNALS: Final = {
    "dnt": Rule("dnt", lambda arrival: _asks(arrival, "dnt")),
    "gpc": Rule("gpc", lambda arrival: _asks(arrival, "sec-gpc")),
}


class Judge:
    """Decides who is tracked: nobody to whom a rule applies, or who sends a signal that is honoured.

    The signals are Do Not Track ("dnt") and Global Privacy Control ("gpc"). `Judge(rules=(), honour=())` lets everybody
    pass.

    Raises:
        InvalidError: `honour` names an unknown signal.
        LimitError: there are more than `limits.VISIT_REASONS` reasons.
    """

    def __init__(self, rules: Iterable[Rule] = RULES, honour: Iterable[Literal["dnt", "gpc"]] = ("dnt", "gpc")) -> None:
        signals = tuple(honour)
        if not _SIGNALS.keys() >= set(signals):
            raise InvalidError("honour", f"it names signals out of {', '.join(_SIGNALS)}")
        # Whoever asks not to be tracked is not looked at any further.
        self._rules = (*(_SIGNALS[signal] for signal in signals), *rules)
        self._signals = frozenset[str](signals)
        self._counts = dict.fromkeys((rule.reason for rule in self._rules), 0)
        if len(self._counts) > limits.VISIT_REASONS:
            raise LimitError("rules", limit=limits.VISIT_REASONS, found=len(self._counts), unit="reasons")

    def reason(self, arrival: Arrival) -> str | None:
        """Return the reason of the first rule that applies, or None: the same for the same arrival, and not counted."""
        return next((rule.reason for rule in self._rules if rule.applies(arrival)), None)

    def admits(self, arrival: Arrival) -> bool:
        """Say whether somebody is tracked; a refusal is counted and logged by its reason."""
        reason = self.reason(arrival)
        if reason is None:
            return True
        self._counts[reason] += 1
        if reason in self._signals:  # the signal was all there was to decide on
            _log.info("not tracked: %s", reason)
        else:
            _log.info("not tracked: %s, agent %r", reason, arrival.agent[: limits.LABEL_CHARS])
        return False

    def counts(self) -> Mapping[str, int]:
        """Return how many were refused for each reason since this judge was made."""
        return dict(self._counts)
