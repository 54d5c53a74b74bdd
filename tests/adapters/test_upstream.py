"""What `make test-upstream` makes of a run of somebody else's tests."""

import msgspec

from tools.upstream.__main__ import unexpected
from tools.upstream.packages import CONFORMANCE
from tools.upstream.suites import SUITES, Suite

SUITE = Suite(
    name="one", package=CONFORMANCE, engines=("memory",), command=(), tests=3, exceptions={"b": "it looks inside"}
)


def test_a_run_as_listed_is_fine() -> None:
    assert unexpected(SUITE, {"a": "passed", "b": "failed", "c": "skipped"}) == []


def test_a_failure_that_is_not_listed_is_an_error() -> None:
    assert unexpected(SUITE, {"a": "failed", "b": "failed", "c": "passed"}) == ["failed: a"]


def test_a_listed_test_that_passes_or_is_gone_is_an_error() -> None:
    problem = "listed, and yet it did not fail: b"
    assert unexpected(SUITE, {"a": "passed", "b": "passed", "c": "passed"}) == [problem]
    assert unexpected(SUITE, {"a": "passed", "c": "passed", "d": "passed"}) == [problem]


def test_a_test_that_goes_missing_is_an_error() -> None:
    assert unexpected(SUITE, {"b": "failed"}) == ["1 tests ran, and there are 3"]
    assert unexpected(msgspec.structs.replace(SUITE, exceptions={}), {}) == ["0 tests ran, and there are 3"]


def test_every_suite_is_pinned_and_every_exception_has_a_reason() -> None:
    assert all(len(suite.package.sha256) == 64 and suite.package.version for suite in SUITES)
    assert all(reason for suite in SUITES for reason in suite.exceptions.values())
    assert len({suite.name for suite in SUITES}) == len(SUITES)
