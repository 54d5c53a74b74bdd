"""What the pages say of themselves, apart from what dialogs say."""

from __future__ import annotations

import msgspec

__all__ = ["PageWords"]


class PageWords(msgspec.Struct, frozen=True, kw_only=True):
    """What the pages say of themselves; `language` is that of all of them, as in `de` or `pt-BR`."""

    language: str = "en"
    nothing_yet: str = "One moment. There is nothing to see here yet."
    finished: str = "This is finished. There is nothing left to do here."
    expired: str = "The time for an answer is over."
    cancelled: str = "This was called off."
    open_until: str = "Open until {time}."
    look_again: str = "Look again"
    choose: str = "Choose"
    choose_one: str = "Choose one"
    choose_exactly: str = "Choose {most}"
    choose_up_to: str = "Choose up to {most}"
    choose_between: str = "Choose {least} to {most}"
    send: str = "Send"
    optional: str = "optional"
    back: str = "Back, without sending it"
    too_few: str = "Please choose at least {least}."
    too_many: str = "Please choose at most {most}."
    missing: str = "Please fill in “{label}”."
    too_long: str = "“{label}” has room for {most} characters, and {found} were written."
    other_browser: str = (
        "This page did not come from here, or is too old, so nothing was done. Here is how it stands; please try again."
    )
    sign_in: tuple[str, str] = ("Who are you?", "Please sign in, then open this page again.")
    not_yours: tuple[str, str] = ("This is not yours", "Somebody else was asked. If it should be you, ask them.")
    unknown: tuple[str, str] = ("There is nothing here", "It was never begun, or it ended a good while ago.")
    over: tuple[str, str] = ("This is over", "Nothing can be answered here any more.")
    malformed: tuple[str, str] = ("That was not understood", "Nothing was done. Please open the page again.")
    too_large: tuple[str, str] = ("That is too much", "Nothing was done. Please go back and send less.")
    method: tuple[str, str] = ("That cannot be done here", "A page can be looked at, and its forms can be sent.")
    broken: tuple[str, str] = ("Something went wrong", "It is our fault, and we have been told. Please try again.")
    away: tuple[str, str] = ("One moment, please", "This cannot be reached just now. Please try again in a moment.")
    on: str = "Open the page"
