"""The server: sessions, functions and visits over HTTP, as an ASGI application."""

from sojourn.server.app import App
from sojourn.server.authority import Admin, Asker, Authenticate, bearer
from sojourn.server.serving import serve

__all__ = ["Admin", "App", "Asker", "Authenticate", "bearer", "serve"]
