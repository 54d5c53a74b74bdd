"""The suite that every engine passes: ordinary pytest, importable by whoever writes an engine.

    from sojourn.testing import conformance

    class MyHarness:
        capabilities = frozenset({conformance.Capability.DURABLE})

        async def create(self, folder): return str(folder / "store")
        def engine(self, address, clock): return MyEngine(address, clock=clock)
        async def destroy(self, address): pass

    class TestMyEngine(conformance.EngineConformance):
        harness = MyHarness()

Each test cites the numbers of the promises in `sojourn.kernel.engine` that it proves, as `@pytest.mark.promise(n)`,
and says them in its own words. None asks which engine it runs on: what an engine may lack it declares as missing, and
then the test expects `CapabilityError`. `pytest -p sojourn.testing.plugin --promise 4` runs the tests of one promise.
It needs pytest and pytest-asyncio, in whichever mode.
"""

import pkgutil

import pytest

# Before they are imported, so that a failing assertion shows what it compared.
pytest.register_assert_rewrite(*(module.name for module in pkgutil.iter_modules(__path__, f"{__name__}.")))

from sojourn.testing.conformance.atomic import Atomic  # noqa: E402
from sojourn.testing.conformance.batching import Batching  # noqa: E402
from sojourn.testing.conformance.bounds import Bounds  # noqa: E402
from sojourn.testing.conformance.cancellation import Cancellation  # noqa: E402
from sojourn.testing.conformance.clock import OneClock  # noqa: E402
from sojourn.testing.conformance.deletions import SpanDeletions  # noqa: E402
from sojourn.testing.conformance.durability import Durability  # noqa: E402
from sojourn.testing.conformance.expiry import Expiry, Sweeps  # noqa: E402
from sojourn.testing.conformance.failures import Failures  # noqa: E402
from sojourn.testing.conformance.guards import Batches, Guards  # noqa: E402
from sojourn.testing.conformance.harness import Capability, Harness  # noqa: E402
from sojourn.testing.conformance.history import History  # noqa: E402
from sojourn.testing.conformance.listings import RankListings, SpanListings  # noqa: E402
from sojourn.testing.conformance.processes import Processes  # noqa: E402
from sojourn.testing.conformance.reads import ReadYourCommit  # noqa: E402
from sojourn.testing.conformance.repeat import LostAnswers, Repeats  # noqa: E402
from sojourn.testing.conformance.revisions import Revisions, Touches  # noqa: E402
from sojourn.testing.conformance.trial import Conformance, Trial  # noqa: E402
from sojourn.testing.conformance.watch import Watch  # noqa: E402

__all__ = ["Capability", "Conformance", "EngineConformance", "Harness", "Trial"]


# pytest begins with what stands last: the plainest tests first, so that the first to fail says most.
class EngineConformance(
    Processes,
    History,
    LostAnswers,
    Batching,
    Cancellation,
    Bounds,
    Failures,
    Watch,
    RankListings,
    SpanListings,
    Durability,
    OneClock,
    Sweeps,
    Expiry,
    Repeats,
    Touches,
    Revisions,
    ReadYourCommit,
    Batches,
    Guards,
    SpanDeletions,
    Atomic,
):
    """Every test of the suite; name your harness, and inherit."""
