"""A new token for a session: renewal, signing in, signing out."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from msgspec import UNSET, UnsetType

from sojourn import limits
from sojourn.errors import InvalidError, LimitError
from sojourn.kernel import Attempt, DeleteSpan, Put, Touch
from sojourn.sessions import layout, lifecycle, model
from sojourn.sessions.door import Door, Entry
from sojourn.sessions.lifecycle import View
from sojourn.sessions.model import Credential, Mode, Terms

__all__ = ["Rotation", "rotate"]


class Rotation(msgspec.Struct, frozen=True):
    """What is asked for. `subject` and `label` stay as they are when unset."""

    credential: Credential
    subject: str | UnsetType | None
    label: str | UnsetType | None
    grace: timedelta
    minted: str | None


async def rotate(door: Door, terms: Terms, rotation: Rotation, tx: Attempt) -> tuple[str, View]:
    """Give the session a new token within the attempt, and return it with the session as it will be.

    Raises:
        SessionInvalidError: the credential opens no session.
        InvalidError: a client-minted session was given no new id.
        UnavailableError: the store could not be reached.
    """
    entry = await door.look_in(tx, rotation.credential)
    old = entry.opened()
    session_id = entry.view.session_id
    keyring = await door.keyring()
    if terms.mode is Mode.MINTED:
        if rotation.minted is None:
            raise InvalidError("to", "the browser makes the ids here; give the new one")
        token, digests = rotation.minted, model.read_minted(rotation.minted, keyring).digests
    else:
        token = model.new_secret(session_id)
        digests = keyring.digests("secret", token)
    lasts = terms.lifetimes.absolute
    if rotation.subject is UNSET:
        lasts = entry.view.left(lasts)
        known = await tx.scan(msgspec.structs.replace(layout.secrets_of(session_id), limit=limits.SESSION_SECRETS))
        if len(known) == limits.SESSION_SECRETS:
            raise LimitError("tokens", limit=limits.SESSION_SECRETS, found=len(known) + 1, unit="tokens of a session")
        retiring = lifecycle.retiring(old, rotation.grace)
        if retiring is not None:
            tx.write(retiring)
    else:
        await _sign(tx, entry, rotation, terms)
    tx.write(Put(layout.secret(session_id, digests[0]), b"", ttl=lasts))
    return token, await lifecycle.view_in(tx, session_id)


async def _sign(tx: Attempt, entry: Entry, rotation: Rotation, terms: Terms) -> None:
    """Change the subject: every other token dies, and the absolute limit begins anew for all that the session owns."""
    session_id, old, lifetimes = entry.view.session_id, entry.opened(), terms.lifetimes
    facts = lifecycle.facts_of(entry.view.alive())
    facts = msgspec.structs.replace(
        facts,
        subject=facts.subject if rotation.subject is UNSET else rotation.subject,
        label=facts.label if rotation.label is UNSET else rotation.label,
        signed_in_at=None if rotation.subject is None else entry.view.now,
    )
    tx.write(DeleteSpan(layout.secrets_of(session_id)))
    if rotation.grace:
        tx.write(Put(old.key, lifecycle.IN_GRACE, ttl=rotation.grace))
    else:
        tx.write(Put(old.key, lifecycle.RETIRED, ttl=limits.ROTATION_GRACE))
    tx.write(
        lifecycle.recording(session_id, facts, lifetimes),
        lifecycle.touching_idle(session_id, lifetimes),
        Touch(layout.trace(session_id), ttl=lifetimes.absolute + limits.SESSION_TOMBSTONE),
    )
    for space in terms.owned:
        for record in await tx.scan(layout.owned(space, session_id)):
            tx.touch(record.key, ttl=lifetimes.absolute)
