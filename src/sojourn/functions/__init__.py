"""Functions: queries, mutations and actions that receive the caller's session."""

from sojourn.functions.bound import Bound, Call, Presented
from sojourn.functions.collection import Collection, Page, Reader, Writer
from sojourn.functions.context import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    RunSessionFunctions,
    run_session_functions,
)
from sojourn.functions.functions import Builder, Functions
from sojourn.functions.model import Function, Kind

__all__ = [
    "ActionCtx",
    "Bound",
    "Builder",
    "Call",
    "Collection",
    "Function",
    "Functions",
    "Kind",
    "MutationCtx",
    "Page",
    "Presented",
    "QueryCtx",
    "Reader",
    "RunSessionFunctions",
    "Writer",
    "run_session_functions",
]
