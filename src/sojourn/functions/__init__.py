"""Functions: queries, mutations and actions that receive the caller's session."""

from sojourn.functions.bound import Acting, Bound, Call, Presented
from sojourn.functions.builder import Builder
from sojourn.functions.collection import Collection, Page, Reader, Writer
from sojourn.functions.context import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    RunSessionFunctions,
    run_session_functions,
)
from sojourn.functions.functions import Functions
from sojourn.functions.layers import Done, Layer, Patch, layer
from sojourn.functions.model import Caller, Function, Kind
from sojourn.functions.view import Extended

__all__ = [
    "Acting",
    "ActionCtx",
    "Bound",
    "Builder",
    "Call",
    "Caller",
    "Collection",
    "Done",
    "Extended",
    "Function",
    "Functions",
    "Kind",
    "Layer",
    "MutationCtx",
    "Page",
    "Patch",
    "Presented",
    "QueryCtx",
    "Reader",
    "RunSessionFunctions",
    "Writer",
    "layer",
    "run_session_functions",
]
