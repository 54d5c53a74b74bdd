"""A kit for tests of dialogs: what people do, without a platform, and a desk where they sit and look.

    def make(store: Store) -> Dialogs:
        dialogs = Dialogs(store)
        dialogs.register("approve")(Approve)
        return dialogs

    async with sojourn.open("memory:", clock=ManualClock()) as store, Desk(store, make) as desk:
        handle = await desk.start(Approve, data=Order("17"))
        assert desk.view.text == "Ship 17?"
        await desk.restart()
        await desk.click("Yes")
        assert (await desk.handle(handle.id).wait()).result is True

Without a desk, `command`, `button`, `select`, `modal`, `message` and `callback` make one interaction each, to be handed
to `Dialogs.start` or `Dialogs.dispatch`; how it was answered stands in it afterwards.
"""

from sojourn.testing.dialogs.acting import ANN, Action, Sender, Shown, button, callback, command, message, modal, select
from sojourn.testing.dialogs.desk import Desk
from sojourn.testing.dialogs.screen import RecordedInteraction, Screen

__all__ = [
    "ANN",
    "Action",
    "Desk",
    "RecordedInteraction",
    "Screen",
    "Sender",
    "Shown",
    "button",
    "callback",
    "command",
    "message",
    "modal",
    "select",
]
