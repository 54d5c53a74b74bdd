"""Numbers on which promises and stored data depend: they stay."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

SPACE_BYTES: Final = 64
"""Bytes of a space's name in UTF-8. Spaces are chosen by faces, never by users."""

PARTITION_BYTES: Final = 512
"""Bytes of a partition in UTF-8. Long enough for any id or token part, short enough for every engine's index."""

ITEM_BYTES: Final = 1_024
"""Bytes of an item in UTF-8. As for partitions, with room for a prefix and an order."""

VALUE_BYTES: Final = 1_048_576
"""Bytes of one record's value. Larger values are split into chunks, so that no engine has to move one huge row."""

RANK_MAX: Final = 2**52
"""Greatest rank, and the negative of the least. Redis scripts compute with doubles, exact up to there."""

TTL_MAX: Final = timedelta(days=36_525)
"""Longest time to live: a hundred years. Keeps every instant far inside the range of a rank."""

TRANSACTION_GUARDS: Final = 2_000
"""Guards of one transaction. Each is judged while a partition is held."""

TRANSACTION_WRITES: Final = 2_000
"""Writes of one transaction. A longer job is done in steps, each with its own commit."""

TRANSACTION_READS: Final = 1_000
"""Keys and spans, together, of one read."""

TRANSACTION_BYTES: Final = 33_554_432
"""Bytes of keys and values that one transaction writes. Room for a document of 10 MB and its entry in the history."""

SPAN_GUARD_RECORDS: Final = 1_000
"""Records that one guard over a span may cover. The cost of judging it is linear."""

DELETE_SPAN_RECORDS: Final = 1_000
"""Records that one deletion of a span may remove. It delays every transaction behind it."""

PAGE: Final = 100
"""Records of a page when the caller names no limit."""

PAGE_MAX: Final = 1_000
"""Records of the largest page. A listing goes on from its cursor."""

CURSOR_CHARS: Final = 4_096
"""Characters of a cursor. Longer text is refused before it is decoded."""

RECEIPT_KEEP: Final = timedelta(minutes=15)
"""How long a transaction id is remembered. Far longer than any caller repeats a lost commit."""

CHANGE_LOG_KEEP: Final = timedelta(minutes=10)
"""How long a change can be read from the log. A watcher that stays away longer is told of a gap."""

CHANGE_LOG_ROWS: Final = 1_000_000
"""Rows kept in the change log. Whichever of age and number is reached first."""

SESSION_IDLE: Final = timedelta(minutes=30)
"""Idle limit of a session when none is given. What standards call low risk."""

SESSION_IDLE_MIN: Final = timedelta(seconds=1)
"""Shortest idle limit of a session. Below it activity could not be noted in steps."""

SESSION_ABSOLUTE: Final = timedelta(days=14)
"""Absolute limit of a session when none is given. Two weeks, as web frameworks have taught people to expect."""

SESSION_ABSOLUTE_MAX: Final = timedelta(days=3_650)
"""Longest absolute limit of a session. Ten years; what lives longer is an account."""

SESSION_TOUCH_MAX: Final = timedelta(minutes=1)
"""Coarsest step in which the use of a session is noted. Most requests then write nothing."""

SESSION_TOMBSTONE: Final = timedelta(hours=1)
"""How long an ended session is told from an unknown one. Longer than any request is in flight."""

SESSION_STATES: Final = 100
"""Named states of one session. A session that needs more wants one larger state, or a collection."""

SESSION_SECRETS: Final = 100
"""Tokens that open one session at a time. Signing in ends them all in one commit."""

SUBJECT_CHARS: Final = 128
"""Characters of a subject. Room for any user id or address."""

LABEL_CHARS: Final = 200
"""Characters of a session's label. Room for a browser and a place."""

TOKEN_CHARS: Final = 256
"""Characters of a token or a client-minted id. Longer text is refused before it is looked at."""

ROTATION_GRACE: Final = timedelta(seconds=10)
"""How long the old token lives after a renewal. Time for the other tabs' requests to arrive."""

ROTATION_GRACE_MAX: Final = timedelta(minutes=5)
"""Longest grace of a rotation. A token that lives on for longer has not been rotated."""

REQUEST_KEEP: Final = timedelta(hours=24)
"""How long the result of a mutation is kept by its request id. Longer than any client keeps repeating a call."""

REQUEST_ID_CHARS: Final = 64
"""Characters of a request id. Room for a UUID and a prefix."""

RESULT_BYTES: Final = 1_000_000
"""Bytes of a function's result as JSON. It fits one record, so that a repeated mutation can be answered from it."""

ARGUMENTS_BYTES: Final = 1_000_000
"""Bytes of a function's arguments as JSON."""

OPERATOR_TOKEN_CHARS: Final = 16
"""Fewest characters of an operator's token. Nobody guesses as many, if they are random."""

NAME_CHARS: Final = 48
"""Characters of the name of a function or a collection. It is part of a space's name and of a URL."""

LAYERS: Final = 16
"""Layers around one function. More would hide what a call does."""

VISITOR_CHARS: Final = 128
"""Characters of a visitor's id. Room for any random id, or for an application's own."""

VISIT_ACTIVE_FOR: Final = timedelta(minutes=15)
"""How long a visitor counts as here after the last sign of life, when nothing else is said."""

VISIT_PRECISION: Final = timedelta(minutes=1)
"""Step in which activity is stored. Most heartbeats then write nothing; "active" is exact to one step."""

VISIT_PRECISION_MIN: Final = timedelta(milliseconds=1)
"""Finest step in which activity is stored: the resolution of every instant."""

VISIT_INTERVAL: Final = timedelta(minutes=5)
"""Pause between two heartbeats of a browser; shorter where "here" is to end sooner. A page that is closed says so, and
only one that crashed is noticed late."""

VISIT_IDLE: Final = timedelta(minutes=30)
"""Pause after which a visitor who comes back begins a new visit. What analytics products agree on."""

VISIT_LONGEST: Final = timedelta(hours=24)
"""Longest visit, however active. A page that is never closed does not make one visit of a year."""

VISIT_RETENTION: Final = timedelta(days=14)
"""How long actions and visits are kept, and how long a visitor who stays away is."""

VISIT_CLEANUP_AGE: Final = timedelta(days=30)
"""Age from which a cleanup deletes visitors, when none is given."""

ACTION_CHARS: Final = 128
"""Characters of the name of an action."""

RESOURCE_CHARS: Final = 512
"""Characters of the id of what an action was done to. Room for a path."""

METADATA_BYTES: Final = 8_192
"""Bytes of an action's metadata as JSON. Facts about an action; what is larger belongs elsewhere."""

METADATA_DEPTH: Final = 16
"""Levels of nesting in an action's metadata, and in what a member of a room shows of itself."""

ACTION_BATCH: Final = 500
"""Actions of one batch. It fits the 64 KiB that a page may send while it closes."""

ACTION_AGE: Final = timedelta(hours=24)
"""How long a batch is recognised when it comes again, and how old an action may be when it arrives."""

ROOM_CHARS: Final = 128
"""Characters of the name of a room."""

ROOM_INTERVAL: Final = timedelta(seconds=10)
"""Pause between two heartbeats of a tab in a room, when none is given."""

ROOM_DEADLINE: Final = 2.5
"""Intervals without a heartbeat after which a tab has left its room. Browsers delay the timers of hidden pages."""

ROOM_MEMBERS: Final = 1_000
"""Members of a room that a listing shows."""

ROOM_TAB_CHARS: Final = 64
"""Characters of the id of a tab in a room. Room for a UUID and a prefix."""

ROOM_TOKEN_CHARS: Final = 2_048
"""Characters of what leaves a room. It names room, member and tab, and longer text is refused before it is read."""

ROOM_SEAT: Final = timedelta(hours=24)
"""How long the id of a tab that neither leaves nor asks for its token stands for one room and member."""

ROOM_DATA_BYTES: Final = 4_096
"""Bytes of what a member shows of itself in a room, as JSON: a cursor, a mood."""

DOCUMENT_NAME_CHARS: Final = 40
"""Characters of the name of documents of one kind. It is part of the names of their spaces."""

DOCUMENT_KEY_CHARS: Final = 128
"""Characters of a document's key. Room for any user id, UUID or path of a few parts."""

HOLDER_CHARS: Final = 200
"""Characters of what names a holder of documents to people."""

DOCUMENT_BYTES: Final = 12_000_000
"""Bytes of a document as JSON. With what must be known of it, it still is one chunked value."""

DOCUMENT_LEASE: Final = timedelta(seconds=30)
"""How long a holder that says nothing more keeps a document. As for any lease."""

DOCUMENT_AUTOSAVE: Final = timedelta(minutes=5)
"""Pause between two saves of a document that keeps changing: the most that a crash can lose of it."""

DOCUMENT_AUTOSAVE_MIN: Final = timedelta(milliseconds=100)
"""Shortest pause between two of these. Who needs each change kept saves, or uses a transaction."""

DOCUMENT_HISTORY: Final = 20
"""Saved revisions that are kept of a document, when nothing else is said."""

DOCUMENT_HISTORY_MAX: Final = 500
"""Saved revisions that can be kept of a document. One save can let all of them go."""

DOCUMENT_INLINE_BYTES: Final = 4_096
"""Bytes of JSON up to which a saved revision is kept beside what is known of it. A listing reads both."""

DOCUMENT_SUBJECTS: Final = 100
"""Subjects of one document."""

DOCUMENT_TRANSACTION: Final = 100
"""Documents of one transaction. Each is held while it runs."""

DOCUMENT_WAIT: Final = timedelta(seconds=5)
"""How much longer than a lease a loader waits, when nothing else is said. So a holder that crashed fails nobody."""

MIGRATIONS: Final = 1_000
"""Migration steps of documents of one kind. Their names are kept with each document."""

MIGRATION_CHARS: Final = 100
"""Characters of the name of a migration step."""

MESSAGE_BYTES: Final = 65_536
"""Bytes of a message to a document, as JSON."""

MESSAGE_ID_CHARS: Final = 64
"""Characters of the id of a message. Room for a UUID and a prefix."""

MESSAGE_KEEP: Final = timedelta(hours=24)
"""How long a message's id is remembered, so that it is not taken twice."""

SNAPSHOT_SESSION_BYTES: Final = 256
"""Bytes of the id of a session of snapshots in UTF-8. With its tenant it is a partition."""

SNAPSHOT_TENANT_BYTES: Final = 100
"""Bytes of the name of a tenant in UTF-8. Room for any user id."""

SNAPSHOT_ID_BYTES: Final = 900
"""Bytes of the id of a snapshot in UTF-8. An id that is made here quotes the id of its session."""

SNAPSHOT_NAME_BYTES: Final = 100
"""Bytes of the name of a branch in UTF-8."""

SNAPSHOT_STATE_BYTES: Final = 12_000_000
"""Bytes of a snapshot's state as JSON. Whole, with what must be known of it, it still is one chunked value."""

SNAPSHOT_LEASE: Final = timedelta(seconds=30)
"""How long a turn that says nothing more is waited for. As for any lease."""

SNAPSHOT_STALE: Final = timedelta(seconds=60)
"""Age of `heartbeat_at` from which a pending snapshot that no turn made has expired. What its runtimes agree on."""

SNAPSHOT_NOTE: Final = timedelta(minutes=1)
"""Age from which a note of where an id is can be taken over that led to nothing. Longer than a save is on its way."""

SNAPSHOT_WAIT: Final = timedelta(minutes=10)
"""How long a turn waits behind others when it is to queue, and nothing else is said. Longer than a model answers."""

SNAPSHOT_FORKS: Final = 32
"""Forks on the way to a state that a branch's first snapshot names. Further ones cost one more trip each so many."""

SNAPSHOT_SLACK_BYTES: Final = 4_096
"""Bytes that the differences behind a state may outweigh it by, beside its double, before it is stored whole."""

SNAPSHOT_APART_BYTES: Final = 16_384
"""Bytes above which what makes a state is kept apart, so that reading a run of them reads no large one in vain."""

SNAPSHOT_RECORD_BYTES: Final = 128
"""Bytes that reading one more record is taken to cost, so that many tiny differences do not make a long way."""

SNAPSHOT_CACHE_BYTES: Final = 67_108_864
"""Bytes of states that one process keeps, so that it reads only what it has not seen."""

SNAPSHOT_CACHE_SESSIONS: Final = 10_000
"""Sessions of which one process remembers on which branch their newest leaf is."""

SNAPSHOT_PARTS_DEPTH: Final = 4
"""Levels of objects within a state that are compared by name. What lies deeper is stored anew when it changes. It may
grow, and must never shrink: stored changes rely on it."""

SNAPSHOT_GLANCES: Final = 8
"""Times a turn is planned anew when its branch turns out to be taken, before it waits: some have it for a moment."""

SNAPSHOT_TRIES: Final = 3
"""Times a state is put together anew that a prune may have moved while it was read."""

SNAPSHOT_LARGE_READS: Final = 400
"""Large states that are read in one trip."""

SNAPSHOT_STEP: Final = 200
"""Snapshots that one commit of a prune or a deletion takes away."""

DIALOG_ID_CHARS: Final = 64
"""Characters of a dialog's id. Letters, digits, `_` and `-`: an id stands in every token of its dialog."""

DIALOG_NAME_CHARS: Final = 64
"""Characters of the name of a dialog's type, of an action, of a platform."""

DIALOG_TTL_MAX: Final = timedelta(days=366)
"""Longest time to live of a dialog. None says that it does not end by itself."""

DIALOG_TTL: Final = timedelta(minutes=3)
"""Time to live of a dialog whose type says nothing else, as in the bot framework that this face is like."""

DIALOG_RETAIN: Final = timedelta(hours=1)
"""How long the end of a dialog is remembered: a late click is told why, and a late waiter gets the result."""

DIALOG_DELIVERY_KEEP: Final = timedelta(hours=1)
"""How long a delivery is known to have been handled. No platform repeats one for longer."""

DIALOG_DELIVERY_CHARS: Final = 200
"""Characters of a delivery's id. Longer ones are kept as their hash."""

DIALOG_DATA_BYTES: Final = 262_144
"""Bytes of a dialog's data, and of its result, as JSON text. They travel with each click; files belong elsewhere."""

DIALOG_REASON_CHARS: Final = 1_000
"""Characters of the reason for which a dialog ended. A sentence for people."""

DIALOG_TEXT_CHARS: Final = 100_000
"""Characters of what one interaction says: the text of a message, a field, a value. No platform sends more."""

DIALOG_TOKEN_CHARS: Final = 4_096
"""Characters of a dialog's token. Longer text is no token, and is not looked at."""

WEB_FIELDS: Final = 1_000
"""Fields of one form that a browser sends. No page has as many."""

WEB_NOTICES: Final = 10
"""Notices that wait for one person on the page of one dialog. The oldest is forgotten first."""

WEB_NOTICE_CHARS: Final = 2_000
"""Characters of such a notice; the rest of a longer one is cut off."""

WEB_WAITING: Final = timedelta(hours=1)
"""How long a notice that was not yet shown, or a form that was not yet sent, waits for its person."""

DIALOG_KEYS: Final = 16
"""Keys by which a process knows tokens of its dialogs: the newest, and those that it replaced. Each is tried."""

DIALOG_KEY_BYTES: Final = 16
"""Fewest bytes of a key that signs tokens of dialogs. Nobody guesses as many, if they are random."""

DIALOG_PAGE_MAX: Final = 999_999_999
"""Greatest page that a token may name."""

SCHEDULED_KEEP: Final = timedelta(days=7)
"""How long it is known what became of a scheduled call. Time to look into what happened on a weekend."""

SCHEDULE_RANGE: Final = timedelta(days=1_826)
"""Farthest instant that something is scheduled for. Five years; what is later is a plan, not a schedule."""

SCHEDULED_ACTION: Final = timedelta(minutes=10)
"""How long a scheduled action may take. Then, or when its process died, it counts as failed."""

SCHEDULED_CALLS: Final = 900
"""Calls that one call may schedule. Each is two writes of its commit, which leaves room for others."""

CRONS: Final = 100
"""Crons of one application."""

CRON_NAME_CHARS: Final = 100
"""Characters of the name of a cron."""
