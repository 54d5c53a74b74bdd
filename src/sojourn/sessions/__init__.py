"""Sessions: issue, resolve, rotate, revoke; typed state that no parallel request loses."""

from sojourn.sessions.model import Lifetimes, Mode, SessionId
from sojourn.sessions.session import Issued, Session
from sojourn.sessions.sessions import Sessions
from sojourn.sessions.state import State

__all__ = ["Issued", "Lifetimes", "Mode", "Session", "SessionId", "Sessions", "State"]
