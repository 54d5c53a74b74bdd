"""What belongs to one tenant is nothing to another, whatever they call it."""

from __future__ import annotations

import pytest

from sojourn.errors import InvalidError
from sojourn.snapshots.model import Status
from sojourn.testing.session_stores.trial import Capability, Trial, TrialCase, at, tenant_of

__all__ = ["Tenants"]

_ALICE, _BOB = {"tenant": "alice"}, {"tenant": "bob"}


class Tenants(TrialCase):
    """A store whose tenant is a function of the context."""

    @pytest.mark.row("S-4.1.9", "S-4.2.19", "S-5.12")
    async def test_each_has_snapshots_and_sessions_of_its_own(self, trial: Trial) -> None:
        """The same id and the same session stand twice, and neither sees, changes or extends the other's."""
        with trial.needs(Capability.TENANTS):
            await trial.use(Capability.TENANTS, tenant=tenant_of)
            await trial.save("mine", created_at=at(0), state={"custom": "alice"}, context=_ALICE)
            assert await trial.get("mine", _BOB) is None
            assert await trial.newest(context=_BOB) is None
            await trial.save("mine", created_at=at(1), state={"custom": "bob"}, context=_BOB)
            await trial.save("next", "mine", created_at=at(2), state={"custom": "bob again"}, context=_BOB)
            assert (await trial.got("mine", _ALICE)).state == {"custom": "alice"}
            assert (await trial.got("mine", _BOB)).state == {"custom": "bob"}
            assert await trial.newest(context=_ALICE) == "mine"
            assert await trial.newest(context=_BOB) == "next"
            for context, session in ((_ALICE, "hers"), (_BOB, "his")):
                await trial.save("other", session=session, state={"custom": session}, context=context)
            assert (await trial.got("other", _ALICE)).state == {"custom": "hers"}
            assert (await trial.got("other", _BOB)).state == {"custom": "his"}

    @pytest.mark.row("S-4.1.19")
    async def test_each_watches_its_own(self, trial: Trial) -> None:
        """The abort under one context is told to who watches under that one, and not to the other."""
        with trial.needs(Capability.TENANTS):
            await trial.use(Capability.TENANTS, tenant=tenant_of)
            for context in (_ALICE, _BOB):
                await trial.save("turn", created_at=at(0), status="pending", context=context)
            alice, bob = trial.watch("turn", _ALICE), trial.watch("turn", _BOB)
            for told in (alice, bob):
                await told.until(Status.PENDING)
            await trial.move("turn", Status.ABORTED, context=_ALICE)
            await alice.until(Status.ABORTED)
            await trial.move("turn", Status.COMPLETED, context=_BOB)
            await bob.until(Status.COMPLETED)
            assert bob.statuses == [Status.PENDING, Status.COMPLETED]
            assert alice.statuses == [Status.PENDING, Status.ABORTED]

    @pytest.mark.row("S-4.3.14", "S-5.5")
    @pytest.mark.parametrize("tenant", ["", "  ", "../alice", "a/b", "a\\b", "..", "."], ids=repr)
    async def test_what_is_no_plain_name_is_no_tenant(self, trial: Trial, tenant: str) -> None:
        """Each verb refuses it at once."""
        with trial.needs(Capability.TENANTS):
            await trial.use(Capability.TENANTS, tenant=tenant_of)
            context = {"tenant": tenant}
            with pytest.raises(InvalidError):
                await trial.get("mine", context)
            with pytest.raises(InvalidError):
                await trial.save("mine", context=context)
            with pytest.raises(InvalidError):
                trial.watch("mine", context)
