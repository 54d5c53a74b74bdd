"""Programs for those who work on sojourn. The Makefile says which there are."""
