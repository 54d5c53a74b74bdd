"""Options that many commands have."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

__all__ = ["ID", "JsonOption", "StoreOption", "YesOption"]

StoreOption: TypeAlias = Annotated[
    str | None,
    Parameter(name="--store", env_var="SOJOURN_STORE", help="URL of the store, for example sqlite:///app.db."),
]
JsonOption: TypeAlias = Annotated[
    bool,
    Parameter(name="--json", negative="", show_default=False, help="Print one JSON document, for programs."),
]
YesOption: TypeAlias = Annotated[bool, Parameter(name="--yes", negative="", show_default=False, help="Do not ask.")]
# Ids and tokens are random, and one in 64 begins with a hyphen.
ID: Final = Parameter(allow_leading_hyphen=True)
