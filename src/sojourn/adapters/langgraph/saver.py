"""`SojournSaver`: what LangGraph asks of a place for its checkpoints.

The verbs that begin with `a` run in the event loop of the store. The others are for graphs that run without one, in a
thread beside that loop; each waits there for its twin.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
    get_checkpoint_id,
    get_checkpoint_metadata,
)
from langgraph.checkpoint.serde.base import SerializerProtocol

from sojourn import limits
from sojourn.adapters.langgraph.blocking import BlockingSaver
from sojourn.adapters.langgraph.form import Form, checkpoint_of, metadata_of, state_of
from sojourn.adapters.langgraph.layout import Layout, Line, checked, last_of, made_of
from sojourn.adapters.langgraph.writes import Writes, pending, serialized
from sojourn.errors import ConflictError, InvalidError
from sojourn.kernel import (
    Attempt,
    Conflict,
    Delete,
    DeleteSpan,
    Now,
    Put,
    Record,
    RevisionIs,
    Store,
    Transaction,
)
from sojourn.snapshots import SnapshotInput, Snapshots, Timeline

__all__ = ["SojournSaver"]

_COUNTERS: Final = "counters_since_delta_snapshot"
"""In the metadata of a checkpoint: the channels that store what is new in them only, a `DeltaChannel` of LangGraph."""


class _Stored(NamedTuple):
    """A checkpoint as it is stored, and the id of the one before it."""

    form: Form
    parent_id: str | None


class SojournSaver(BlockingSaver):
    """Keeps the checkpoints of graphs in a store; make it inside the event loop that has opened the store.

    Each namespace of a thread is a session of snapshots under the tenant `tenant`, a checkpoint one of them. Two
    workers on one thread do not overwrite each other; LangGraph goes on from the checkpoint with the greatest id.
    `serde` turns values into bytes, LangGraph's own by default; one that encrypts leaves names and versions legible.

    Every verb raises `UnavailableError` when the store could not be reached; one that writes has then written nothing,
    or a part of what it was to remove.
    """

    def __init__(self, store: Store, *, serde: SerializerProtocol | None = None, tenant: str = "langgraph") -> None:
        super().__init__(serde=serde)
        self._store = store
        self._snapshots = Snapshots(store, Form, tenant=tenant)
        self._layout = Layout(tenant)
        self._writes = Writes(store, self._layout)

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return the checkpoint that the config names, else the one with the greatest id; None when there is none.

        Raises:
            CorruptError: it is damaged. `StateLostError` says what can still be read.
        """
        line, checkpoint_id = _line(config), get_checkpoint_id(config)
        if checkpoint_id is not None:
            return await self._read(line, checkpoint_id)
        async for newest in self._ids(line, page=1):
            found = await self._read(line, newest)
            if found is not None:  # else it went while this looked
                return found
        return None

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,  # noqa: A002  LangGraph's name
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """List the checkpoints of a namespace, or of a thread, the greatest id first.

        Without a config those of all threads come, namespace by namespace, whichever was written to last first.
        `filter` asks for equal metadata, and is looked at as the checkpoints are read.

        Raises:
            CorruptError: a checkpoint is damaged.
        """
        if limit is not None and limit <= 0:
            return
        listed = 0
        async for line, checkpoint_id in self._named(config, None if before is None else get_checkpoint_id(before)):
            found = await self._read(line, checkpoint_id, filter or {})
            if found is None:
                continue
            yield found
            listed += 1
            if listed == limit:
                return

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,  # noqa: ARG002  what is new is found by comparing
    ) -> RunnableConfig:
        """Store a checkpoint behind the one that the config names, and return the config that names the new one.

        Raises:
            InvalidError: an id of it is out of form; nothing was written.
            LimitError: it is larger than `limits.SNAPSHOT_STATE_BYTES`; nothing was written.
            SnapshotSettledError: it was stored before, differently, and others build on that; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        line = _line(config)
        described = get_checkpoint_metadata(config, metadata)
        stored = _Stored(state_of(self.serde, checkpoint, described), get_checkpoint_id(config))
        await self._save(line, checkpoint["id"], stored, described.get("run_id"))
        return _config(line, checkpoint["id"])

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Store what a task has written, beside the checkpoint that the config names.

        A write that is there stays; an error, an interrupt and the like replace the one before.

        Raises:
            InvalidError: the config names no checkpoint; nothing was written.
            LimitError: one is larger than `limits.CHUNKED_BYTES`; nothing was written.
            CommitUnknownError: the answer was lost; perhaps written.
        """
        checkpoint_id = get_checkpoint_id(config)
        if checkpoint_id is None:
            raise InvalidError("checkpoint_id", "writes belong to a checkpoint, and the config names none")
        written = serialized(self.serde, writes, checked("task_id", task_id), task_path)
        await self._writes.keep(_line(config), checkpoint_id, written)

    async def adelete_thread(self, thread_id: str) -> None:
        """Remove a thread with all its namespaces; one that is not there is fine."""
        async for line, mark in self._lines(thread_id):
            await self._remove(line, mark)

    async def adelete_for_runs(self, run_ids: Sequence[str]) -> None:
        """Remove the checkpoints that these runs made, in every thread. Those behind them stay as they are."""
        for run_id in run_ids:
            async for mark in self._store.scan(self._layout.made(checked("run_id", run_id))):
                line, checkpoint_id = made_of(mark.key)
                stored = await self._stored(line, checkpoint_id)
                if stored is not None and metadata_of(self.serde, stored.form).get("run_id") == run_id:
                    await self._forget(line, [checkpoint_id])
                await self._store.commit(Transaction(writes=(Delete(mark.key),)))

    async def acopy_thread(self, source_thread_id: str, target_thread_id: str) -> None:
        """Store every checkpoint of a thread in another one too, with its writes; an unknown thread is fine.

        What checkpoints share they share in the copy as well.
        """
        async for line, _ in self._lines(source_thread_id):
            copy = line._replace(thread=checked("thread_id", target_thread_id))
            for checkpoint_id in sorted([found async for found in self._ids(line)]):
                stored = await self._stored(line, checkpoint_id)
                if stored is not None:
                    run_id = metadata_of(self.serde, stored.form).get("run_id")
                    await self._save(copy, checkpoint_id, stored, run_id)
                    for write in await self._writes.of(line, checkpoint_id):  # one by one, since they may be large
                        await self._writes.keep(copy, checkpoint_id, [write])

    async def aprune(self, thread_ids: Sequence[str], *, strategy: str = "keep_latest") -> None:
        """Remove all checkpoints of these threads (`delete`), or all but the newest of each namespace (`keep_latest`).

        Kept are also those that a `DeltaChannel` of the newest one is put together from.

        Raises:
            InvalidError: there is no such strategy; nothing was removed.
        """
        if strategy not in {"keep_latest", "delete"}:
            raise InvalidError("strategy", f'it is "keep_latest" or "delete", not {strategy!r}')
        for thread_id in thread_ids:
            if strategy == "delete":
                await self.adelete_thread(thread_id)
                continue
            async for line, _ in self._lines(thread_id):
                needed = await self._needed(line)
                if needed:
                    older = [found async for found in self._ids(line, before=max(needed)) if found not in needed]
                    await self._forget(line, older)

    def get_next_version(self, current: str | None, channel: None) -> str:  # noqa: ARG002  LangGraph does not use it
        """Return a version that is greater than the current one, and that no other branch gives."""
        number = 0 if current is None else int(str(current).split(".", maxsplit=1)[0])
        return f"{number + 1:032}.{random.random():016}"  # noqa: S311  it tells branches apart, and hides nothing

    async def _read(
        self, line: Line, checkpoint_id: str, wanted: Mapping[str, object] | None = None
    ) -> CheckpointTuple | None:
        """Return a checkpoint if it is there, and its metadata as wanted."""
        stored = await self._stored(line, checkpoint_id)
        if stored is None:
            return None
        metadata = metadata_of(self.serde, stored.form)
        if wanted and any(metadata.get(name) != value for name, value in wanted.items()):
            return None
        return CheckpointTuple(
            config=_config(line, checkpoint_id),
            checkpoint=checkpoint_of(self.serde, stored.form),
            metadata=metadata,
            parent_config=None if stored.parent_id is None else _config(line, stored.parent_id),
            pending_writes=pending(self.serde, await self._writes.of(line, checkpoint_id)),
        )

    async def _stored(self, line: Line, checkpoint_id: str) -> _Stored | None:
        snapshot = await self._timeline(line).get(checkpoint_id)
        if snapshot is None or snapshot.state is None:
            return None
        return _Stored(snapshot.state, snapshot.parent_id)

    async def _save(self, line: Line, checkpoint_id: str, stored: _Stored, run_id: str | None) -> None:
        """Store a checkpoint, and what tells where to look for it."""
        timeline = self._timeline(line)
        marks = [Put(self._layout.thread(line), b"", rank=Now())]
        if run_id is not None:
            run = checked("run_id", run_id)
            marks += [Put(self._layout.ran(line, run), b""), Put(self._layout.run(run, line, checkpoint_id), b"")]

        async def save(tx: Attempt | None) -> None:
            wanted = SnapshotInput(state=stored.form, parent_id=stored.parent_id)
            await timeline.save(checkpoint_id, lambda _: wanted, tx=tx)

        async def together(tx: Attempt) -> None:
            tx.write(*marks)
            await save(tx)

        if self._store.describe().cross_partition:
            with suppress(ConflictError):  # the thread was being deleted, which by itself `save` does not mind
                await self._store.run(together)
                return
        for mark in marks:
            await self._store.commit(Transaction(writes=(mark,)))
        await save(None)

    async def _forget(self, line: Line, checkpoint_ids: Sequence[str]) -> None:
        """Remove checkpoints with their writes."""
        await self._timeline(line).delete(*checkpoint_ids)
        await self._writes.remove(line, checkpoint_ids)

    async def _remove(self, line: Line, mark: Record) -> None:
        """Remove all of a line, and last what told of it: begun and not finished, it can be done again."""
        await self._timeline(line).delete_all()
        await self._writes.remove_all(line)
        async for ran in self._store.scan(self._layout.runs(line)):
            made = Transaction(writes=(DeleteSpan(self._layout.made(last_of(ran.key.item), line)),))
            while (await self._store.commit(made)).remaining:
                pass
            await self._store.commit(Transaction(writes=(Delete(ran.key),)))
        told = Transaction(guards=(RevisionIs(mark.key, mark.revision),), writes=(Delete(mark.key),))
        if isinstance(await self._store.submit(told), Conflict):
            return  # a checkpoint came meanwhile, and the mark tells of that one

    async def _needed(self, line: Line) -> set[str]:
        """Return the newest checkpoint, and those without which a channel of it cannot be put together."""
        async for newest in self._ids(line, page=1):
            needed = {newest}
            stored = await self._stored(line, newest)
            if stored is None:
                continue
            missing = set(metadata_of(self.serde, stored.form).get(_COUNTERS, ())) - stored.form.channels.keys()
            while missing and stored is not None and stored.parent_id is not None:
                needed.add(stored.parent_id)
                stored = await self._stored(line, stored.parent_id)
                missing -= set() if stored is None else stored.form.channels.keys()
            return needed
        return set()

    async def _named(self, config: RunnableConfig | None, before: str | None) -> AsyncIterator[tuple[Line, str]]:
        """Name the checkpoints that a config asks for, before the id `before`."""
        if config is None:
            async for line in self._all_lines():
                async for checkpoint_id in self._ids(line, before):
                    yield line, checkpoint_id
            return
        lines = [line async for line in self._asked(config)]
        only = get_checkpoint_id(config)
        if only is not None:
            for line in lines if before is None or only < before else ():
                yield line, only
        elif len(lines) == 1:
            async for checkpoint_id in self._ids(lines[0], before):
                yield lines[0], checkpoint_id
        else:
            found = [(checkpoint_id, line) for line in lines async for checkpoint_id in self._ids(line, before)]
            for checkpoint_id, line in sorted(found, reverse=True):
                yield line, checkpoint_id

    async def _asked(self, config: RunnableConfig) -> AsyncIterator[Line]:
        """Name the namespace that a config names, or all of its thread."""
        if "checkpoint_ns" in _names(config):
            yield _line(config)
        else:
            async for line, _ in self._lines(_line(config).thread):
                yield line

    async def _all_lines(self) -> AsyncIterator[Line]:
        """Name every namespace of every thread, those that were written to last first."""
        async for page in self._store.rank_pages(self._layout.threads):
            for record in page.records:
                line = self._layout.line_of(record.key)
                if line is not None:
                    yield line

    async def _lines(self, thread_id: str) -> AsyncIterator[tuple[Line, Record]]:
        """Name the namespaces of a thread, each with the mark that tells of it."""
        async for mark in self._store.scan(self._layout.namespaces(checked("thread_id", thread_id))):
            yield Line(str(thread_id), mark.key.item), mark

    async def _ids(self, line: Line, before: str | None = None, *, page: int = limits.PAGE) -> AsyncIterator[str]:
        """Name the checkpoints of a line before the id `before`, the greatest first."""
        timeline = self._timeline(line)
        while found := await timeline.ids(before=before, limit=page):
            for checkpoint_id in found:
                yield checkpoint_id
            before = found[-1]

    def _timeline(self, line: Line) -> Timeline[Form]:
        return self._snapshots.timeline(line.session)


def _names(config: RunnableConfig) -> Mapping[str, Any]:
    return config.get("configurable", {})


def _line(config: RunnableConfig) -> Line:
    """Return which line a config names.

    Raises:
        InvalidError: it names no thread, or a name in it is out of form.
    """
    named = _names(config)
    if named.get("thread_id") is None:
        raise InvalidError("thread_id", "the config names no thread")
    return Line(checked("thread_id", named["thread_id"]), checked("checkpoint_ns", named.get("checkpoint_ns") or ""))


def _config(line: Line, checkpoint_id: str) -> RunnableConfig:
    """Return the config that names a checkpoint."""
    return {
        "configurable": {
            "thread_id": line.thread,
            "checkpoint_ns": line.namespace,
            "checkpoint_id": checkpoint_id,
        }
    }
