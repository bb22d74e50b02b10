"""What a record of the trail says, in a line for people: its kind and its fields enter, plain words leave."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Fields = Mapping[str, Any]


def in_words(kind: str, fields: Fields) -> str:
    """A sentence where there is one for the kind, else the fields as they are; `reason` is told apart."""
    try:
        return SAYS[kind](fields)
    except (KeyError, TypeError):  # Not what is known here: an older or newer writer, or nobody of ours.
        return _plainly(fields)


def _signal(fields: Fields) -> str:
    trade = f"{fields['action']} {fields['symbol']}, {fields['side']} {fields['quantity']} at {fields['price']}"
    return f"published the signal {fields['signal_id']} by hand: whale {fields['whale_id']}, {trade}"


def _signals(fields: Fields) -> str:
    return f"published {fields['signals']} signals of a file: {fields['first_signal_id']} to {fields['last_signal_id']}"


def _new_key(fields: Fields) -> str:
    whose = f", for the follower {fields['follower_id']} only" if "follower_id" in fields else ""
    until = f"until {fields['expires_at']}" if "expires_at" in fields else "without an end"
    return f"made the API key {fields['key_id']} ({fields['name']}): {', '.join(map(str, fields['scopes']))}{whose}, {until}"


def _credential(fields: Fields) -> str:
    what = "a paper account" if fields.get("paper") else "the exchange keys"
    return f"put {what} of {fields['follower_id']} on {fields['venue']} into the vault"


DETECTORS: Final = {"fills": "recorded fills as signals", "legacy": "the older system's pending signals"}
SAYS: Final[dict[str, Callable[[Fields], str]]] = {
    "PublishSignal": _signal,
    "PublishSignals": _signals,
    "RunDetector": lambda fields: f"ran a detector: {DETECTORS[fields['detector']]}",
    "CreateKey": _new_key,
    "RevokeKey": lambda fields: f"revoked the API key {fields['key_id']}",
    "StoreCredential": _credential,
    "RemoveCredential": lambda fields: f"took the exchange keys of {fields['follower_id']} on {fields['venue']} out of the vault",
    "RotateMasterKey": lambda _: "put the vault under another master key",
    "RedriveRecord": lambda fields: f"sent a record again: {fields['topic']} [{fields['partition']}] @ {fields['offset']}",
    "ImportLegacy": lambda fields: f"imported from the older system: {fields['commands']} commands",
}


def _plainly(fields: Fields) -> str:
    hidden = {"t", "request_id", "actor", "follower_id", "reason"}
    rest = {name: value for name, value in fields.items() if value not in ("", None) and name not in hidden}
    return ", ".join(f"{name.replace('_', ' ')} {_told(value)}" for name, value in rest.items())


def _told(value: object) -> str:
    if isinstance(value, dict):
        return " · ".join(f"{name.replace('_', ' ')} {_told(each)}" for name, each in value.items())
    return f"{len(value)} items" if isinstance(value, list) and len(value) > 3 else str(value)
