"""Every number that sojourn enforces, with its unit and its reason.

`docs/reference/limits.md` is made from this module. Nothing outside it may bound a queue, a page or a body by a
number of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

# == By design

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

# == For now

BATCH_TRANSACTIONS: Final = 512
"""Transactions that one commit of the engine takes. Past that the gain of a batch is spent and its neighbours wait."""

BATCH_SHARE: Final = 16
"""Transactions from which a batch is shared out over those that an engine takes at a time. Fewer are not worth two
trips."""

BATCH_BYTES: Final = 4_194_304
"""Bytes of one batch. One larger transaction travels alone."""

WAITING_TRANSACTIONS: Final = 10_000
"""Transactions that may wait in one store. Beyond it callers are told at once instead of waiting unseen."""

WAITING_BYTES: Final = 67_108_864
"""Bytes that may wait in one store. As for the number of transactions."""

RUN_ATTEMPTS: Final = 64
"""Attempts of one call of `run`. With one attempt per process in flight, even two busy processes need far fewer."""

RUN_BACKOFF_MAX: Final = timedelta(milliseconds=20)
"""Longest pause before an attempt is repeated. Only a rival in another process makes it wait at all."""

REPEAT_ATTEMPTS: Final = 6
"""Times the kernel sends a batch whose answer was lost. After that the outcome is reported as unknown."""

REPEAT_BACKOFF_MAX: Final = timedelta(seconds=1)
"""Longest pause between two of these."""

SUBSCRIPTION_KEYS: Final = 10_000
"""Changed keys that one subscription holds for a slow reader. Beyond it the reader is told of a gap."""

CHANGES_WAIT: Final = timedelta(seconds=5)
"""How long one question for changes may wait in the engine. The kernel then asks again."""

CHUNK_BYTES: Final = 262_144
"""Bytes of one chunk of a large value. Small enough for any engine's packet, large enough for few rows."""

CHUNKED_BYTES: Final = 12_582_912
"""Bytes of the largest chunked value. With its keys and headers it still fits one transaction."""

COMPRESS_FROM_BYTES: Final = 4_096
"""Bytes from which an encoded value is compressed. Below it nothing is gained that the reader would notice."""

JSON_DEPTH: Final = 64
"""Levels of nesting in a decoded value. Deeper input is refused before it costs a stack."""

LEASE_TTL: Final = timedelta(seconds=30)
"""Time to live of a lease when the caller names none. Longer than a pause, shorter than a person's patience."""

LEASE_TTL_MIN: Final = timedelta(milliseconds=100)
"""Shortest time to live of a lease. Below it the renewals would outweigh the work."""

LEASE_RENEWALS: Final = 3
"""Renewals attempted within one time to live, so that one failed renewal is only a warning."""

LEASE_WAITERS: Final = 1_000
"""Callers of one process that may wait for one lease."""

DUE_PAGE: Final = 100
"""Timers or effects that a worker looks at in one round."""

DUE_POLL: Final = timedelta(seconds=1)
"""Longest pause of a worker between two looks. A change that falls due earlier wakes it earlier."""

DUE_CLAIM: Final = timedelta(seconds=30)
"""How long a worker may keep a timer or an effect without renewing its claim."""

DUE_BACKOFF_MAX: Final = timedelta(minutes=15)
"""Longest pause before a failed timer or effect is tried again."""

SWEEP_RECORDS: Final = 500
"""Expired records that one step of a sweep removes. It shares the writer with everybody else."""

SQLITE_BUSY: Final = timedelta(seconds=5)
"""How long a commit waits for another process that writes to the same file."""

SQLITE_POLL: Final = timedelta(milliseconds=10)
"""Pause between two looks for the changes of other processes, while somebody watches."""

SQLITE_LOOP_RECORDS: Final = 200
"""Records that a read may ask for and still run on the loop's thread. Longer ones run beside it."""

SQLITE_LOOP_BYTES: Final = 1_048_576
"""Bytes of values after which a read leaves the loop's thread and starts again beside it."""

SQLITE_LOG_KEYS: Final = 10_000
"""Changed keys after which one look into the log ends; the next one goes on. The loop waits while it is decoded."""

SQLITE_TURN: Final = timedelta(milliseconds=50)
"""How long a batch waits for its turn among processes before it tries without. A stopped process delays nobody for
more; a busy one is waited for again."""

SQLITE_TURN_PAUSE: Final = timedelta(microseconds=25)
"""Pause before a turn is tried again: a fraction of the shortest commit."""

SQLITE_TURN_PAUSE_MAX: Final = timedelta(microseconds=500)
"""Longest of these pauses, which double. The file may lie idle for as long."""

SQLITE_CHECKPOINT_PAGES: Final = 2_000
"""Pages in the write-ahead log from which a commit copies them into the database. Fewer: more copies of a page that
keeps changing. More: a longer wait for the commit that does it."""

SQLITE_WAL_BYTES: Final = 67_108_864
"""Bytes to which the write-ahead log is cut back after a long read has made it grow. Far above its usual size."""

SQLITE_CACHE_BYTES: Final = 16_777_216
"""Bytes of pages that each of an engine's three connections keeps in memory."""

POSTGRES_WRITERS: Final = 2
"""Connections to PostgreSQL that commit, each one batch at a time. While the server applies one, the next is made."""

POSTGRES_READERS: Final = 3
"""Connections of one process that read. So a long listing delays no short read, and many processes fit one server."""

POSTGRES_CONNECT: Final = timedelta(seconds=4)
"""How long a connection to one PostgreSQL host may take, sign-in included. Whole seconds, as libpq counts them."""

POSTGRES_ANSWER: Final = timedelta(seconds=10)
"""How long PostgreSQL may take to answer. Then the connection is given up, and the outcome of a commit is unknown."""

POSTGRES_LOCK: Final = timedelta(seconds=5)
"""How long a commit waits for another one in the same partition. Well below the time that an answer may take."""

POSTGRES_INSTALL: Final = timedelta(seconds=60)
"""How long making or upgrading the tables may take, with the wait for another process that does the same."""

POSTGRES_NUDGE: Final = timedelta(milliseconds=10)
"""Shortest pause between two nudges that tell other processes of changes. Each costs the server as much as a small
commit."""

POSTGRES_POLL: Final = timedelta(seconds=1)
"""Pause between two looks for the changes of other processes while nudges come. A lost one costs as much."""

POSTGRES_POLL_POOLED: Final = timedelta(milliseconds=50)
"""The same where no nudge can come, behind a pooler."""

POSTGRES_LOG_KEYS: Final = 50_000
"""Changed keys of one look into the log. Beyond it the watcher is told of a gap, and reads again."""

REDIS_BUCKETS: Final = 128
"""Buckets of a store on a Redis cluster, each in a hash slot of its own. Enough to spread over any number of servers
that is likely; a listing by rank asks all of them."""

REDIS_TRANSACTIONS: Final = 128
"""Transactions of one batch on Redis. A script holds up everybody else on its server for as long as it runs."""

REDIS_BATCHES: Final = 2
"""Batches sent to Redis before the first is answered. While the server applies one, the next is made."""

REDIS_CONNECT: Final = timedelta(seconds=2)
"""How long a connection to Redis may take, sign-in included. A server that is alive needs a thousandth of it."""

REDIS_ANSWER: Final = timedelta(seconds=5)
"""How long Redis may take to answer. Then the connection is given up, and the outcome of a commit is unknown."""

REDIS_LOG_ENTRIES: Final = 100
"""Entries, of one batch each, that one look into a bucket's change log returns; the next one goes on."""

REDIS_LOG_TRIM: Final = 10_000
"""Entries that one step of a sweep drops from a bucket's change log. The server waits meanwhile."""

REDIS_PROBE: Final = timedelta(milliseconds=100)
"""Pause between two tries of a cluster's server that does not answer, and between two looks at who holds what. Calls
to it fail at once meanwhile."""

REDIS_VIEWS: Final = 3
"""Servers of a cluster that are asked how they see it; the newest view counts. One alone may have been cut off."""

REDIS_MOVES: Final = 6
"""Pauses that a call makes on its way from one server of a cluster to the next, each twice as long as the last."""

REDIS_MOVE_PAUSE: Final = timedelta(milliseconds=1)
"""The first of these pauses: moving a small slot takes no longer. All of them together hold up nobody for long."""

REDIS_PATROL: Final = timedelta(seconds=1)
"""How long who watches a cluster trusts its servers to say what changes. Then it looks itself, in case a server has
taken over of which nobody has heard."""

BODY_BYTES: Final = 1_048_576
"""Bytes of a request's body. Arguments and what surrounds them; files belong elsewhere."""

HEADER_BYTES: Final = 16_384
"""Bytes of a request's headers, together."""

CALL_TIMEOUT: Final = timedelta(seconds=30)
"""How long one request may take. A person has gone by then."""

RATE_CALLS: Final = 6_000
"""Requests of one client address in a minute, over all processes. A hundred a second is no person."""

RATE_SESSIONS: Final = 120
"""Sessions that one client address may begin in a minute, over all processes. A flood of them stays small."""

RATE_BLOCKS: Final = 20
"""Parts of a budget, the largest that a process takes from the store at once. Fewer would waste more at its end."""

RATE_FIRST: Final = 1_000
"""Parts of a budget, the first that a process takes. It is lost when the process is killed."""

RATE_ADDRESSES: Final = 10_000
"""Client addresses whose budgets one process remembers. The longest unused is forgotten first."""

SWEEP_EVERY: Final = timedelta(minutes=1)
"""Pause between two sweeps of a server."""

STOP_GRACE: Final = timedelta(seconds=10)
"""How long a server that is asked to stop goes on answering what it has begun."""

RATE_KEEP: Final = timedelta(minutes=2)
"""How long a budget's record lives. The minute it is for, and a clock's distance more."""

ACTIVE_COUNT_MAX: Final = 10_000
"""Active visitors that are counted one by one. Beyond it the count says "or more"."""

ACTIVE_WATCHED: Final = 10_000
"""Active visitors, or members of a room, whose expiry one watcher waits for itself. Beyond it a leave is told when the
sweep finds it."""

CLEANUP_VISITORS: Final = 50
"""Visitors that a cleanup deletes at a time. Heartbeats wait for as many."""

RATE_VISITORS: Final = 120
"""New visitors that one client address may bring in a minute, over all processes."""

RATE_SITE_VISITORS: Final = 12_000
"""New visitors in a minute, over all addresses and processes. A flood of random ids stays as small as this."""

VISIT_SALT_EVERY: Final = timedelta(hours=24)
"""How long one salt makes the ids of visitors without cookies. After that nobody can tell two days' ids to be one's."""

VISIT_REASONS: Final = 64
"""Reasons for filtering that are counted apart. Rules of an application's own count among them."""

SAVE_ATTEMPTS: Final = 5
"""Times that a save is tried while the store cannot be reached, with growing pauses."""

SAVE_PAUSE: Final = timedelta(milliseconds=200)
"""The first of these pauses; each is twice as long as the last."""

SAVE_PAUSE_MAX: Final = timedelta(seconds=5)
"""Longest of these pauses."""

UNLOAD_PATIENCE: Final = timedelta(seconds=30)
"""How long the last save of a document is tried again. After that it stays loaded, and the caller is told."""

MESSAGES: Final = 1_000
"""Messages that may wait for one document. About: two senders at once may both be let in."""

MESSAGE_PAGE: Final = 100
"""Messages that a holder reads at a time."""

MESSAGE_PAUSE: Final = timedelta(seconds=5)
"""Pause before a message whose handler failed is tried again."""

DRAIN_PATIENCE: Final = timedelta(seconds=60)
"""How long `drain` waits for holders to hand over, when nothing else is said."""

DOCUMENT_TURN: Final = timedelta(seconds=10)
"""How long a verb inside a transaction of the store waits for another change of the same document. Two of them that
wait for each other end so."""

DIALOG_HANDLER: Final = timedelta(seconds=10)
"""How long a handler may take, and the `end` hook after it. Then it has failed, and what it changed is undone; longer
work belongs elsewhere."""

DIALOG_LEASE: Final = timedelta(seconds=30)
"""How long the lease of one interaction lives. Longer than handler and hook may take, so that nothing has to renew
it."""

DIALOG_WAIT: Final = timedelta(seconds=10)
"""How long an interaction waits for those before it on the same dialog. Then its user is told to try again."""

DIALOG_WAITERS: Final = 1_000
"""Interactions of one process that may wait for one dialog. Beyond it the user is told to try again."""

DIALOG_HANDOVERS: Final = 32
"""Interactions that one process handles in a row under one lease. Then other processes have their turn."""

DIALOG_CURSORS: Final = 100
"""Pages of a list whose beginnings a dialog remembers. Behind a forgotten one, the page before is the first."""

DIALOG_CURSOR_CHARS: Final = 1_000
"""Characters of what says where a page of a list begins. The remembered ones travel with each click."""

DIALOG_HISTORY: Final = 32
"""Stages that a dialog remembers having been in. The oldest is forgotten first."""

DIALOG_RETAKES: Final = 3
"""Times that an interaction is begun anew because its lease had ended, as that of a paused process does."""

DIALOG_SPILLS: Final = 64
"""Arguments too long for a token that one dialog keeps. The oldest is forgotten first, and its buttons are stale."""

DIALOG_DUE_PAGE: Final = 100
"""Dialogs past their deadline that one process looks at in one go."""

DIALOG_STOP_GRACE: Final = timedelta(seconds=10)
"""How long closing waits for the interactions that are being handled."""

UPDATE_WAIT: Final = timedelta(minutes=10)
"""How long an update of a bot waits for those before it in the same chat. Then it is refused."""
