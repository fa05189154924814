"""Ends the sessions of processes that were stopped in the middle of a statement, so that the locks they hold are free.

PostgreSQL's own limit, `idle_in_transaction_session_timeout`, runs between statements. asyncpg has a statement parsed
first and sends its values in a second message, without a Sync between the two (`coreproto.pyx`,
`_prepare_and_describe`). For a process that is stopped there, or that is cut off from the network, the server counts as
busy: neither that limit nor `statement_timeout` ends the session, and its locks stay for as long as the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from countersign.runtime.database.postgres import Connection

# Above Kafka's session timeout of 6 s, after which the partitions of a stopped process are somebody else's; below
# lock_timeout, so that whoever waits for one of its locks gets it before that wait is over.
STOPPED_SECONDS_MAX = 8.0

# Of our own role and service: those that have waited for their client since the first message of a statement.
END = """
SELECT pg_terminate_backend(pid) AS is_ended
  FROM pg_stat_activity
 WHERE usename = current_user AND application_name = current_setting('application_name')
   AND state = 'active' AND wait_event_type = 'Client' AND wait_event = 'ClientRead'
   AND state_change < clock_timestamp() - make_interval(secs => $1)
"""


async def end_stopped_sessions(db: Connection, seconds: float = STOPPED_SECONDS_MAX) -> int:
    """End the sessions of this service that have waited for `seconds` inside a statement; return how many."""
    return sum(row["is_ended"] for row in await db.fetch(END, seconds))
