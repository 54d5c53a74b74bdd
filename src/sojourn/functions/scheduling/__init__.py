"""Calls that happen later: scheduled by a function, or by the clock."""

from sojourn.functions.scheduling.crons import Crons
from sojourn.functions.scheduling.model import CronState, Scheduled, ScheduledId, ScheduledState
from sojourn.functions.scheduling.scheduler import Scheduler
from sojourn.functions.scheduling.schedules import Schedules

__all__ = ["CronState", "Crons", "Scheduled", "ScheduledId", "ScheduledState", "Scheduler", "Schedules"]
