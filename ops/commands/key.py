"""`remora key create | list | revoke`: keys of the API. The secret is shown once, only its hash is stored.

Who made and revoked which key stands on the log before it is done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer

from engine.config import Settings, load_settings
from engine.contracts.audit import CreateKey, RevokeKey
from engine.log.note import note
from ops.commands.common import Json, asked, emit, emit_rows
from projections.access import SCOPES, AccessStore, NewKey, Scope, new_key_id
from projections.reads import ReadModels, Row

app = typer.Typer(help="Keys of the API: who may ask, and what.", no_args_is_help=True)
T = TypeVar("T")


@app.command()
def create(
    name: Annotated[str, typer.Argument(help="Who or what will use it.")],
    scope: Annotated[list[str], typer.Option(help=f"{', '.join(SCOPES)}; may be given several times.")] = ["read"],  # noqa: B006
    follower: Annotated[str | None, typer.Option(help="The key sees and steers this follower only.")] = None,
    days: Annotated[int | None, typer.Option(min=1, max=3650, help="How long it works; for ever without.")] = None,
    json: Json = False,
) -> None:
    """Make a key and show it: it cannot be shown again."""
    scopes: list[Scope] = [known for known in SCOPES if known in scope]
    if unknown := sorted(set(scope) - set(SCOPES)):
        raise typer.BadParameter(f"{unknown[0]!r} is not one of {', '.join(SCOPES)}", param_hint="--scope")
    if follower is not None and "admin" in scopes:
        raise typer.BadParameter("a key of one follower cannot have the scope admin", param_hint="--follower")
    expires_at = datetime.now(UTC) + timedelta(days=days) if days else None
    made = create_key(load_settings(), name, scopes, follower, expires_at)
    emit({"key": made.secret.get_secret_value()} | made.row, json)


@app.command("list")
def list_keys(json: Json = False) -> None:
    """Every key: what it may, when it was last used. Never the key itself."""
    emit_rows(_with_store(load_settings(), lambda store: store.keys()), json)


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The id: the part after `rmk_`.")],
    unrecorded: Annotated[
        bool, typer.Option(help="Kafka is away and the key must stop now. Revoke it again later, for the trail.")
    ] = False,
    json: Json = False,
) -> None:
    """Stop a key, and the sessions that were begun with it, within a second."""
    row = revoke_key(load_settings(), key_id, unrecorded)
    if row is None:
        raise typer.BadParameter(f"there is no key {key_id!r}")
    emit(row, json)


def create_key(
    settings: Settings, name: str, scopes: list[Scope], follower: str | None = None, expires_at: datetime | None = None
) -> NewKey:
    """Make a key, once the trail has it. Errors: ContractViolation, DependencyUnreachable; then there is none."""
    key_id = new_key_id()
    wish = asked(CreateKey, key_id=key_id, name=name, scopes=tuple(scopes), follower_id=follower, expires_at=expires_at)

    async def make(store: AccessStore) -> NewKey:
        await store.keys()  # It answers: what the trail says now can be done.
        await note(settings, wish)
        return await store.add_key(name, scopes, follower, expires_at, key_id=key_id)

    return _with_store(settings, make)


def revoke_key(settings: Settings, key_id: str, unrecorded: bool = False) -> Row | None:
    """Stop a key, once the trail has it or without; None when there is no such key. Errors: DependencyUnreachable."""

    async def stop(store: AccessStore) -> Row | None:
        if key_id not in {row["key_id"] for row in await store.keys()}:
            return None
        if not unrecorded:
            await note(settings, asked(RevokeKey, key_id=key_id))
        return await store.revoke(key_id)

    return _with_store(settings, stop)


def _with_store(settings: Settings, work: Callable[[AccessStore], Awaitable[T]]) -> T:
    async def once() -> T:
        async with ReadModels(settings) as models:
            return await work(AccessStore(models))

    return asyncio.run(once())
