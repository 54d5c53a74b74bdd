"""Options that many commands have."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from cyclopts import Parameter

from sojourn import limits

__all__ = ["AfterOption", "ID", "JsonOption", "LimitOption", "StoreOption", "YesOption"]

StoreOption: TypeAlias = Annotated[
    str | None,
    Parameter(name="--store", env_var="SOJOURN_STORE", help="URL of the store, for example sqlite:///app.db."),
]
JsonOption: TypeAlias = Annotated[
    bool,
    Parameter(name="--json", negative="", show_default=False, help="Print one JSON document, for programs."),
]
LimitOption: TypeAlias = Annotated[int, Parameter(name="--limit", help=f"How many at most, up to {limits.PAGE_MAX}.")]
AfterOption: TypeAlias = Annotated[
    str | None, Parameter(name="--after", help="Go on behind a page, by what stands below it.")
]
YesOption: TypeAlias = Annotated[bool, Parameter(name="--yes", negative="", show_default=False, help="Do not ask.")]
# Ids and tokens are random, and one in 64 begins with a hyphen.
ID: Final = Parameter(allow_leading_hyphen=True)
