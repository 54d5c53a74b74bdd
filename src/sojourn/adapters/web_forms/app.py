"""The application: who asks, what they are shown, and what becomes of what they send.

| answer | when                                                                                     |
|--------|------------------------------------------------------------------------------------------|
| 200    | the page of a dialog, also of one that has ended and is remembered; a form to fill in     |
| 303    | done, or done before by the same rendering: the page shows what came of it                |
| 400    | not sent by a page of ours, or forged                                                     |
| 401    | nobody is known to ask                                                                    |
| 403    | the dialog's filter, or `may_see`, refuses this person; the page is none of this browser's |
| 404    | no such dialog                                                                            |
| 409    | the page was older than what the dialog shows now, or somebody else is being handled      |
| 410    | the dialog has ended, or its time was over                                                |
| 413    | too large                                                                                 |
| 422    | too few or too many were chosen, or a field is empty or too full                          |
| 500    | the handler failed, and nothing was changed                                               |
| 503    | the store is away, or this process cannot read the dialog; with `Retry-After`             |

Who gets 409, 422 or 500 sees the page anew under what went wrong, with what they have written, and can go on there.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from sojourn.adapters.web_forms.inbox import Inbox, Waiting
from sojourn.adapters.web_forms.pages import STAMP, Pages, Sheet
from sojourn.adapters.web_forms.platform import WebPlatform
from sojourn.adapters.web_forms.posted import Posted, posted_of, read_fields
from sojourn.adapters.web_forms.seals import Seals, drawn
from sojourn.adapters.web_forms.style import STYLE
from sojourn.adapters.web_forms.words import PageWords
from sojourn.dialogs import (
    Cause,
    Completion,
    Dialog,
    DialogInfo,
    Dialogs,
    Dispatched,
    Form,
    Interaction,
    Kind,
    Select,
    User,
    mint,
)
from sojourn.errors import (
    CommitUnknownError,
    InvalidError,
    LimitError,
    SojournError,
    UnavailableError,
)

__all__ = ["MaySee", "WebForms", "Who"]

_log = logging.getLogger(__name__)

R = TypeVar("R")

Who: TypeAlias = Callable[[Request], Awaitable[User | None]]
"""Says who asks, None where nobody is known to. What it raises goes to the application it is mounted in."""

MaySee: TypeAlias = Callable[[User, DialogInfo], bool | Awaitable[bool]]
"""Says whether a person may see a dialog; whether they may use it is the affair of the dialog's filters."""

_PATH: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_ROUTE: Final = re.compile(r"/([A-Za-z0-9_-]{1,64})(/form)?")
_BROWSER: Final = re.compile(r"[A-Za-z0-9_-]{22}")
_READING: Final = ("GET", "HEAD")
_AGAIN: Final = {"retry-after": "1"}

_ALWAYS: Final = {
    "cache-control": "no-store",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}


class _Call(msgspec.Struct, frozen=True):
    """One request that concerns a dialog, by a person in a browser."""

    request: Request
    dialog_id: str
    user: User
    browser: str
    seals: Seals


class WebForms:
    """Serves the dialogs of one `Dialogs` as pages; `platform` is where they are started.

    It is an ASGI application, to be mounted at `path`, which is the path that browsers ask for. `user` says who asks;
    a visitor without an account is best named by something random in a session of theirs. `may_see` says who may see a
    dialog: its owner, unless it says otherwise. `title` and `style` are the pages' own, `words` what they say.
    `dev` lets the cookie that ties a page to its browser travel over plain HTTP.

    A dialog says one thing at a time here: `ctx.reply` takes the place of what was there, as `ctx.edit_origin` does.
    A form has a page of its own until it is sent, and a notice is shown on the next page that its person opens.

    Raises:
        InvalidError: the path is none.
    """

    def __init__(  # noqa: PLR0913  each is one independent setting
        self,
        dialogs: Dialogs,
        *,
        user: Who,
        may_see: MaySee | None = None,
        path: str = "/dialogs",
        title: str = "",
        style: str = STYLE,
        words: PageWords = PageWords(),  # noqa: B008  frozen
        dev: bool = False,
    ) -> None:
        if _PATH.fullmatch(path) is None:
            raise InvalidError("path", "it begins with a slash, does not end with one, and holds no escapes")
        self._dialogs = dialogs
        self._inbox = Inbox(dialogs.store)
        self._user = user
        self._may_see = may_see or _is_owner
        self.platform: Final = WebPlatform(path, self._inbox)
        self._words = words
        self._pages = Pages(title, style, words)
        self._cookie = "sojourn-forms" if dev else "__Host-sojourn-forms"
        self._is_secure = not dev
        self._sealing: Seals | None = None
        dialogs.add_platform(self.platform)

    def page(self, dialog_id: str) -> str:
        """Return the path of a dialog's page, for a link to it."""
        return f"{self.platform.path}/{dialog_id}"

    def interaction(self, user: User, dialog_id: str = "") -> Interaction:
        """Return what starts a dialog that this person finds on its page, where no request of theirs is at hand.

        `await dialogs.start(Approve, web.interaction(boss), data=order)`; then `page` says what link to send. A notice
        and a form of its start wait there too, if the dialog's id is given here as well.
        """
        return self.platform.begun(user, dialog_id)[0]

    async def start(  # noqa: PLR0913  those of `Dialogs.start`
        self,
        kind: type[Dialog[R]],
        request: Request,
        *,
        data: object = UNSET,
        id: str | None = None,  # noqa: A002  as in `Dialogs.start`
        ttl: timedelta | UnsetType | None = UNSET,
        on_end: Completion | str | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Response:
        """Start a dialog for whoever asks, and return the answer that leads them to its page, or says why not.

        Whether the request was meant is for the application to know, as with each of its own forms. With an `id` a
        form that was sent twice starts one dialog.

        Raises:
            DialogExistsError: there is a dialog of this id; `page` says where.
            InvalidError, LimitError: as `Dialogs.start`.
        """
        user = await self._user(request)
        if user is None:
            return self._word(HTTPStatus.UNAUTHORIZED, self._words.sign_in)
        dialog_id = mint() if id is None else id
        interaction, exchange = self.platform.begun(user, dialog_id)
        try:
            handle = await self._dialogs.start(
                kind, interaction, data=data, id=dialog_id, ttl=ttl, on_end=on_end, meta=meta
            )
        except (UnavailableError, CommitUnknownError) as error:
            return self._away(error)
        if handle.outcome == "denied":
            return self._word(HTTPStatus.FORBIDDEN, self._words.not_yours, exchange.said)
        if handle.outcome == "failed":
            return self._word(HTTPStatus.INTERNAL_SERVER_ERROR, self._words.broken, exchange.said)
        return self._on(handle.id, at_form=exchange.has_form)

    # -- As an application --------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
            return
        request = Request(scope, receive)
        try:
            response = await self._answer(request)
        except ClientDisconnect:
            return
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        root: str = request.scope.get("root_path", "")
        path: str = request.scope["path"].removeprefix(root)
        found = _ROUTE.fullmatch(path if root.endswith(self.platform.path) else path.removeprefix(self.platform.path))
        if found is None:
            return self._word(HTTPStatus.NOT_FOUND, self._words.unknown)
        dialog_id, at_form = found.groups()
        is_sent = request.method == "POST" and not at_form
        if not is_sent and request.method not in _READING:
            allow = ", ".join(_READING if at_form else (*_READING, "POST"))
            return self._word(HTTPStatus.METHOD_NOT_ALLOWED, self._words.method, headers={"allow": allow})
        try:
            user = await self._user(request)
        except (UnavailableError, CommitUnknownError) as error:  # what else it raises is the application's own
            return self._away(error)
        if user is None:
            return self._word(HTTPStatus.UNAUTHORIZED, self._words.sign_in)
        try:
            call = await self._call(request, dialog_id, user)
            if is_sent:
                return await self._take(call)
            return await (self._show_form(call) if at_form else self._show(call))
        except (UnavailableError, CommitUnknownError) as error:
            return self._away(error)
        except ClientDisconnect:
            raise
        except Exception:  # noqa: BLE001  whatever it is, its person gets an answer, and the log the story
            _log.exception("a request for the page of dialog %s failed", dialog_id)
            return self._word(HTTPStatus.INTERNAL_SERVER_ERROR, self._words.broken)

    async def _call(self, request: Request, dialog_id: str, user: User) -> _Call:
        if self._sealing is None:
            self._sealing = Seals(await self._dialogs.keys())
        browser = request.cookies.get(self._cookie, "")
        if _BROWSER.fullmatch(browser) is None:
            browser = drawn()
        return _Call(request, dialog_id, user, browser, self._sealing)

    # -- What is shown ------------------------------------------------------------------------------------------------

    async def _show(self, call: _Call, status: HTTPStatus = HTTPStatus.OK, told: Sequence[str] = ()) -> Response:
        """Answer with the dialog as it stands; a status that is not OK says what was told went wrong."""
        found = await self._look(call)
        if isinstance(found, Response):
            return found
        info, waiting = found
        rows = () if info.view is None else info.view.rows
        shown = [one for row in rows for one in row if isinstance(one, Select)]
        sheet = self._sheet(call, shown, (*told, *waiting.texts), is_trouble=status is not HTTPStatus.OK)
        return self._html(call, self._pages.dialog(sheet, info), status)

    async def _show_form(self, call: _Call) -> Response:
        found = await self._look(call)
        if isinstance(found, Response):
            return found
        info, waiting = found
        if waiting.form is None or info.ended is not None or info.is_overdue:
            return self._on(call.dialog_id)
        sheet = self._sheet(call, [waiting.form], waiting.texts)
        return self._html(call, self._pages.form(sheet, waiting.form, {}), HTTPStatus.OK)

    async def _look(self, call: _Call) -> tuple[DialogInfo, Waiting] | Response:
        """Return the dialog and what waits there for this person, or the answer for who may not see it."""
        info, waiting = await asyncio.gather(
            self._dialogs.get(call.dialog_id), self._inbox.look(call.dialog_id, call.user)
        )
        if info is None or info.platform != self.platform.name:
            return self._word(HTTPStatus.NOT_FOUND, self._words.unknown)
        may = self._may_see(call.user, info)
        if not (may if isinstance(may, bool) else await may):
            return self._word(HTTPStatus.FORBIDDEN, self._words.not_yours)
        if waiting.notices and call.request.method != "HEAD":
            await self._tidy(call, lambda now: now.without(waiting.notices))
        return info, waiting

    def _sheet(
        self, call: _Call, shown: Sequence[Select | Form], told: Sequence[str] = (), *, is_trouble: bool = False
    ) -> Sheet:
        stamp = call.seals.stamp(call.browser, call.user, call.dialog_id)
        sealed = {one.token: call.seals.component(one) for one in shown}
        return Sheet(self.page(call.dialog_id), stamp, sealed, told, is_trouble)

    async def _tidy(self, call: _Call, change: Callable[[Waiting], Waiting]) -> None:
        """Take away what was shown or sent; where that fails it is shown once more, which is better than an error."""
        try:
            await self._inbox.change(call.dialog_id, call.user, change)
        except SojournError as error:
            _log.warning("what was shown of dialog %s is kept: %s", call.dialog_id, error)

    # -- What is sent -------------------------------------------------------------------------------------------------

    async def _take(self, call: _Call) -> Response:
        """Have the dialog handle what was sent, if it was sent by a page that this browser was shown."""
        try:
            fields = await read_fields(call.request)
        except LimitError:
            return self._word(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, self._words.too_large)
        except InvalidError:
            return self._malformed(call)
        stamp = fields.get(STAMP, ("",))[0]
        delivery = call.seals.delivery(stamp, call.browser, call.user, call.dialog_id)
        if delivery is None:
            return await self._show(call, HTTPStatus.FORBIDDEN, [self._words.other_browser])
        try:
            posted = posted_of(fields, call.seals, self._words)
        except InvalidError:
            return self._malformed(call)
        if posted.problem is not None:
            return await self._again(call, posted, HTTPStatus.UNPROCESSABLE_ENTITY, [posted.problem])
        interaction, exchange = self.platform.begun(call.user, call.dialog_id)
        interaction = msgspec.structs.replace(
            interaction,
            kind=posted.kind,
            delivery_id=delivery,
            token=posted.token,
            values=posted.values,
            fields=posted.fields,
            raw=call.request,
        )
        handled = await self._dialogs.dispatch(interaction)
        match handled.result:
            case "kept" | "refreshed" | "ended":
                if posted.kind is Kind.MODAL and not exchange.has_form:
                    await self._tidy(call, lambda now: now.with_form(None))
                return self._on(call.dialog_id, at_form=exchange.has_form)
            case "duplicate":
                waiting = await self._inbox.look(call.dialog_id, call.user)
                return self._on(call.dialog_id, at_form=waiting.form is not None and waiting.opened_by == delivery)
            case _:
                return await self._refused(call, posted, handled, exchange.said)

    async def _refused(self, call: _Call, posted: Posted, handled: Dispatched, said: Sequence[str]) -> Response:
        """Answer where the dialog did not take what was sent."""
        match handled.result:
            case "denied":
                return self._word(HTTPStatus.FORBIDDEN, self._words.not_yours, said)
            case "stale":
                return await self._show(call, HTTPStatus.CONFLICT, said)
            case "busy" | "dropped":
                return await self._again(call, posted, HTTPStatus.CONFLICT, said)
            case "failed":
                return await self._again(call, posted, HTTPStatus.INTERNAL_SERVER_ERROR, said)
            case "unavailable":
                return self._away(handled.error)
            case "missing":
                return self._missing(handled.cause, said)
            case _:
                return self._malformed(call)

    async def _again(self, call: _Call, posted: Posted, status: HTTPStatus, told: Sequence[str]) -> Response:
        """Answer with the page on which something can be mended: the form as it was filled in, or the dialog."""
        if posted.form is None:
            return await self._show(call, status, told)
        sheet = self._sheet(call, [posted.form], told, is_trouble=True)
        return self._html(call, self._pages.form(sheet, posted.form, posted.fields), status)

    def _missing(self, cause: Cause | None, said: Sequence[str]) -> Response:
        if cause in {Cause.EXPIRED, Cause.ENDED}:
            return self._word(HTTPStatus.GONE, self._words.over, said)
        if cause in {Cause.VERSION, Cause.UNREGISTERED}:
            return self._word(HTTPStatus.SERVICE_UNAVAILABLE, self._words.away, said, headers=_AGAIN)
        return self._word(HTTPStatus.NOT_FOUND, self._words.unknown, said)

    # -- Answers ------------------------------------------------------------------------------------------------------

    def _on(self, dialog_id: str, *, at_form: bool = False) -> Response:
        """Lead to the page of a dialog, or to its form."""
        where = f"{self.page(dialog_id)}/form" if at_form else self.page(dialog_id)
        return RedirectResponse(where, HTTPStatus.SEE_OTHER, headers=_ALWAYS)

    def _malformed(self, call: _Call) -> Response:
        return self._word(HTTPStatus.BAD_REQUEST, self._words.malformed, href=self.page(call.dialog_id))

    def _away(self, error: Exception | None) -> Response:
        _log.warning("a page waits for the store: %s", error)
        return self._word(HTTPStatus.SERVICE_UNAVAILABLE, self._words.away, headers=_AGAIN)

    def _word(
        self,
        status: HTTPStatus,
        words: tuple[str, str],
        said: Sequence[str] = (),
        *,
        href: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Answer with a page that says something: what the dialog has said, or else these words."""
        heading, text = words
        page = self._pages.word(heading, said or [text], href)
        return HTMLResponse(page, status, headers={**_ALWAYS, **self._policy, **(headers or {})})

    def _html(self, call: _Call, page: str, status: HTTPStatus) -> Response:
        response = HTMLResponse(page, status, headers={**_ALWAYS, **self._policy})
        if call.request.cookies.get(self._cookie) != call.browser:
            response.set_cookie(self._cookie, call.browser, secure=self._is_secure, httponly=True, samesite="lax")
        return response

    @property
    def _policy(self) -> Mapping[str, str]:
        return {"content-security-policy": self._pages.policy}


def _is_owner(user: User, info: DialogInfo) -> bool:
    return (user.tenant, user.id) == (info.owner.tenant, info.owner.id)
