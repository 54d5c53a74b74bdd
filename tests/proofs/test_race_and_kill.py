"""The short forms of `make race` and `make kill`."""

import pytest

from tools.kill import prove
from tools.race import SEEDS, between_processes, through_faults


@pytest.mark.promise(2, 13)
@pytest.mark.row("P-R1", "P-R13")
async def test_two_processes_count_up_one_session_and_nothing_is_lost(shared_url: str) -> None:
    """Proves that 2 processes of 8 tasks, 25 times each, are all acknowledged and all kept, with no refusal shown."""
    acknowledged, kept, _ = await between_processes(shared_url, processes=2, tasks=8, times=25)
    assert acknowledged == kept == 400


@pytest.mark.promise(13)
@pytest.mark.parametrize("seed", SEEDS)
async def test_lost_answers_lose_and_double_nothing(seed: int) -> None:
    """Proves the same in one process, over an engine that loses one answer in ten."""
    acknowledged, kept, lost = await through_faults(seed, tasks=8, times=25)
    assert acknowledged == kept == 200
    assert lost


@pytest.mark.promise(7, 13)
@pytest.mark.row("F-C60", "P-R13")
async def test_a_server_killed_under_load_keeps_what_it_acknowledged() -> None:
    """Proves that after five kill -9 each counter shows exactly what was acknowledged: nothing lost, nothing twice."""
    sums = await prove(times=5, seed=7)
    assert sums["acknowledged"] == sums["kept"] > 0
    assert sums["callers_wrong"] == 0
    assert sums["repeated"] > 0, "the kills met calls in flight"
