"""The server: sessions and functions over HTTP, as an ASGI application."""

from sojourn.server.app import App
from sojourn.server.serving import serve

__all__ = ["App", "serve"]
