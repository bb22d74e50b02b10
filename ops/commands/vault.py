"""`remora vault new-key | check | accounts | rotate | remove`: exchange credentials and the master key over them. No secret is printed."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from engine.config import load_settings
from engine.contracts.audit import AuditModel, RemoveCredential, RotateMasterKey
from engine.domain.values import VENUES, Venue
from engine.errors import ConfigInvalid
from engine.log.note import note
from ops.commands.common import Json, asked, emit, emit_rows

app = typer.Typer(help="The vault of exchange credentials and its master key.", no_args_is_help=True)


def _connect() -> Any:
    import psycopg

    from engine.executor.accounts import ensure_vault

    conn = psycopg.connect(load_settings().database_url.get_secret_value())
    ensure_vault(conn)
    return conn


def _note(wish: AuditModel) -> None:
    asyncio.run(note(load_settings(), wish))


@app.command("new-key")
def new_key(file: Annotated[Path, typer.Argument(help="Written with mode 600; must not exist.")], json: Json = False) -> None:
    """Make a master key and write it to a file, for REMORA_MASTER_KEY_FILE. Back it up apart from the database."""
    from engine.executor.accounts import new_master_key
    from engine.executor.accounts.sealing import parse_master_key

    key = new_master_key()
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigInvalid(f"{file}: {error.strerror}") from None
    with os.fdopen(descriptor, "w") as out:
        out.write(key.get_secret_value() + "\n")
    emit({"file": str(file), "fingerprint": parse_master_key(key).fingerprint}, json)


@app.command()
def check(json: Json = False) -> None:
    """Whether every credential opens under the master key of the settings. Exit 5 when one does not."""
    from engine.executor.accounts import load_master_key, verify_vault

    master = load_master_key(load_settings())
    with _connect() as conn:
        good, bad = verify_vault(conn, master)
    emit({"fingerprint": master.fingerprint, "open": good, "sealed": bad}, json)
    if bad:
        raise typer.Exit(5)


@app.command()
def accounts(json: Json = False) -> None:
    """The accounts in the vault, without their keys."""
    statement = "SELECT follower_id, venue, key_version, master_fingerprint, changed_at FROM vault.credentials ORDER BY 1, 2"
    with _connect() as conn:
        found = conn.execute(statement)
        names = [column.name for column in found.description]
        emit_rows([dict(zip(names, row, strict=True)) for row in found.fetchall()], json)


@app.command()
def rotate(
    new_key_file: Annotated[Path, typer.Option(help="The new master key; the settings hold the old one.")], json: Json = False
) -> None:
    """Wrap every data key under a new master key, in one transaction. Then point the settings to the new key and restart executors."""
    from pydantic import SecretStr

    from engine.executor.accounts import load_master_key, rotate_master_key
    from engine.executor.accounts.sealing import parse_master_key

    try:
        new = parse_master_key(SecretStr(new_key_file.read_text()))
    except OSError as error:
        raise ConfigInvalid(f"{new_key_file}: {error.strerror}") from None
    old = load_master_key(load_settings())
    with _connect() as conn:
        _note(asked(RotateMasterKey))
        count = rotate_master_key(conn, old, new)
    emit({"rewrapped": count, "fingerprint": new.fingerprint}, json)


@app.command()
def remove(follower: str, venue: Annotated[str, typer.Option(help=f"One of {', '.join(VENUES)}.")], json: Json = False) -> None:
    """Forget the keys of an account. Its open positions can no longer be closed from here."""
    from engine.executor.accounts import remove_credential

    wish = asked(RemoveCredential, follower_id=follower, venue=venue)
    with _connect() as conn:
        _note(wish)
        emit({"removed": remove_credential(conn, follower, cast(Venue, venue))}, json)
