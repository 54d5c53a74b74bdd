"""Functions: queries, mutations and actions that receive the caller's session."""

from sojourn.functions.bound import Acting, Bound, Call, Presented
from sojourn.functions.builder import Builder, Sessionless
from sojourn.functions.collection import Collection, Page, PageRequest, Reader, Writer
from sojourn.functions.context import (
    ActionCtx,
    MutationCtx,
    QueryCtx,
    RunSessionFunctions,
    run_session_functions,
)
from sojourn.functions.functions import Functions
from sojourn.functions.layers import Done, Layer, Patch, layer
from sojourn.functions.model import Caller, Function, Kind, SessionlessFunction
from sojourn.functions.scheduling import (
    Crons,
    CronState,
    Scheduled,
    ScheduledId,
    ScheduledState,
    Scheduler,
    Schedules,
)
from sojourn.functions.view import Extended
from sojourn.functions.watching import Watching

__all__ = [
    "Acting",
    "ActionCtx",
    "Bound",
    "Builder",
    "Call",
    "Caller",
    "Collection",
    "CronState",
    "Crons",
    "Done",
    "Extended",
    "Function",
    "Functions",
    "Kind",
    "Layer",
    "MutationCtx",
    "Page",
    "PageRequest",
    "Patch",
    "Presented",
    "QueryCtx",
    "Reader",
    "RunSessionFunctions",
    "Scheduled",
    "ScheduledId",
    "ScheduledState",
    "Scheduler",
    "Schedules",
    "Sessionless",
    "SessionlessFunction",
    "Watching",
    "Writer",
    "layer",
    "run_session_functions",
]
