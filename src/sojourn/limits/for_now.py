"""Numbers that may change in any release; the changelog says so."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

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

DIALOG_COMPLETION: Final = timedelta(minutes=5)
"""How long a completion may take. Then it is told again later; work without end belongs elsewhere."""

DIALOG_LEASE: Final = timedelta(seconds=30)
"""How long the lease of one interaction lives. Longer than handler and hook may take, so that nothing has to renew
it."""

DIALOG_WAIT: Final = timedelta(seconds=10)
"""How long an interaction waits for those before it on the same dialog. Then its user is told to try again."""

DIALOG_WAITERS: Final = 1_000
"""Interactions of one process that may wait for one dialog. Beyond it the user is told to try again."""

DIALOG_HANDOVERS: Final = 32
"""Interactions that one process handles in a row under one lease. Then other processes have their turn, where they
ask for it."""

DIALOG_HEAD_START: Final = timedelta(milliseconds=50)
"""How long a process that has had its turns leaves a dialog to another that asks for it, and has to hear of that."""

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

LIVE_READINGS: Final = 1_000
"""Readings of one watch. More on one page would be a list that wants to be one query."""

LIVE_WATCHES: Final = 10_000
"""Watches of one process. Each holds the newest result of each of its readings."""

LIVE_PARALLEL: Final = 20
"""Readings that are evaluated at a time. What they read together comes with one trip."""

LIVE_ROUNDS: Final = 10
"""Times that a reading is tried which others change faster than it can be read. Then that is its answer, for now."""

LIVE_EVALUATION: Final = timedelta(seconds=10)
"""How long one evaluation of a reading may take. Until then its watches stay as they are."""

LIVE_TICKET: Final = timedelta(seconds=30)
"""How long a ticket opens a connection. Time for a slow handshake."""

LIVE_CONNECT: Final = timedelta(seconds=10)
"""How long a connection may be open before it says who it is."""

LIVE_BEAT: Final = timedelta(seconds=15)
"""Silence after which a server gives a sign of life. Far below what proxies close a connection for."""

LIVE_STALL: Final = timedelta(seconds=30)
"""How long a client may take nothing of what it is sent. Then it is gone, whatever its connection says."""

LIVE_BEHIND: Final = timedelta(seconds=5)
"""How long a connection waits for a server whose clock is behind what its client has seen already."""

LIVE_FRAME_BYTES: Final = 262_144
"""Bytes of one message of a client. Room for some hundred subscriptions at once."""

LIVE_PART_BYTES: Final = 1_000_000
"""Bytes of results in one message to a client, beyond which the next begins. A result alone may be as long."""

LIVE_SYNCS: Final = 100
"""Questions of one connection for what was committed before, that wait at a time."""

SCHEDULED_ACTIONS: Final = 100
"""Scheduled actions of one process that run at a time. The next ones wait for it, or for another process."""

SCHEDULED_TRIES: Final = 100
"""Times that a scheduled call is tried which meets conflicts, or does not reach what it needs. About a day."""

SCHEDULED_LATE: Final = 3
"""Times that a scheduled mutation is tried which takes longer than `CALL_TIMEOUT`. Its process may have been paused."""

SCHEDULED_UNKNOWN: Final = 10
"""Times that a process which does not know a function or a cron leaves it to others. Half an hour, for a deploy."""

CRON_SEEN: Final = timedelta(minutes=2)
"""How long after a process that defines a cron was last there the cron goes on. It says so twice in that time."""
