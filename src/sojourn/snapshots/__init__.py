"""Snapshots: an agent's whole history, a tree of states, at a cost that follows what each step adds."""

from sojourn.kernel import Listing, Page
from sojourn.kernel.difference import Difference
from sojourn.snapshots.model import (
    NO_LEAF,
    Failure,
    FinishReason,
    Mutator,
    NoLeaf,
    Policy,
    Pruned,
    SessionInfo,
    Snapshot,
    SnapshotInfo,
    SnapshotInput,
    Status,
)
from sojourn.snapshots.protocol import SessionStore
from sojourn.snapshots.running import TurnContext
from sojourn.snapshots.session import AgentSession
from sojourn.snapshots.snapshots import Snapshots
from sojourn.snapshots.timeline import Timeline
from sojourn.snapshots.tree import Node, Tree
from sojourn.snapshots.turn import Detached, Turn

__all__ = [
    "AgentSession",
    "Detached",
    "Difference",
    "Failure",
    "FinishReason",
    "Listing",
    "Mutator",
    "NO_LEAF",
    "NoLeaf",
    "Node",
    "Page",
    "Policy",
    "Pruned",
    "SessionInfo",
    "SessionStore",
    "Snapshot",
    "SnapshotInfo",
    "SnapshotInput",
    "Snapshots",
    "Status",
    "Timeline",
    "Tree",
    "Turn",
    "TurnContext",
]
