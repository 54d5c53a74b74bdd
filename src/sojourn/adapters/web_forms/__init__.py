"""Dialogs in a browser, as plain HTML forms that need no JavaScript: `pip install "sojourn[server]"`.

    web = WebForms(dialogs, user=who_asks)
    app = Starlette(routes=[Route("/refund", refund, methods=["POST"]), Mount("/dialogs", app=web)])

    async def refund(request: Request) -> Response:
        return await web.start(Refund, request, data=Order("17"))

A page shows what the dialog's record says, so it can be read and answered on any server, after any restart.
"""

from sojourn.errors import MissingExtraError

try:
    from sojourn.adapters.web_forms.app import MaySee, WebForms, Who
    from sojourn.adapters.web_forms.words import PageWords
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "starlette":
        raise
    raise MissingExtraError("server", "starlette") from error

__all__ = ["MaySee", "PageWords", "WebForms", "Who"]
