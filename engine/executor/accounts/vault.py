"""Credentials at rest: Postgres schema `vault`. Enters and leaves: `Credential` (secrets never print), counts, fingerprints.

Backup: `pg_dump --schema=vault`; restore it and keep the master key (the dump is worthless without it, and it without the dump).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, Final

import psycopg
from psycopg.rows import TupleRow
from pydantic import SecretStr

from engine.domain.values import VENUES, Venue
from engine.errors import ConfigInvalid
from engine.exchanges.port import Credential
from engine.executor.accounts.schema import SCHEMA
from engine.executor.accounts.sealing import MasterKey, Sealed, VaultSealed, owner_data, seal, unseal

_COLUMNS: Final = "follower_id, venue, key_version, wrapped_key, sealed"
Connection = psycopg.Connection[TupleRow]


def ensure_vault(conn: Connection) -> None:
    """Create what is missing of the schema; repeating it changes nothing."""
    conn.execute(SCHEMA)
    conn.commit()


def account_mark(venue: str, api_key: SecretStr) -> str:
    """What tells two followers with one venue account apart, without showing the key."""
    return hashlib.sha256(f"{venue}\x1f{api_key.get_secret_value()}".encode()).hexdigest()


def add_credential(
    conn: Connection, master: MasterKey, follower_id: str, venue: Venue, api_key: SecretStr, secret: SecretStr, paper: bool = False
) -> int:
    """Store or replace the keys of an account; gives the key version. `paper`: it is one at the paper venue beside the real ones. Raises
    `ConfigInvalid` when the account is another follower's."""
    return add_credentials(conn, master, [(follower_id, venue, api_key, secret)], paper)[0]


def add_credentials(
    conn: Connection, master: MasterKey, accounts: Iterable[tuple[str, Venue, SecretStr, SecretStr]], paper: bool = False
) -> list[int]:
    """`add_credential` of many accounts in one transaction: all or none."""
    try:
        versions = [_store(conn, master, *account, paper) for account in accounts]
    except psycopg.errors.UniqueViolation:
        conn.rollback()
        raise ConfigInvalid("this venue account already belongs to another follower") from None
    conn.commit()
    return versions


def _store(conn: Connection, master: MasterKey, follower_id: str, venue: Venue, api_key: SecretStr, secret: SecretStr, paper: bool) -> int:
    if venue not in VENUES:
        raise ConfigInvalid(f"unknown venue {venue!r}")
    row = conn.execute(
        "SELECT key_version FROM vault.credentials WHERE follower_id = %s AND venue = %s FOR UPDATE", (follower_id, venue)
    ).fetchone()
    version = row[0] + 1 if row else 1
    stored = seal(master, owner_data(follower_id, venue, version), api_key, secret, paper)
    conn.execute(
        "INSERT INTO vault.credentials (follower_id, venue, key_version, master_fingerprint, wrapped_key, sealed, account_mark)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (follower_id, venue) DO UPDATE SET key_version = excluded.key_version,"
        " master_fingerprint = excluded.master_fingerprint, wrapped_key = excluded.wrapped_key, sealed = excluded.sealed,"
        " account_mark = excluded.account_mark, revision = nextval('vault.revisions'), changed_at = now()",
        (follower_id, venue, version, master.fingerprint, stored.wrapped_key, stored.sealed, account_mark(venue, api_key)),
    )
    return version


def remove_credential(conn: Connection, follower_id: str, venue: Venue) -> bool:
    """Forget the keys of an account; False when there were none."""
    gone = conn.execute("DELETE FROM vault.credentials WHERE follower_id = %s AND venue = %s", (follower_id, venue)).rowcount
    conn.commit()
    return gone > 0


def open_row(master: MasterKey, row: tuple[Any, ...]) -> Credential:
    """A stored row (`_COLUMNS`) as a credential; raises `VaultSealed`."""
    follower_id, venue, version, wrapped, sealed = row
    api_key, secret, paper = unseal(master, owner_data(follower_id, venue, version), Sealed(wrapped, sealed))
    return Credential(follower_id, venue, api_key, secret, version, paper)


def load_credentials(conn: Connection, master: MasterKey, followers: Iterable[str] | None = None) -> list[Credential]:
    """All credentials, or those of some followers."""
    if followers is None:
        rows = conn.execute(f"SELECT {_COLUMNS} FROM vault.credentials ORDER BY follower_id, venue").fetchall()
    else:
        rows = conn.execute(f"SELECT {_COLUMNS} FROM vault.credentials WHERE follower_id = ANY(%s)", (list(followers),)).fetchall()
    return [open_row(master, row) for row in rows]


def rotate_master_key(conn: Connection, old: MasterKey, new: MasterKey) -> int:
    """Wrap every data key anew, in one transaction; gives how many. The credentials themselves are not touched."""
    rows = conn.execute(
        "SELECT follower_id, venue, key_version, wrapped_key FROM vault.credentials WHERE master_fingerprint <> %s FOR UPDATE",
        (new.fingerprint,),
    ).fetchall()
    for follower_id, venue, version, wrapped in rows:
        whose = owner_data(follower_id, venue, version)
        conn.execute(
            "UPDATE vault.credentials SET wrapped_key = %s, master_fingerprint = %s, revision = nextval('vault.revisions'),"
            " changed_at = now() WHERE follower_id = %s AND venue = %s",
            (new.wrap(old.unwrap(wrapped, whose), whose), new.fingerprint, follower_id, venue),
        )
    conn.commit()
    return len(rows)


def verify_vault(conn: Connection, master: MasterKey) -> tuple[int, list[str]]:
    """How many credentials open under this master key, and whose do not."""
    good, bad = 0, []
    for row in conn.execute(f"SELECT {_COLUMNS} FROM vault.credentials ORDER BY follower_id, venue").fetchall():
        try:
            open_row(master, row)
            good += 1
        except VaultSealed:
            bad.append(f"{row[0]} {row[1]}")
    return good, bad
