"""Stores that other frameworks ask for, kept in sojourn: one for each framework, with an extra of its name."""
