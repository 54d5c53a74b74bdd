"""The suite that every store of snapshots passes: ordinary pytest, importable by whoever writes one.

    import pytest
    from sojourn.testing import session_stores

    class TestMyStore(session_stores.SessionStoreConformance):
        @pytest.fixture
        def opening(self, tmp_path):
            return lambda **options: MyStore(tmp_path, **options)

`opening` returns what opens a store, an asynchronous context manager that gives a `sojourn.snapshots.SessionStore` of
plain dicts; see `Opening`. Each test gets an empty one. A store that cannot do all that a `Capability` says names in
`capabilities` what it can; then a test that needs another one expects `CapabilityError`, and is never skipped.

Each test cites the rows of `docs/reference/conformance.md` that it proves, as `@pytest.mark.row("...")`. Run the suite
with `-p sojourn.testing.plugin`, which registers that mark. It needs pytest and pytest-asyncio, in whichever mode.
"""

import pkgutil

import pytest

# Before they are imported, so that a failing assertion shows what it compared.
pytest.register_assert_rewrite(*(module.name for module in pkgutil.iter_modules(__path__, f"{__name__}.")))

from sojourn.testing.session_stores.leaves import Leaves  # noqa: E402
from sojourn.testing.session_stores.names import Names  # noqa: E402
from sojourn.testing.session_stores.reading import Reading  # noqa: E402
from sojourn.testing.session_stores.rivals import Rivals  # noqa: E402
from sojourn.testing.session_stores.saving import Refusals, Saving  # noqa: E402
from sojourn.testing.session_stores.tenants import Tenants  # noqa: E402
from sojourn.testing.session_stores.trial import Capability, Opening, Trial  # noqa: E402
from sojourn.testing.session_stores.watching import Watching  # noqa: E402

__all__ = ["Capability", "Opening", "SessionStoreConformance", "Trial"]


# pytest begins with what stands last: the plainest tests first, so that the first to fail says most.
class SessionStoreConformance(Rivals, Tenants, Watching, Leaves, Names, Refusals, Saving, Reading):
    """Every test of the suite; give it the fixture `opening`, and inherit."""
