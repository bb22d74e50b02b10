"""Schema `access` in Postgres: API keys, sessions and the answers to repeated writes. Only hashes of what is secret are stored.

Enters: secrets in clear. Leaves: who they belong to. An API key is `rmk_<key id>_<256 random bits>`; its SHA-256 is what is kept: a
random key of that length needs no slow hash. Errors: DependencyUnreachable.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, LiteralString, get_args

from psycopg.types.json import Jsonb
from pydantic import SecretStr

from projections.reads import ReadModels, Row
from projections.sql import load

Scope = Literal["read", "follow", "trade", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_KEY: Final = re.compile(r"rmk_([0-9a-f]{12})_[A-Za-z0-9_-]{43}")
_NOBODY: Final = bytes(32)


@dataclass(frozen=True)
class NewKey:
    """An API key just made: `secret` is shown once, `row` is what is stored of it without the hash."""

    secret: SecretStr
    row: Row


def new_key_id() -> str:
    """The id of a key that is to be made: it can be told before there is one."""
    return secrets.token_hex(6)


def key_id_of(secret: str) -> str | None:
    """The id within an API key, None when it has not the shape of one."""
    found = _KEY.fullmatch(secret)
    return found[1] if found else None


def hash_of(secret: str) -> bytes:
    """What is stored of a secret."""
    return hashlib.sha256(secret.encode()).digest()


def _statement(name: str) -> LiteralString:
    return load("access.sql")[name]


class AccessStore:
    """Over the pool of the read models; every call is one statement."""

    def __init__(self, models: ReadModels) -> None:
        self._models = models

    async def key(self, secret: str) -> Row | None:
        """The stored key that a secret proves, also one that is revoked or expired; None for a wrong one."""
        key_id = key_id_of(secret)
        row = await self._one("find_key", key_id=key_id) if key_id else None
        right = hmac.compare_digest(row["secret_hash"] if row else _NOBODY, hash_of(secret))
        return row if row and right else None

    async def session(self, token: str) -> Row | None:
        """The key behind a session, also one that is revoked or expired."""
        return await self._one("find_session", token_hash=hash_of(token))

    async def note_use(self, key_id: str) -> None:
        """The key is in use now; written at most once a minute."""
        await self._one("note_use", key_id=key_id)

    async def add_key(
        self,
        name: str,
        scopes: Iterable[Scope],
        follower_id: str | None = None,
        expires_at: datetime | None = None,
        *,
        key_id: str | None = None,
    ) -> NewKey:
        """Make a key, under an id that was told before or a fresh one."""
        key_id = key_id or new_key_id()
        secret = f"rmk_{key_id}_{secrets.token_urlsafe(32)}"
        values = {"name": name, "scopes": sorted(set(scopes)), "follower_id": follower_id, "expires_at": expires_at}
        row = await self._one("add_key", key_id=key_id, secret_hash=hash_of(secret), **values)
        assert row is not None, "an insert gives its row"
        return NewKey(SecretStr(secret), row)

    async def keys(self) -> list[Row]:
        """All keys, oldest first, without their hashes."""
        return await self._models.fetch(_statement("list_keys"), {})

    async def revoke(self, key_id: str) -> Row | None:
        """The key stops working, its sessions as well; None when there is no such key."""
        return await self._one("revoke_key", key_id=key_id)

    async def add_session(self, key_id: str, seconds: int) -> str:
        """The token of a new session, which never outlives its key."""
        token = secrets.token_urlsafe(32)
        await self._one("add_session", token_hash=hash_of(token), key_id=key_id, seconds=seconds)
        return token

    async def end_session(self, token: str) -> None:
        """The token means nothing any more."""
        await self._one("end_session", token_hash=hash_of(token))

    async def claim_answer(self, request_key: bytes, request_hash: bytes, seconds: float) -> Row:
        """Who answers a request: `mine` if we do for the next `seconds`, `fresh` if nobody tried before; `answer` if there is one."""
        row = None
        while row is None:  # A row that appeared meanwhile can be seen at the next look only.
            row = await self._one("claim_answer", request_key=request_key, request_hash=request_hash, seconds=seconds)
        return row

    async def keep_answer(self, request_key: bytes, answer: dict[str, Any]) -> dict[str, Any]:
        """Keep the answer; gives the one that stands, which is the first."""
        row = await self._one("keep_answer", request_key=request_key, answer=Jsonb(answer, dumps=json.dumps))
        return row["answer"] if row else answer

    async def free_answer(self, request_key: bytes) -> None:
        """We do not know whether the request was carried out: the next one to ask finds out."""
        await self._one("free_answer", request_key=request_key)

    async def drop_answer(self, request_key: bytes) -> None:
        """The request was refused and left nothing."""
        await self._one("drop_answer", request_key=request_key)

    async def _one(self, statement: str, /, **values: Any) -> Row | None:
        found = await self._models.fetch(_statement(statement), values)
        return found[0] if found else None
