"""`remora vault new-key | check | add | accounts | rotate | remove`: exchange credentials and their master key. No secret is printed."""

from __future__ import annotations

import asyncio
import getpass
import os
from pathlib import Path
from typing import Annotated, Any, cast

import typer

from engine.config import load_settings
from engine.contracts.audit import AuditModel, RemoveCredential, RotateMasterKey, StoreCredential
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


def store_keys(follower: str, venue: Venue, api_key: str, secret: str) -> None:
    """Put the keys of an account into the vault, after the trail has been told."""
    from pydantic import SecretStr

    from engine.executor.accounts import add_credential, load_master_key

    master = load_master_key(load_settings())
    _note(asked(StoreCredential, follower_id=follower, venue=venue))
    with _connect() as conn:
        add_credential(conn, master, follower, venue, SecretStr(api_key), SecretStr(secret))


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
def add(
    follower: Annotated[str, typer.Argument(help="The follower's id; its settings stay as they are.")],
    venue: Annotated[str, typer.Option(help=f"One of {', '.join(VENUES)}.")],
    api_key: Annotated[str | None, typer.Option(help="Asks for the secret and puts both into the vault.")] = None,
    secret: Annotated[str | None, typer.Option(envvar="REMORA_ACCOUNT_SECRET", help="Better left out: then it is asked for.")] = None,
    open_paper: Annotated[bool, typer.Option(help="Open a paper account with 10,000 USDT at the simulator instead.")] = False,
    json: Json = False,
) -> None:
    """Store or replace the keys of an account. Executors use them within seconds."""
    from engine.executor.accounts.paper import open_paper_account

    if venue not in VENUES:
        raise typer.BadParameter(f"{venue!r} is not one of {', '.join(VENUES)}", param_hint="--venue")
    if open_paper == (api_key is not None):
        raise typer.BadParameter("give either --api-key or --open-paper")
    if api_key is None:
        asyncio.run(open_paper_account(load_settings(), follower, venue, actor=getpass.getuser()))
    else:
        store_keys(follower, venue, api_key, secret or typer.prompt("API secret", hide_input=True))
    emit({"follower": follower, "venue": venue, "paper": open_paper}, json)


@app.command()
def accounts(json: Json = False) -> None:
    """The accounts in the vault, without their keys. Rows from before kinds do not say theirs: it is in their seal."""
    statement = "SELECT follower_id, venue, kind, key_version, master_fingerprint, changed_at FROM vault.credentials ORDER BY 1, 2, 3"
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
def remove(
    follower: str,
    venue: Annotated[str, typer.Option(help=f"One of {', '.join(VENUES)}.")],
    kind: Annotated[str, typer.Option(help="live or paper, where the follower has both.")] = "",
    json: Json = False,
) -> None:
    """Forget the keys of an account. Its open positions can no longer be closed from here."""
    from engine.executor.accounts import load_master_key, remove_credential

    settings = load_settings()
    if kind not in ("", "live", "paper"):
        raise typer.BadParameter(f"{kind!r} is neither live nor paper", param_hint="--kind")
    wish = asked(RemoveCredential, follower_id=follower, venue=venue, account=kind or None)
    with _connect() as conn:
        _note(wish)
        master = load_master_key(settings) if kind else None
        emit({"removed": remove_credential(conn, follower, cast(Venue, venue), kind, master)}, json)
