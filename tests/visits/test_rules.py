"""Who is not tracked, and why."""

import logging
from typing import Any

import pytest

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.visits import HEADLESS, RULES, Arrival, Judge, Rule

FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
PHONE = "Mozilla/5.0 (Linux; Android 14; CUBOT NOTE 21) AppleWebKit/537.36 Chrome/126.0.6478.122 Mobile Safari/537.36"
SAFARI = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 Version/18.6 Safari/604.1"
GOOGLE = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
DRIVEN = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 HeadlessChrome/140.0.0.0 Safari/537.36"


def arrival(agent: str = FIREFOX, **headers: str) -> Arrival:
    return Arrival(agent, {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.row("P-R19", "F-W15")
@pytest.mark.parametrize("agent", [FIREFOX, PHONE, SAFARI])
def test_a_persons_browser_is_admitted(agent: str) -> None:
    judge = Judge()
    assert judge.admits(arrival(agent, dnt="0", purpose="", accept="text/html"))
    assert set(judge.counts().values()) == {0}


@pytest.mark.row("P-R19", "F-W15")
@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (arrival(""), "no_agent"),
        (arrival("  "), "no_agent"),
        (arrival(GOOGLE), "bot"),
        (arrival("AdsBot-Google (+http://www.google.com/adsbot.html)"), "bot"),
        (arrival("Mozilla/5.0 (compatible; Baiduspider/2.0)"), "bot"),
        (arrival("facebookexternalhit/1.1"), "bot"),
        (arrival("curl/8.9.1"), "bot"),
        (arrival("python-requests/2.32"), "bot"),
        (arrival(sec_purpose="prefetch;prerender"), "prefetch"),
        (arrival(purpose="prefetch"), "prefetch"),
        (arrival(x_moz="prefetch"), "prefetch"),
    ],
)
def test_who_is_filtered_is_filtered_for_a_reason(who: Arrival, reason: str) -> None:
    judge = Judge()
    assert judge.reason(who) == reason
    assert not judge.admits(who)
    assert {name: count for name, count in judge.counts().items() if count} == {reason: 1}


@pytest.mark.row("P-R20", "F-W15")
@pytest.mark.parametrize(("header", "reason"), [("dnt", "dnt"), ("sec_gpc", "gpc")])
def test_signals_against_tracking_are_honoured_unless_said_otherwise(header: str, reason: str) -> None:
    asking = arrival(**{header: "1"})
    assert Judge().reason(asking) == reason
    assert Judge(honour=()).reason(asking) is None
    assert Judge().reason(arrival(**{header: "0"})) is None


@pytest.mark.row("P-R19")
def test_an_application_adds_rules_of_its_own() -> None:
    judge = Judge(rules=(*RULES, Rule("office", lambda who: who.headers.get("x-office") == "yes")))
    assert judge.reason(arrival(x_office="yes")) == "office"
    assert judge.reason(arrival(GOOGLE, x_office="yes")) == "bot", "rules are asked in their order"
    assert judge.counts()["office"] == 0, "asking for the reason counts nothing"
    assert not judge.admits(arrival(x_office="yes"))
    assert judge.counts()["office"] == 1


@pytest.mark.row("P-R19")
def test_a_browser_that_a_program_drives_is_filtered_where_that_is_asked_for() -> None:
    assert Judge().reason(arrival(DRIVEN)) is None
    assert Judge((*RULES, HEADLESS)).reason(arrival(DRIVEN)) == "headless"


@pytest.mark.row("P-R19")
def test_filtering_can_be_switched_off() -> None:
    judge = Judge(rules=(), honour=())
    assert all(judge.admits(who) for who in (arrival(""), arrival(GOOGLE), arrival(dnt="1", sec_gpc="1")))
    assert judge.counts() == {}


@pytest.mark.row("P-R19", "P-R20")
def test_the_log_of_decisions_can_be_judged_again_and_names_no_address(caplog: pytest.LogCaptureFixture) -> None:
    agents = [GOOGLE, "curl/8\nfaked: line", DRIVEN, ""]
    with caplog.at_level(logging.INFO, "sojourn.visits.rule"):
        judge = Judge((*RULES, HEADLESS))
        for agent in agents:
            judge.admits(arrival(agent, x_forwarded_for="203.0.113.7"))
        judge.admits(arrival(FIREFOX, dnt="1"))
    *filtered, signalled = caplog.records
    logged: list[tuple[Any, ...]] = [record.args for record in filtered if isinstance(record.args, tuple)]
    assert [agent for _, agent in logged] == agents
    assert [judge.reason(arrival(agent)) for _, agent in logged] == [reason for reason, _ in logged]
    assert "203.0.113.7" not in caplog.text
    assert "\nfaked" not in caplog.text
    assert FIREFOX not in signalled.getMessage(), "of who asks not to be tracked nothing is kept"


@pytest.mark.row("P-R22")
def test_a_flood_of_random_agents_is_counted_in_bounded_memory(caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge()
    reasons = judge.counts().keys()
    with caplog.at_level(logging.INFO, "sojourn.visits.rule"):
        for number in range(1_000):
            judge.admits(arrival(f"bot {number} " + "x" * 10_000))
    assert judge.counts().keys() == reasons
    assert judge.counts()["bot"] == 1_000
    assert max(len(record.getMessage()) for record in caplog.records) < 2 * limits.LABEL_CHARS


@pytest.mark.row("P-R22")
def test_there_is_a_limit_of_reasons() -> None:
    rules = [Rule(f"reason {number}", lambda _: False) for number in range(limits.VISIT_REASONS + 1)]
    assert len(Judge(rules[:-1], honour=()).counts()) == limits.VISIT_REASONS
    with pytest.raises(LimitError):
        Judge(rules, honour=())


@pytest.mark.parametrize("reason", ["", "two\nlines", "x" * (limits.NAME_CHARS + 1)])
def test_a_reason_that_cannot_be_logged_is_refused(reason: str) -> None:
    with pytest.raises((InvalidError, LimitError)):
        Rule(reason, lambda _: True)


def test_an_unknown_signal_is_refused() -> None:
    with pytest.raises(InvalidError, match="honour"):
        Judge(honour=("tracking",))  # type: ignore[arg-type]  # it is wrong on purpose
