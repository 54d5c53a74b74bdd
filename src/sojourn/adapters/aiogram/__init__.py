"""Bots of aiogram whose dialogs, states and data survive restarts: `pip install "sojourn[aiogram]"`.

    async with sojourn.open("sqlite:///bot.db") as store:
        dispatcher = Dispatcher(storage=DurableStorage(store), events_isolation=LeaseIsolation(store))

So nothing of a bot changes: FSM, Scenes and aiogram-dialog keep in sojourn what they had in memory. Dialogs of
`sojourn.dialogs` come into its chats by a router:

    telegram = Telegram(Dialogs(store), bot)
    dispatcher.include_router(telegram.router)
"""

from sojourn.errors import MissingExtraError

try:
    from sojourn.adapters.aiogram.dispatching import Roles, Telegram
    from sojourn.adapters.aiogram.isolation import LeaseIsolation
    from sojourn.adapters.aiogram.storage import DurableStorage
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "aiogram":
        raise
    raise MissingExtraError("aiogram", "aiogram") from error

__all__ = ["DurableStorage", "LeaseIsolation", "Roles", "Telegram"]
