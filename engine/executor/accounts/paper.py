"""A paper account: a follower and a venue enter, an account with play money at the simulator leaves, its keys in the vault.

Only where there is a simulator: the paper venue beside the real ones (`paper_url`), or, without it, the one that stands for them all
(`exchange_url`). Nobody opens accounts at a real venue. The keys are made here and never shown.
"""

from __future__ import annotations

import asyncio
import secrets
from decimal import Decimal
from typing import Final

import aiohttp
import psycopg
from pydantic import SecretStr

from engine.config import Settings
from engine.contracts.audit import StoreCredential
from engine.domain.values import Venue
from engine.errors import ConfigInvalid, DependencyUnreachable
from engine.executor.accounts.sealing import load_master_key
from engine.executor.accounts.vault import add_credential
from engine.log.note import note

BALANCE: Final = Decimal(10_000)
TIMEOUT_S: Final = 10.0


def paper_venue(settings: Settings) -> str | None:
    """Where paper accounts are opened; None when there is no simulator."""
    return settings.paper_url or settings.exchange_url


async def open_paper_account(settings: Settings, follower_id: str, venue: Venue, balance: Decimal = BALANCE, *, actor: str) -> None:
    """The trail names `actor` first. Errors: ConfigInvalid without a simulator or a master key, DependencyUnreachable."""
    url = paper_venue(settings)
    if url is None:
        raise ConfigInvalid("Paper accounts need the exchange simulator: neither REMORA_PAPER_URL nor REMORA_EXCHANGE_URL is set.")
    master = load_master_key(settings)
    asked = StoreCredential(
        t="StoreCredential", request_id=secrets.token_hex(16), actor=actor, follower_id=follower_id, venue=venue, paper=True
    )
    await note(settings, asked)
    key, secret = f"key{secrets.token_hex(14)}", f"secret{secrets.token_hex(24)}"
    spec = {"api_key": key, "secret": secret, "venue": venue, "usdt": str(balance), "label": follower_id}
    try:
        timeout = aiohttp.ClientTimeout(TIMEOUT_S)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(f"{url}/_accounts", json=spec) as answer,
        ):
            answer.raise_for_status()
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DependencyUnreachable(f"The simulator did not open an account: {type(error).__name__}.") from error

    def store() -> None:
        with psycopg.connect(settings.database_url.get_secret_value(), connect_timeout=10) as connection:
            apart = settings.paper_url is not None
            add_credential(connection, master, follower_id, venue, SecretStr(key), SecretStr(secret), paper=apart)

    try:
        await asyncio.to_thread(store)
    except psycopg.Error as error:
        # Out of reach, or this process may not write there: the API's own role has no right on it.
        raise DependencyUnreachable("The vault cannot be written from here.") from error
