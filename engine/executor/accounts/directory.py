"""The credentials that this process trades with, in memory, kept equal to the vault by polling its revision.

Enters: the vault. Leaves: keys of an account (read through when they are not known yet), and the list of accounts of some shards.
A vault that cannot be reached changes nothing that is known; a credential that does not open is treated as missing and said so once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg.rows import TupleRow

from engine.domain.values import Venue
from engine.errors import DependencyUnreachable
from engine.exchanges.port import Credential
from engine.executor.accounts.sealing import MasterKey, VaultSealed
from engine.executor.accounts.vault import open_row
from engine.executor.jobs import Account

log = logging.getLogger(__name__)
POLL_S: Final = 1.0
LOOK_BACK: Final = 1000
_COLUMNS: Final = "follower_id, venue, key_version, wrapped_key, sealed, revision"


class Directory:
    """Accounts by (follower, venue). `open` before use; `watch` for ever."""

    def __init__(self, dsn: str, master: MasterKey, appeared: Callable[[Account], None]) -> None:
        self._dsn, self._master, self._appeared = dsn, master, appeared
        self._known: dict[Account, Credential] = {}
        self._revision = 0
        self._count = -1
        self._turn = 0
        self._conn: psycopg.AsyncConnection[TupleRow] | None = None
        self._lock = asyncio.Lock()

    async def _connection(self) -> psycopg.AsyncConnection[TupleRow]:
        if self._conn is None or self._conn.closed:
            self._conn = await psycopg.AsyncConnection.connect(self._dsn, autocommit=True, connect_timeout=5)
        return self._conn

    async def open(self) -> None:
        """The first load; raises `DependencyUnreachable`."""
        try:
            await self.load()
        except psycopg.Error as error:
            raise DependencyUnreachable(f"the vault cannot be read: {type(error).__name__}") from None

    async def load(self) -> None:
        """Bring the directory up to date; raises `psycopg.Error` when the vault cannot be read."""
        async with self._lock:
            conn = await self._connection()
            mark = await (await conn.execute("SELECT count(*), coalesce(max(revision), 0) FROM vault.credentials")).fetchone()
            assert mark is not None, "an aggregate gives one row"
            if mark == (self._count, self._revision):
                return
            # Revisions are drawn before commits, so a lower one may appear after a higher: look back a little.
            since = max(self._revision - LOOK_BACK, 0) if mark[0] == self._count else 0
            rows = await (await conn.execute(f"SELECT {_COLUMNS} FROM vault.credentials WHERE revision > %s", (since,))).fetchall()
            if mark[0] != self._count:
                self._forget({(row[0], row[1]) for row in rows})
            for row in rows:
                self._take(row)
            self._count, self._revision = mark

    def _forget(self, present: set[Account]) -> None:
        for account in [known for known in self._known if known not in present]:
            del self._known[account]

    def _take(self, row: tuple[object, ...]) -> None:
        try:
            keys = open_row(self._master, row[:5])
        except VaultSealed as error:
            log.error("account of %s on %s: %s", row[0], row[1], error)
            return
        account = (keys.follower_id, keys.venue)
        known = self._known.get(account)
        if known is None or known.version != keys.version:
            self._known[account] = keys
            self._appeared(account)

    async def watch(self) -> None:
        """Poll the vault for ever."""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                await self.load()
            except psycopg.Error as error:
                log.warning("the vault cannot be read: %s", type(error).__name__)

    async def credential(self, account: Account) -> Credential | None:
        """The account's keys; asks the vault when they are not known. None only when the vault answered that it has none."""
        while account not in self._known:
            try:
                await self.load()
                break
            except psycopg.Error as error:
                log.warning("the vault cannot be read: %s", type(error).__name__)
                await asyncio.sleep(POLL_S)
        return self._known.get(account)

    def accounts(self) -> list[Account]:
        """Every account that is known."""
        return list(self._known)

    def is_paper(self, account: Account) -> bool:
        """Whether its keys are known to be a paper account's."""
        keys = self._known.get(account)
        return keys is not None and keys.paper

    async def keys_of(self, venue: Venue) -> Credential | None:
        """Keys of any real account of the venue, each time another's; None when it has none."""
        known = [account for account, keys in self._known.items() if account[1] == venue and not keys.paper]
        self._turn += 1
        return await self.credential(known[self._turn % len(known)]) if known else None

    async def close(self) -> None:
        """Close the connection."""
        if self._conn is not None:
            await self._conn.close()
