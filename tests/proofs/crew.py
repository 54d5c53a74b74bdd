"""The processes of `clicking` that one test starts, what it asks them, and what they say by themselves.

async with Crew(url, folder) as crew:
    ada = await crew.start("ada")
    assert await ada.ask("click", "box", "more", "1") == "kept acked"
    assert crew.who("noticed", "1") == ["ada"]
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from signal import SIGCONT, SIGKILL

import sojourn
from sojourn.dialogs import Dialogs
from sojourn.kernel import Space, Span, Store
from tests.proofs.clicking import LEDGER
from tests.proofs.passing import SharedClock

PATIENCE_S = 90
"""After that much real time something that never happens is a failure, and not a run that hangs."""

OUTBOXES = ("dialog.out.outside", "dialog.done.complete")

Heard = tuple[str, tuple[str, ...]]
"""Who said what."""


class Worker:
    """One process. What it is asked when it is gone, or when it dies meanwhile, it answers by `gone`."""

    def __init__(self, name: str, process: Process, crew: "Crew") -> None:
        self.name = name
        self._process = process
        self._crew = crew
        self._answers: dict[str, asyncio.Future[str]] = {}
        self._asked = 0
        self.is_gone = False
        self.is_stopped = False
        self._listening = asyncio.create_task(self._listen())

    async def ask(self, *words: str) -> str:
        """Ask it for something, and return what came of it."""
        assert self._process.stdin is not None
        self._asked += 1
        number = str(self._asked)
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        self._process.stdin.write(f"{number} {' '.join(words)}\n".encode())
        async with asyncio.timeout(PATIENCE_S):
            return await answer

    async def stopped(self, *, at: str) -> None:
        """Return when it has stopped itself there."""
        await self._crew.heard("at", at, by=self)
        await asyncio.to_thread(os.waitid, os.P_PID, self._process.pid, os.WSTOPPED | os.WNOWAIT)
        self.is_stopped = True

    def go_on(self) -> None:
        """Let it go on where it has stopped."""
        self._process.send_signal(SIGCONT)
        self.is_stopped = False

    async def kill(self) -> None:
        """End it as `kill -9` does; return when all that it said was heard."""
        self._process.kill()
        await self._listening
        assert await self._process.wait() == -SIGKILL

    async def leave(self) -> None:
        """Have it close its dialogs and its store, and end; return when all that it said was heard."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        async with asyncio.timeout(PATIENCE_S):
            await self._listening
            assert await self._process.wait() == 0

    async def end(self) -> None:
        """End it, whatever it does."""
        if self._process.returncode is None:
            self._process.kill()
        await self._listening
        await self._process.communicate()

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if not line.endswith(b"\n"):
                break  # it was killed in the middle of it
            to, *words = line.decode().split()
            if to == "*":
                await self._crew.note((self.name, tuple(words)))
            else:
                self._answers.pop(to).set_result(" ".join(words))
        self.is_gone = True
        await self._crew.note((self.name, ("gone",)))
        while self._answers:
            _, answer = self._answers.popitem()
            answer.set_result("gone")


class Crew:
    """The processes of a test, over one store and one clock. `heard_all` is what they said, as it was heard."""

    def __init__(self, url: str, folder: Path, store: Store, clock: SharedClock) -> None:
        self.store = store
        self.clock = clock
        self.dialogs = Dialogs(store)
        """Those of the test itself, which knows no type, platform or completion, and so does nobody's work."""
        self.heard_all: list[Heard] = []
        self._command = [sys.executable, "-m", "tests.proofs.clicking", url, str(folder / "clock")]
        self._news = asyncio.Condition()
        self._workers: list[Worker] = []

    @classmethod
    @asynccontextmanager
    async def over(cls, url: str, folder: Path) -> AsyncGenerator["Crew", None]:
        """Open the store; the end of this is the end of every process."""
        clock = SharedClock.make(folder / "clock")
        async with sojourn.open(url, clock=clock) as store:
            crew = cls(url, folder, store, clock)
            try:
                async with crew.dialogs:
                    yield crew
            finally:
                for worker in crew._workers:
                    await worker.end()

    async def start(self, name: str, *options: str) -> Worker:
        """Start one more process, and return when it can be asked."""
        process = await asyncio.create_subprocess_exec(*self._command, *options, stdin=PIPE, stdout=PIPE)
        worker = Worker(name, process, self)
        self._workers.append(worker)
        await self.heard("ready", by=worker)
        return worker

    async def note(self, heard: Heard) -> None:
        """Note what a process said by itself."""
        async with self._news:
            self.heard_all.append(heard)
            self._news.notify_all()

    async def heard(self, *words: str, by: Worker | None = None, times: int = 1) -> str:
        """Wait until something that begins so was said so many times, and return who was the first."""
        async with asyncio.timeout(PATIENCE_S), self._news:
            await self._news.wait_for(lambda: len(self.who(*words, by=by)) >= times or (by is not None and by.is_gone))
        who = self.who(*words, by=by)
        assert len(who) >= times, "it has ended without a word"
        return who[0]

    def who(self, *words: str, by: Worker | None = None) -> list[str]:
        """Return who has said something that begins so, once for each time."""
        named = [name for name, said in self.heard_all if said[: len(words)] == words]
        return named if by is None else [name for name in named if name == by.name]

    def said(self, *words: str) -> list[str]:
        """Return what followed these words, each time that somebody said them."""
        return [" ".join(said[len(words) :]) for _, said in self.heard_all if said[: len(words)] == words]

    async def nothing_is_left(self, dialog_id: str) -> None:
        """Wait until all that had to follow the commits of a dialog was performed, and what was said of it is heard."""
        async with asyncio.timeout(PATIENCE_S):
            for space in OUTBOXES:
                async with self.store.watch(Space(space)) as changes:
                    while [record async for record in self.store.scan(Span(space, dialog_id))]:
                        await anext(changes)
        for worker in self._workers:
            if not worker.is_gone and not worker.is_stopped:
                assert await worker.ask("hear") == "yes"

    async def ledger(self, dialog_id: str) -> dict[str, int]:
        """Return how often each click was handled, as was committed with it."""
        return {record.key.item: int(record.value) async for record in self.store.scan(Span(LEDGER, dialog_id))}
