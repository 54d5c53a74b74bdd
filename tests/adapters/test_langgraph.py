"""The saver for LangGraph: what its conformance suite, run by `make test-upstream`, does not ask."""

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableConfig
from langgraph.channels.delta import DeltaChannel
from langgraph.checkpoint.base import Checkpoint, CheckpointTuple, empty_checkpoint
from langgraph.checkpoint.base.id import uuid6
from langgraph.checkpoint.serde.base import CipherProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

import sojourn
from sojourn.adapters.langgraph import SojournSaver
from sojourn.adapters.langgraph import layout as places
from sojourn.adapters.langgraph.form import Form, checkpoint_of, metadata_of, state_of, text_of, value_of
from sojourn.adapters.langgraph.layout import Layout, Line
from sojourn.adapters.langgraph.writes import Writes
from sojourn.engines.memory import MemoryEngine
from sojourn.errors import ClosedError, CorruptError, InvalidError, SnapshotSettledError, UnavailableError
from sojourn.kernel import Key, Span, Store
from sojourn.snapshots import Snapshots, erasure
from sojourn.snapshots.layout import Place

SERDE = JsonPlusSerializer()


@pytest.fixture
async def saver(store: Store) -> SojournSaver:
    return SojournSaver(store)


def thread(name: str, namespace: str = "", checkpoint_id: str | None = None) -> RunnableConfig:
    named = {"thread_id": name, "checkpoint_ns": namespace}
    return {"configurable": named if checkpoint_id is None else {**named, "checkpoint_id": checkpoint_id}}


def checkpoint(**values: Any) -> Checkpoint:
    made = empty_checkpoint()
    made["id"] = str(uuid6(clock_seq=-2))
    made["channel_values"] = values
    made["channel_versions"] = dict.fromkeys(values, "1")
    return made


async def put(saver: SojournSaver, config: RunnableConfig, /, run: str | None = None, **values: Any) -> RunnableConfig:
    """Store a checkpoint behind the one that the config names; return the config that names it."""
    metadata: Any = {"source": "loop", "step": 1} | ({} if run is None else {"run_id": run})
    return await saver.aput(config, checkpoint(**values), metadata, {})


async def listed(saver: SojournSaver, config: RunnableConfig | None, **asked: Any) -> list[CheckpointTuple]:
    return [found async for found in saver.alist(config, **asked)]


def id_of(config: RunnableConfig) -> str:
    found: str = config["configurable"]["checkpoint_id"]
    return found


async def values_of(saver: SojournSaver, config: RunnableConfig) -> dict[str, Any]:
    found = await saver.aget_tuple(config)
    assert found is not None
    return found.checkpoint["channel_values"]


async def left_of(store: Store, line: Line, *runs: str, tenant: str = "langgraph") -> list[Key]:
    """What a store still has of a line, beside its snapshots."""
    layout = Layout(tenant)
    spans = [layout.namespaces(line.thread), layout.writes(line), layout.runs(line), *map(layout.made, runs)]
    return [record.key for span in spans for record in [found async for found in store.scan(span)]]


# == What is stored


async def test_a_conversation_costs_its_messages_and_not_its_checkpoints(store: Store, saver: SojournSaver) -> None:
    messages: list[Any] = []
    config = thread("chat")
    for number in range(150):
        messages.append(HumanMessage(f"{number:04}" * 100, id=str(number)))
        config = await put(saver, config, messages=messages, turns=number)
    content = sum(len(message.text) for message in messages)
    session = await Snapshots(store, Form, tenant="langgraph").get_session("chat")
    assert session is not None
    assert session.snapshots == 150
    assert session.stored_bytes < 3 * content
    assert (await values_of(saver, thread("chat")))["messages"] == messages


async def test_every_past_checkpoint_of_a_conversation_is_read_back(saver: SojournSaver) -> None:
    config = thread("chat")
    configs: list[RunnableConfig] = []
    for number in range(30):
        config = await put(saver, config, messages=[AIMessage(str(one), id=str(one)) for one in range(number)])
        configs.append(config)
    for number, stored in enumerate(configs):
        assert [message.text for message in (await values_of(saver, stored))["messages"]] == [
            str(one) for one in range(number)
        ]


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text() | st.binary() | st.floats(allow_nan=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_value_comes_back_as_it_was(value: Any) -> None:
    made = checkpoint(value=value, nothing=None, several=[value, value], none_at_all=[])
    form = msgspec.json.decode(msgspec.json.encode(state_of(SERDE, made, {"step": 7})), type=Form)
    assert checkpoint_of(SERDE, form) == made
    assert metadata_of(SERDE, form) == {"step": 7}


def test_a_list_of_a_kind_of_its_own_is_not_taken_apart() -> None:
    class Names(list[str]):
        pass

    assert state_of(SERDE, checkpoint(names=Names(["a"])), {}).channels["names"].items is None


def test_text_is_stored_legibly_and_bytes_compactly() -> None:
    assert "hello " * 20 in text_of(SERDE, "hello " * 20)[2]
    assert len(text_of(SERDE, bytes(range(256)) * 4)[2]) < 1_400


def test_a_damaged_value_is_reported() -> None:
    with pytest.raises(CorruptError):
        value_of(SERDE, ("msgpack", "base64", "no base64!"))
    with pytest.raises(CorruptError):
        value_of(SERDE, ("msgpack", "latin-1", "\u20ac"))


async def test_a_value_that_cannot_be_serialized_is_refused_and_nothing_is_written(
    store: Store, saver: SojournSaver
) -> None:
    with pytest.raises(TypeError):
        await put(saver, thread("t"), lock=asyncio.Lock())
    assert await saver.aget_tuple(thread("t")) is None
    assert await left_of(store, Line("t", "")) == []


async def test_content_is_illegible_behind_a_serializer_that_encrypts(store: Store) -> None:
    saver = SojournSaver(store, serde=EncryptedSerializer(Backwards()))
    stored = await put(saver, thread("t"), messages=[HumanMessage("the secret")])
    await saver.aput_writes(stored, [("messages", "the secret")], "task")
    assert (await values_of(saver, thread("t")))["messages"][0].text == "the secret"
    places_of = [Span("snapshot.state", "langgraph\x01t"), Layout("langgraph").writes(Line("t", ""))]
    records = [record for span in places_of for record in [found async for found in store.scan(span)]]
    assert len(records) == 2
    assert not any(b"the secret" in record.value for record in records)


class Backwards(CipherProtocol):
    """A cipher, so to speak."""

    def encrypt(self, plaintext: bytes) -> tuple[str, bytes]:
        return "backwards", plaintext[::-1]

    def decrypt(self, ciphername: str, ciphertext: bytes) -> bytes:
        assert ciphername == "backwards"
        return ciphertext[::-1]


# == Which checkpoint is meant


async def test_the_latest_is_the_greatest_id_whatever_was_stored_last(saver: SojournSaver) -> None:
    first, second = checkpoint(n=1), checkpoint(n=2)
    await saver.aput(thread("t"), second, {}, {})
    await saver.aput(thread("t"), first, {}, {})
    assert await values_of(saver, thread("t")) == {"n": 2}


async def test_two_workers_on_one_thread_do_not_overwrite_each_other(store: Store, saver: SojournSaver) -> None:
    other = SojournSaver(store)
    begin = await put(saver, thread("t"), n=0)
    await asyncio.gather(*(put(one, begin, n=number) for number in range(10) for one in (saver, other)))
    found = await listed(saver, thread("t"))
    assert sorted(one.checkpoint["channel_values"]["n"] for one in found) == sorted([0, *range(10), *range(10)])
    assert {id_of(one.parent_config) for one in found if one.parent_config} == {id_of(begin)}


async def test_a_checkpoint_is_stored_twice_and_not_changed_under_others(saver: SojournSaver) -> None:
    made = checkpoint(n=1)
    stored = await saver.aput(thread("t"), made, {}, {})
    await put(saver, stored, n=2)
    assert await saver.aput(thread("t"), made, {}, {}) == stored
    with pytest.raises(SnapshotSettledError):
        await saver.aput(thread("t"), {**made, "channel_values": {"n": 7}}, {}, {})
    assert await values_of(saver, stored) == {"n": 1}


async def test_threads_and_namespaces_are_not_mistaken_for_each_other(store: Store, saver: SojournSaver) -> None:
    names = [("a", ""), ("a", "b"), ("a", "b|c"), ("a b", ""), ("a", "#"), ("a|b", ""), ("ä/b", "")]
    names += [("a", "node:" * 100), ("a", "node:" * 100 + "x")]
    for number, (name, namespace) in enumerate(names):
        await put(saver, thread(name, namespace), n=number)
    for number, (name, namespace) in enumerate(names):
        assert [one.checkpoint["channel_values"]["n"] for one in await listed(saver, thread(name, namespace))] == [
            number
        ]
    assert len({Line(*name).session for name in names}) == len(names)


async def test_tenants_share_nothing(store: Store, saver: SojournSaver) -> None:
    other = SojournSaver(store, tenant="other")
    for number, one in enumerate((saver, other)):
        await put(one, thread("t"), run="run", n=number)
    await other.acopy_thread("t", "copy")
    assert [one.checkpoint["channel_values"] for one in await listed(saver, None)] == [{"n": 0}]
    assert [one.checkpoint["channel_values"] for one in await listed(other, None)] == [{"n": 1}, {"n": 1}]


async def test_a_name_with_a_character_that_separates_names_is_refused(saver: SojournSaver) -> None:
    for config in (thread("a\x1fb"), thread("a", "b\x1fc"), thread("a\x01b")):
        with pytest.raises(InvalidError):
            await put(saver, config)
    with pytest.raises(InvalidError, match="no thread"):
        await saver.aget_tuple({})
    stored = await put(saver, thread("a"))
    with pytest.raises(InvalidError):
        await saver.aput_writes(stored, [("n", 1)], "a\x1fb")
    with pytest.raises(InvalidError, match="names none"):
        await saver.aput_writes(thread("a"), [("n", 1)], "task")


async def test_a_thread_that_is_a_number_is_its_text(saver: SojournSaver) -> None:
    number: Any = 17
    await put(saver, thread(number), n=1)
    assert await values_of(saver, thread("17")) == {"n": 1}


async def test_a_listing_of_a_thread_merges_its_namespaces_newest_first(saver: SojournSaver) -> None:
    stored = [await put(saver, thread("t", "" if number % 2 else "sub"), n=number) for number in range(6)]
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    assert [one.config for one in await listed(saver, config)] == stored[::-1]
    assert [one.config for one in await listed(saver, config, before=stored[3], limit=2)] == [stored[2], stored[1]]
    assert [one.config for one in await listed(saver, stored[4])] == [stored[4]]
    assert await listed(saver, stored[4], before=stored[2]) == []
    assert await listed(saver, config, limit=0) == []


async def test_a_listing_of_everything_begins_with_what_was_written_last(saver: SojournSaver) -> None:
    stored = [await put(saver, thread(name), n=name) for name in ("a", "b", "c")]
    found = await listed(saver, None)
    assert sorted(id_of(one.config) for one in found) == sorted(map(id_of, stored))


async def test_a_listing_goes_page_by_page(saver: SojournSaver) -> None:
    config = thread("t")
    for number in range(120):
        config = await put(saver, config, n=number)
    numbers = [one.checkpoint["channel_values"]["n"] for one in await listed(saver, thread("t"))]
    assert numbers == list(range(119, -1, -1))


# == Pending writes


async def test_writes_come_in_the_order_of_path_task_and_index(saver: SojournSaver) -> None:
    stored = await put(saver, thread("t"))
    await saver.aput_writes(stored, [("x", 4), ("y", 5)], "a", task_path="~2")
    await saver.aput_writes(stored, [("x", number) for number in range(12)], "c", task_path="~1")
    await saver.aput_writes(stored, [("x", "b")], "b", task_path="~1")
    found = await saver.aget_tuple(stored)
    assert found is not None
    expected = [("b", "x", "b"), *(("c", "x", number) for number in range(12)), ("a", "x", 4), ("a", "y", 5)]
    assert found.pending_writes == expected


async def test_a_write_stands_and_an_error_is_replaced(saver: SojournSaver) -> None:
    stored = await put(saver, thread("t"))
    for attempt in ("first", "second"):
        await saver.aput_writes(stored, [("x", attempt)], "task")
        await saver.aput_writes(stored, [("__error__", attempt)], "task")
    found = await saver.aget_tuple(stored)
    assert found is not None
    assert found.pending_writes == [("task", "__error__", "second"), ("task", "x", "first")]


async def test_a_large_write_comes_back_and_is_replaced_and_removed(store: Store, saver: SojournSaver) -> None:
    stored = await put(saver, thread("t"))
    large = bytes(range(256)) * 8_000
    await saver.aput_writes(stored, [("x", large), ("__error__", large)], "task")
    await saver.aput_writes(stored, [("y", 1), ("__error__", "small")], "task")
    found = await saver.aget_tuple(stored)
    assert found is not None
    assert found.pending_writes == [("task", "__error__", "small"), ("task", "x", large)]
    await saver.adelete_thread("t")
    assert await left_of(store, Line("t", "")) == []


async def test_writes_may_come_before_their_checkpoint(saver: SojournSaver) -> None:
    made = checkpoint(n=1)
    await saver.aput_writes(thread("t", "", made["id"]), [("x", 1)], "task")
    await saver.aput(thread("t"), made, {}, {})
    found = await saver.aget_tuple(thread("t"))
    assert found is not None
    assert found.pending_writes == [("task", "x", 1)]


# == Removing and copying


async def test_of_a_deleted_thread_nothing_is_left(store: Store, saver: SojournSaver) -> None:
    for namespace in ("", "sub", "node:" * 100):
        stored = await put(saver, thread("t", namespace), run="run", n=1)
        await saver.aput_writes(stored, [("x", 1)], "task")
    kept = await put(saver, thread("other"), run="run", n=1)
    await saver.adelete_thread("t")
    for namespace in ("", "sub", "node:" * 100):
        assert await left_of(store, Line("t", namespace)) == []
    assert await left_of(store, Line("other", ""), "run") != []
    assert [one.config for one in await listed(saver, None)] == [kept]


async def test_a_deletion_that_was_cut_off_is_finished_by_the_next(
    store: Store, saver: SojournSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = await put(saver, thread("t"), run="run", n=1)
    await saver.aput_writes(stored, [("x", 1)], "task")
    with monkeypatch.context() as patched:
        patched.setattr(Writes, "remove_all", cut_off)
        with pytest.raises(UnavailableError):
            await saver.adelete_thread("t")
    await saver.adelete_thread("t")
    assert await left_of(store, Line("t", ""), "run") == []


async def test_a_checkpoint_finishes_a_deletion_that_nobody_goes_on_with(store: Store, saver: SojournSaver) -> None:
    await put(saver, thread("t"), n=1)
    await store.run(lambda tx: erasure._mark(tx, Place("langgraph", "t")))
    stored = await put(saver, thread("t"), n=2)
    assert [one.config for one in await listed(saver, thread("t"))] == [stored]


async def cut_off(*_: object) -> None:
    raise UnavailableError("cut off")


async def test_a_checkpoint_that_comes_while_its_thread_is_deleted_is_found_again(
    saver: SojournSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(saver, thread("t", "sub"), n=1)
    remove_all = Writes.remove_all

    async def meanwhile(self: Writes, line: Line) -> None:
        await put(saver, thread("t", "sub"), n=2)
        await remove_all(self, line)

    with monkeypatch.context() as patched:
        patched.setattr(Writes, "remove_all", meanwhile)
        await saver.adelete_thread("t")
    config: RunnableConfig = {"configurable": {"thread_id": "t"}}
    assert [one.checkpoint["channel_values"] for one in await listed(saver, config)] == [{"n": 2}]


async def test_checkpoints_of_a_run_go_and_those_behind_them_stay_whole(store: Store, saver: SojournSaver) -> None:
    messages = [HumanMessage(str(number), id=str(number)) for number in range(6)]
    config = thread("t")
    for number in range(6):
        config = await put(saver, config, run=f"run {number // 2}", messages=messages[: number + 1])
        await saver.aput_writes(config, [("x", number)], "task")
    await put(saver, thread("u", "sub"), run="run 1", n=1)
    await saver.adelete_for_runs(["run 1", "run 7"])
    found = await listed(saver, None)
    assert [len(one.checkpoint["channel_values"]["messages"]) for one in found] == [6, 5, 2, 1]
    assert found[0].checkpoint["channel_values"]["messages"] == messages
    layout = Layout("langgraph")
    assert [record async for record in store.scan(layout.made("run 1"))] == []
    assert len([record async for record in store.scan(layout.writes(Line("t", "")))]) == 4


async def test_a_mark_of_a_run_is_verified_before_anything_is_deleted(store: Store, saver: SojournSaver) -> None:
    """An engine that cannot commit both at once writes the mark first, and may not come to the checkpoint."""
    stored = await put(saver, thread("t"), run="run", n=1)
    await store.run(mark_of("another", stored))
    await saver.adelete_for_runs(["another"])
    assert await values_of(saver, stored) == {"n": 1}


def mark_of(run: str, config: RunnableConfig) -> Any:
    async def work(tx: Any) -> None:
        tx.put(Layout("langgraph").run(run, Line("t", ""), id_of(config)), b"")

    return work


async def test_a_copy_has_all_and_shares_what_the_original_shares(store: Store, saver: SojournSaver) -> None:
    config = thread("t")
    for number in range(20):
        config = await put(saver, config, messages=[HumanMessage("x" * 500, id=str(one)) for one in range(number)])
        await saver.aput_writes(config, [("x", number)], "task")
    await put(saver, thread("t", "sub"), n=1)
    await saver.acopy_thread("t", "copy")
    for namespace in ("", "sub"):
        original, copy = [await listed(saver, thread(name, namespace)) for name in ("t", "copy")]
        assert [one.checkpoint for one in copy] == [one.checkpoint for one in original]
        assert [one.pending_writes for one in copy] == [one.pending_writes for one in original]
        assert [one.metadata for one in copy] == [one.metadata for one in original]
    snapshots = Snapshots(store, Form, tenant="langgraph")
    sessions = [await snapshots.get_session(name) for name in ("t", "copy")]
    assert sessions[0] is not None
    assert sessions[1] is not None
    assert sessions[1].stored_bytes <= sessions[0].stored_bytes * 1.1


async def test_a_strategy_that_is_none_is_refused(saver: SojournSaver) -> None:
    with pytest.raises(InvalidError, match="keep_latest"):
        await saver.aprune(["t"], strategy="keep_all")


async def test_a_checkpoint_that_comes_while_its_thread_is_pruned_stays(
    saver: SojournSaver, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = thread("t")
    for number in range(3):
        config = await put(saver, config, n=number)
    needed = SojournSaver._needed

    async def meanwhile(self: SojournSaver, line: Line) -> set[str]:
        found = await needed(self, line)
        await put(saver, config, n=3)
        return found

    monkeypatch.setattr(SojournSaver, "_needed", meanwhile)
    await saver.aprune(["t"])
    assert [one.checkpoint["channel_values"]["n"] for one in await listed(saver, thread("t"))] == [3, 2]


def joined(current: list[str] | None, writes: Any) -> list[str]:
    return [*(current or []), *(word for write in writes for word in write)]


class Log(TypedDict):
    words: Annotated[list[str], DeltaChannel(joined, snapshot_frequency=5)]


async def test_a_prune_keeps_what_a_delta_channel_is_put_together_from(saver: SojournSaver) -> None:
    builder = StateGraph(Log)
    builder.add_node("node", lambda state: {"words": [f"{len(state['words'])}"]})
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=saver)
    for turn in range(8):
        await graph.ainvoke({"words": [f"turn {turn}"]}, thread("t"))
    before = (await graph.aget_state(thread("t"))).values["words"]
    count = len(await listed(saver, thread("t")))
    await saver.aprune(["t"])
    assert (await graph.aget_state(thread("t"))).values["words"] == before
    assert 1 < len(await listed(saver, thread("t"))) < count / 2


# == Whole graphs


def conversation(saver: SojournSaver) -> Any:
    def ask(state: MessagesState) -> dict[str, Any]:
        answer = interrupt("really?")
        return {"messages": [AIMessage(f"{len(state['messages'])}: {answer}")]}

    builder = StateGraph(MessagesState)
    builder.add_node("ask", ask)
    builder.add_edge(START, "ask")
    return builder.compile(checkpointer=saver)


async def test_a_graph_that_was_interrupted_goes_on_in_another_saver(store: Store, saver: SojournSaver) -> None:
    await conversation(saver).ainvoke({"messages": [HumanMessage("hello")]}, thread("t"))
    done = await conversation(SojournSaver(store)).ainvoke(Command(resume="yes"), thread("t"))
    assert [message.text for message in done["messages"]] == ["hello", "1: yes"]


async def test_a_graph_travels_back_in_time_and_both_ways_stay(saver: SojournSaver) -> None:
    builder = StateGraph(MessagesState)
    builder.add_node("answer", lambda state: {"messages": [AIMessage(f"on {state['messages'][-1].text}")]})
    builder.add_edge(START, "answer")
    graph = builder.compile(checkpointer=saver)
    await graph.ainvoke({"messages": [HumanMessage("hello")]}, thread("t"))
    answered = (await graph.aget_state(thread("t"))).config
    for way in ("left", "right"):
        await graph.ainvoke({"messages": [HumanMessage(way)]}, answered)
    ends = [
        [message.text for message in state.values["messages"]]
        async for state in graph.aget_state_history(thread("t"))
        if not state.next
    ]
    hello = ["hello", "on hello"]
    assert ends == [[*hello, "right", "on right"], [*hello, "left", "on left"], hello]


class Count(TypedDict):
    count: Annotated[int, operator.add]


async def test_versions_of_two_branches_differ(saver: SojournSaver) -> None:
    first = saver.get_next_version(None, None)
    assert first < saver.get_next_version(first, None) != saver.get_next_version(first, None)


async def test_a_saver_with_an_allowlist_is_a_saver_on_the_same_store(store: Store) -> None:
    saver = SojournSaver(store, serde=JsonPlusSerializer(allowed_msgpack_modules=()))
    narrow = saver.with_allowlist([("decimal", "Decimal")])
    assert narrow is not saver
    await put(saver, thread("t"), n=1)
    found = await narrow.aget_tuple(thread("t"))
    assert found is not None
    assert found.checkpoint["channel_values"] == {"n": 1}


# == Without an event loop


async def test_the_verbs_that_wait_do_what_their_twins_do(saver: SojournSaver) -> None:
    builder = StateGraph(Count)
    builder.add_node("node", lambda _: {"count": 1})
    builder.add_edge(START, "node")
    graph = builder.compile(checkpointer=saver)

    def run() -> list[int]:
        for _ in range(3):
            graph.invoke({"count": 1}, thread("t"))
        saver.copy_thread("t", "copy")
        saver.prune(["copy"])
        counts = [found.checkpoint["channel_values"]["count"] for found in saver.list(thread("copy"))]
        saver.delete_for_runs(["unknown"])
        saver.delete_thread("t")
        return [*counts, 0 if saver.get_tuple(thread("t")) is None else 1]

    assert await asyncio.to_thread(run) == [6, 0]


async def test_a_listing_that_is_left_early_is_closed(saver: SojournSaver) -> None:
    for number in range(3):
        await put(saver, thread("t"), n=number)

    def first() -> CheckpointTuple:
        listing = saver.list(thread("t"))
        found = next(iter(listing))
        listing.close()  # type: ignore[attr-defined]
        return found

    assert (await asyncio.to_thread(first)).checkpoint["channel_values"] == {"n": 2}


async def test_a_verb_that_waits_is_refused_in_the_loop_it_would_wait_for(saver: SojournSaver) -> None:
    for verb in (
        lambda: saver.get_tuple(thread("t")),
        lambda: list(saver.list(thread("t"))),
        lambda: saver.put(thread("t"), checkpoint(), {}, {}),
        lambda: saver.delete_thread("t"),
    ):
        with pytest.raises(InvalidError, match="event loop"):
            verb()


def test_a_saver_needs_an_event_loop() -> None:
    with pytest.raises(InvalidError, match="event loop"):
        SojournSaver(Store(MemoryEngine()))


def test_a_verb_that_waits_for_a_loop_that_is_over_says_so() -> None:
    async def made() -> SojournSaver:
        async with sojourn.open("memory:") as store:
            return SojournSaver(store)

    saver = asyncio.run(made())
    with pytest.raises(ClosedError):
        saver.get_tuple(thread("t"))
    with pytest.raises(ClosedError):
        list(saver.list(thread("t")))


def test_the_table_of_records_names_every_space() -> None:
    spaces = {value for name, value in vars(places).items() if name in {"THREAD", "WRITE", "RUN", "RAN"}}
    assert all(f"| `{space}`" in (places.__doc__ or "") for space in spaces)
