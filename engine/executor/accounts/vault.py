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

COLUMNS: Final = "follower_id, venue, key_version, kind, wrapped_key, sealed"
_KINDS: Final = ("live", "paper")
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
    """Store or replace the keys of an account; gives the key version. `paper`: it is one at the paper venue beside the real ones, and
    the follower's live account stays. Raises `ConfigInvalid` when the account is another follower's, `VaultSealed` when what is there
    does not say which of the two it is."""
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
    kind = _KINDS[paper]
    known = _find(conn, master, follower_id, venue, kind)
    version = known[0] + 1 if known else 1
    if known and not known[1]:
        conn.execute("DELETE FROM vault.credentials WHERE follower_id = %s AND venue = %s AND kind = ''", (follower_id, venue))
    stored = seal(master, owner_data(follower_id, venue, version, kind), api_key, secret, paper)
    conn.execute(
        "INSERT INTO vault.credentials (follower_id, venue, kind, key_version, master_fingerprint, wrapped_key, sealed, account_mark)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT (follower_id, venue, kind) DO UPDATE SET key_version = excluded.key_version,"
        " master_fingerprint = excluded.master_fingerprint, wrapped_key = excluded.wrapped_key, sealed = excluded.sealed,"
        " account_mark = excluded.account_mark, revision = nextval('vault.revisions'), changed_at = now()",
        (follower_id, venue, kind, version, master.fingerprint, stored.wrapped_key, stored.sealed, account_mark(venue, api_key)),
    )
    return version


def _find(conn: Connection, master: MasterKey, follower_id: str, venue: str, kind: str) -> tuple[int, str] | None:
    """Key version and stored kind of the row of an account, which may be one from before kinds."""
    rows = conn.execute(
        f"SELECT {COLUMNS} FROM vault.credentials WHERE follower_id = %s AND venue = %s FOR UPDATE", (follower_id, venue)
    ).fetchall()
    of_kind = [row for row in rows if row[3] == kind] or [row for row in rows if not row[3] and kind_of(open_row(master, row)) == kind]
    return (of_kind[0][2], of_kind[0][3]) if of_kind else None


def remove_credential(conn: Connection, follower_id: str, venue: Venue, kind: str = "", master: MasterKey | None = None) -> bool:
    """Forget the keys of an account; False when there were none. Without `kind` (live or paper) there may be only one: `ConfigInvalid`.
    A row from before kinds is found by its kind only with the master key."""
    rows = conn.execute("SELECT kind FROM vault.credentials WHERE follower_id = %s AND venue = %s", (follower_id, venue)).fetchall()
    stored = {row[0] for row in rows}
    if kind and kind not in stored and master is not None:
        found = _find(conn, master, follower_id, venue, kind)
        stored = {found[1]} if found else set()
    elif kind:
        stored &= {kind}
    elif len(stored) > 1:
        raise ConfigInvalid(f"{follower_id} has a live and a paper account on {venue}: say which one")
    gone = conn.execute(
        "DELETE FROM vault.credentials WHERE follower_id = %s AND venue = %s AND kind = ANY(%s)", (follower_id, venue, list(stored))
    ).rowcount
    conn.commit()
    return gone > 0


def kind_of(keys: Credential) -> str:
    """Live or paper, as it is sealed."""
    return _KINDS[keys.paper]


def open_row(master: MasterKey, row: tuple[Any, ...]) -> Credential:
    """A stored row (`COLUMNS`) as a credential; raises `VaultSealed`."""
    follower_id, venue, version, kind, wrapped, sealed = row
    api_key, secret, paper = unseal(master, owner_data(follower_id, venue, version, kind), Sealed(wrapped, sealed))
    if kind and kind != _KINDS[paper]:
        raise VaultSealed("a credential is of another kind than its row says")
    return Credential(follower_id, venue, api_key, secret, version, paper)


def load_credentials(conn: Connection, master: MasterKey, followers: Iterable[str] | None = None) -> list[Credential]:
    """All credentials, or those of some followers."""
    if followers is None:
        rows = conn.execute(f"SELECT {COLUMNS} FROM vault.credentials ORDER BY follower_id, venue, kind").fetchall()
    else:
        rows = conn.execute(f"SELECT {COLUMNS} FROM vault.credentials WHERE follower_id = ANY(%s)", (list(followers),)).fetchall()
    return [open_row(master, row) for row in rows]


def rotate_master_key(conn: Connection, old: MasterKey, new: MasterKey) -> int:
    """Wrap every data key anew, in one transaction; gives how many. The credentials themselves are not touched."""
    rows = conn.execute(
        "SELECT follower_id, venue, key_version, kind, wrapped_key FROM vault.credentials WHERE master_fingerprint <> %s FOR UPDATE",
        (new.fingerprint,),
    ).fetchall()
    for follower_id, venue, version, kind, wrapped in rows:
        whose = owner_data(follower_id, venue, version, kind)
        conn.execute(
            "UPDATE vault.credentials SET wrapped_key = %s, master_fingerprint = %s, revision = nextval('vault.revisions'),"
            " changed_at = now() WHERE follower_id = %s AND venue = %s AND kind = %s",
            (new.wrap(old.unwrap(wrapped, whose), whose), new.fingerprint, follower_id, venue, kind),
        )
    conn.commit()
    return len(rows)


def verify_vault(conn: Connection, master: MasterKey) -> tuple[int, list[str]]:
    """How many credentials open under this master key, and whose do not."""
    good, bad = 0, []
    for row in conn.execute(f"SELECT {COLUMNS} FROM vault.credentials ORDER BY follower_id, venue, kind").fetchall():
        try:
            open_row(master, row)
            good += 1
        except VaultSealed:
            bad.append(" ".join(filter(None, (row[0], row[1], row[3]))))
    return good, bad
