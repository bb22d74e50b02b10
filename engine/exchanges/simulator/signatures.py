"""Authentication on raw bytes: a call enters, its account leaves, or the venue's refusal.

Binance: HMAC-SHA256 hex of query plus body up to `&signature=`, key in X-MBX-APIKEY. Bybit v5: HMAC-SHA256 hex of timestamp,
key, recvWindow and the raw query or body, all four in X-BAPI headers. Both demand
`server_time - recvWindow <= timestamp < server_time + 1000`, checked at arrival and again just before the matching engine.
"""

from __future__ import annotations

import hmac
from typing import Final

from engine.exchanges.simulator.model import Account
from engine.exchanges.simulator.wire import Call, VenueError, whole

Accounts = dict[tuple[str, str], Account]
_AHEAD_MS: Final = 1000
_BINANCE_WINDOW_MS: Final = 5000
_LONGEST_WINDOW_MS: Final = 60_000
_MARK: Final = b"&signature="


def authenticate(call: Call, accounts: Accounts, now_ms: int) -> Account:
    """The account that signed the call; raises `VenueError` when key, signature or time are wrong."""
    return _bybit(call, accounts, now_ms) if call.exchange == "bybit" else _binance(call, accounts, now_ms)


def key_account(call: Call, accounts: Accounts) -> Account:
    """The account of a Binance call that needs only its key (user data streams)."""
    key = call.headers.get("X-MBX-APIKEY", "")
    if not key:
        raise VenueError(-2014, "API-key format invalid.", 401)
    account = accounts.get((call.exchange, key))
    if account is None:
        raise VenueError(-2015, "Invalid API-key, IP, or permissions for action.", 401)
    return account


def _binance(call: Call, accounts: Accounts, now_ms: int) -> Account:
    account = key_account(call, accounts)
    raw = call.query.encode() + call.body
    payload, mark, signature = raw.rpartition(_MARK)
    if not mark:
        raise VenueError(-1102, "Mandatory parameter 'signature' was not sent, was empty/null, or malformed.")
    expected = hmac.digest(account.secret, payload, "sha256").hex().encode()
    if not hmac.compare_digest(expected, signature.lower()):
        raise VenueError(-1022, "Signature for this request is not valid.")
    if not call.params.get("timestamp"):
        raise VenueError(-1102, "Mandatory parameter 'timestamp' was not sent, was empty/null, or malformed.")
    whole(call.params["timestamp"], "timestamp")
    if call.number("recvWindow") > _LONGEST_WINDOW_MS:
        raise VenueError(-1131, "recvWindow must be less than 60000")
    check_window(call, now_ms)
    return account


def _bybit(call: Call, accounts: Accounts, now_ms: int) -> Account:
    headers = call.headers
    key = headers.get("X-BAPI-API-KEY", "")
    account = accounts.get(("bybit", key))
    if account is None:
        raise VenueError(10003, "API key is invalid.", 200)
    stamp, window = headers.get("X-BAPI-TIMESTAMP", ""), headers.get("X-BAPI-RECV-WINDOW", "")
    raw = call.body if call.method == "POST" else call.query.encode()
    expected = hmac.digest(account.secret, f"{stamp}{key}{window}".encode() + raw, "sha256").hex()
    if not hmac.compare_digest(expected, headers.get("X-BAPI-SIGN", "").lower()):
        raise VenueError(10004, "error sign! origin_string[" + f"{stamp}{key}{window}" + "]", 200)
    check_window(call, now_ms)
    return account


def window_of(call: Call) -> tuple[int, int]:
    """Timestamp and recvWindow of a signed call in milliseconds; (0, window) when the timestamp is no number."""
    if call.exchange == "bybit":
        stamp, window = call.headers.get("X-BAPI-TIMESTAMP", ""), call.headers.get("X-BAPI-RECV-WINDOW", "") or "5000"
    else:
        stamp, window = call.params.get("timestamp", ""), call.params.get("recvWindow", "") or str(_BINANCE_WINDOW_MS)
    try:
        return int(stamp[:20]), min(int(float(window)), _LONGEST_WINDOW_MS)
    except (ValueError, OverflowError):
        return 0, _BINANCE_WINDOW_MS


def check_window(call: Call, now_ms: int, *, in_engine: bool = False) -> None:
    """The call's timestamp is inside its window now; in_engine is the second check, just before matching."""
    stamp, window = window_of(call)
    if now_ms - window <= stamp < now_ms + _AHEAD_MS:
        return
    if call.exchange == "bybit":
        detail = f"req_timestamp[{stamp}],server_timestamp[{now_ms}],recv_window[{window}]"
        raise VenueError(10002, f"invalid request, please check your server timestamp or recv_window param. {detail}", 200)
    if in_engine and call.exchange == "binanceusdm":
        raise VenueError(-5028, "Timestamp for this request is outside of the ME recvWindow.")
    if stamp >= now_ms + _AHEAD_MS:
        raise VenueError(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    raise VenueError(-1021, "Timestamp for this request is outside of the recvWindow.")
