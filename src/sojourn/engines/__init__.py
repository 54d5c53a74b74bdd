"""The adapters to databases. `sojourn.opening` imports the one that a URL names, and no other."""

__all__: list[str] = []
