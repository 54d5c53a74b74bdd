"""The table of planted bugs stays true while the library changes; `make mutants` plants them."""

import pytest

from tools.mutants import BUGS, PROMISES, ROOT, Bug


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.what)
def test_the_text_to_be_replaced_stands_there_once(bug: Bug) -> None:
    text = (ROOT / "src" / "sojourn" / bug.file).read_text(encoding="utf-8")
    assert text.count(bug.old) == 1
    assert bug.old != bug.new


def test_each_promise_has_a_bug_that_breaks_it() -> None:
    assert {bug.promise for bug in BUGS} == set(range(1, PROMISES + 1))
