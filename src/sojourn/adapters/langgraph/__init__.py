"""LangGraph's checkpoints, kept in sojourn: `pip install "sojourn[langgraph]"`.

    async with sojourn.open("sqlite:///agent.db") as store:
        graph = builder.compile(checkpointer=SojournSaver(store))
        await graph.ainvoke({"messages": [...]}, {"configurable": {"thread_id": "17"}})

A checkpoint adds to the store what is new in it, however long the conversation is.
"""

from sojourn.adapters.langgraph.saver import SojournSaver

__all__ = ["SojournSaver"]
