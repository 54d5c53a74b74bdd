"""Programs to read and to try."""
