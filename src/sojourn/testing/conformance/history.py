"""A long random history, compared with a naive model outcome by outcome, record by record, revision by revision.

More of it than the fixed seeds: set `history_seeds` and `history_batches` on the class, or, with the plugin
`sojourn.testing.plugin`, give `--history-seed` and `--history-batches` on the command line.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import ClassVar

import msgspec
import pytest

from sojourn import limits
from sojourn.errors import SojournError
from sojourn.kernel.engine import Position
from sojourn.kernel.keys import Key
from sojourn.kernel.transaction import Committed, Record
from sojourn.testing.conformance.harness import Capability
from sojourn.testing.conformance.model import Difference, Model
from sojourn.testing.conformance.trial import Conformance, Trial
from sojourn.testing.conformance.world import World

__all__ = ["History"]

_FULL_LOOK = 8
"""Batches between two comparisons of everything."""
_TELLING = 100
"""Batches from which on a history must have had some of everything."""


class History(Conformance):
    """Whatever happens, in whatever order: the engine and the model agree."""

    history_seeds: ClassVar[Sequence[int]] = (1, 2, 3, 4)
    history_batches: ClassVar[int] = 250

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give each seed a test of its own."""
        if "history_seed" in metafunc.fixturenames:
            given = metafunc.config.getoption("--history-seed", default=None)
            seeds = given or self.history_seeds
            metafunc.parametrize("history_seed", seeds, ids=[f"seed{seed}" for seed in seeds])

    @pytest.mark.promise(1, 2, 3, 4, 5, 6, 8, 9, 13)
    async def test_a_random_history_agrees_with_the_model(
        self, trial: Trial, history_seed: int, request: pytest.FixtureRequest
    ) -> None:
        """Random batches, repeats, clock advances and sweeps: no outcome, record, revision or change differs."""
        await self._live(_History(trial, history_seed), request)

    @pytest.mark.promise(2, 3, 4, 9, 13)
    async def test_a_random_history_through_two_engines(
        self, trial: Trial, history_seed: int, request: pytest.FixtureRequest
    ) -> None:
        """The same, when each step is taken through one of two engines over the store: neither is ever behind."""
        with trial.needs(Capability.CROSS_PROCESS, Capability.CROSS_PROCESS_WATCH):
            async with trial.beside() as other:
                engines = (trial.engine, other)
                history = _History(trial, history_seed)

                async def change_engine() -> None:
                    trial.use(history.world.random.choice(engines))

                try:
                    await self._live(history, request, change_engine)
                finally:
                    trial.use(engines[0])

    @pytest.mark.promise(4, 7, 9, 13)
    async def test_a_random_history_across_restarts(
        self, trial: Trial, history_seed: int, request: pytest.FixtureRequest
    ) -> None:
        """The same, when the engine is closed and another opened every now and then: nothing is forgotten."""
        with trial.needs(Capability.DURABLE):
            history = _History(trial, history_seed)

            async def restart() -> None:
                if history.world.random.random() < 0.1:
                    await trial.reopen()

            # A capability that is missing shows at once, however the dice fall.
            await trial.reopen()
            await self._live(history, request, restart)

    async def _live(
        self, history: _History, request: pytest.FixtureRequest, between: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Let the history happen, step by step; what goes wrong comes with the command that shows it again."""
        batches = request.config.getoption("--history-batches", default=None) or self.history_batches
        await history.begin()
        for number in range(batches):
            try:
                await history.step(look=number % _FULL_LOOK == 0 or number == batches - 1)
                if between is not None:
                    await between()
            except Exception as error:
                test = request.node.nodeid.partition("[")[0]
                options = f"--history-seed {history.seed} --history-batches {number + 1}"
                error.add_note(f"batch {number + 1}; once more: pytest -p sojourn.testing.plugin '{test}' {options}")
                raise
        if batches >= _TELLING:
            assert history.committed > batches, "a history in which hardly anything is committed proves nothing"
            assert history.repeated, "a history without repeats proves nothing of them"


class _History:
    """One run: the trial, the model beside it, and what was told of changes so far."""

    def __init__(self, trial: Trial, seed: int) -> None:
        self.trial = trial
        self.seed = seed
        self.model = Model()
        wide = Capability.CROSS_PARTITION in trial.harness.capabilities
        self.world = World(seed, self.model, cross_partition=wide)
        self.committed = 0
        self.repeated = 0
        self._position: Position = ""
        self._told_expired = set[Key]()

    async def begin(self) -> None:
        self._position = await self.trial.position()

    async def step(self, *, look: bool) -> None:
        """Let one batch happen, then perhaps some time and a sweep."""
        random = self.world.random
        await self._commit()
        await self._hear()
        if look:
            await self._look()
        await self._list()
        what = random.random()
        if what < 0.02:
            self.trial.clock.advance(limits.RECEIPT_KEEP + timedelta(seconds=random.randint(1, 600)))
        elif what < 0.04:
            self.trial.clock.step_back(timedelta(milliseconds=random.randint(1, 3_000)))
        elif what < 0.7:
            self.trial.advance(random.randint(1, 1_500))
        if random.random() < 0.2:
            await self._sweep(whole=random.random() < 0.5)
        self.model.forget_receipts(self.trial.clock.now())

    async def _commit(self) -> None:
        now = self.trial.clock.now()
        batch = self.world.batch(now)
        outcomes = await self.trial.engine.commit(batch)
        if len(outcomes) != len(batch):
            raise Difference(f"{len(batch)} transactions had {len(outcomes)} outcomes")
        for number, (transaction, outcome) in enumerate(zip(batch, outcomes, strict=True)):
            if isinstance(outcome, SojournError):
                raise Difference(f"transaction {number + 1} of {len(batch)} was not reached: {outcome}") from outcome
            try:
                self.model.judge(transaction, outcome, now)
            except Difference as difference:
                raise Difference(f"transaction {number + 1} of {len(batch)}, {transaction}:\n{difference}") from None
            if isinstance(outcome, Committed):
                self.committed += 1
                self.repeated += outcome.repeated

    async def _hear(self, *, gap_is_fair: bool = False) -> None:
        """Compare the change log: all that changed, and nothing that never did."""
        answer = await self.trial.changes(self._position)
        self._position = answer.position
        untold, self.model.untold = self.model.untold, set()
        expired = self.model.expired(self.trial.clock.now())
        if answer.gap:
            if not gap_is_fair:
                raise Difference("the log says gap, though nothing was trimmed")
            self._told_expired |= expired
            return
        if missing := untold - answer.keys:
            raise Difference(f"these changes were not told: {missing}")
        if invented := answer.keys - self.model.ever_changed:
            raise Difference(f"these never changed: {invented}")
        self._told_expired = (self._told_expired - untold) | (answer.keys & expired)

    async def _look(self) -> None:
        """Compare everything, through spans and through the ranks."""
        now = self.trial.clock.now()
        reads = self.world.everything()
        snapshot = await self.trial.engine.read(reads)
        if snapshot.now != now:
            raise Difference(f"the read was at {snapshot.now}, the clock shows {now}")
        for span, found, expected in zip(
            reads.spans, snapshot.records.spans, self.model.read(reads, now).spans, strict=True
        ):
            if found != expected:
                raise Difference(f"{span}:\n  found    {found}\n  expected {expected}")

    async def _list(self) -> None:
        """Compare one listing by rank, walked page by page."""
        now = self.trial.clock.now()
        whole = span = self.world.listing()
        found = list[Record]()
        for _ in range(len(self.model.records) + 2):
            page = await self.trial.engine.rank(span)
            if len(page.records) > span.limit or page.now != now:
                raise Difference(f"{span}: a page of {len(page.records)} records at {page.now}, the clock shows {now}")
            found += page.records
            if page.cursor is None:
                break
            span = msgspec.structs.replace(span, after=page.cursor)
        else:
            raise Difference(f"{whole}: the listing does not end; so far {found}")
        if found != (expected := self.model.ranked(whole, now)):
            raise Difference(f"{whole}:\n  found    {found}\n  expected {expected}")

    async def _sweep(self, *, whole: bool) -> None:
        now = self.trial.clock.now()
        if not whole:
            await self.trial.engine.sweep(self.world.random.randint(1, 5))
            await self._hear(gap_is_fair=True)
            return
        await self.trial.sweep()
        await self._hear(gap_is_fair=True)
        expired = self.model.expired(now)
        if silent := expired - self._told_expired:
            raise Difference(f"these have expired and were swept, but nobody was told: {silent}")
        self.model.forget(expired)
        self._told_expired.clear()
