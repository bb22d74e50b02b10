"""Sealing of one credential: AES-256-GCM under a data key of its own, which the master key wraps.

Enters: keys in clear and whose they are (follower, venue, key version, live or paper: the associated data). Leaves: two opaque byte
strings. A row that was moved to another follower, venue, version or kind does not open.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from dataclasses import dataclass

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from engine.config import Settings
from engine.errors import ConfigInvalid, RemoraError

KEY_BYTES = 32
NONCE_BYTES = 12


class VaultSealed(RemoraError):
    """A credential does not open: another master key sealed it, or the row was altered."""

    exit_code = 5


class MasterKey:
    """The key that wraps data keys. Printing it shows its fingerprint only."""

    def __init__(self, raw: bytes) -> None:
        if len(raw) != KEY_BYTES:
            raise ConfigInvalid(f"the master key has {len(raw)} bytes, not {KEY_BYTES} (base64 or hex)")
        self._aead = AESGCM(raw)
        self.fingerprint = hashlib.sha256(b"remora master key" + raw).hexdigest()[:16]

    def __repr__(self) -> str:
        return f"MasterKey({self.fingerprint})"

    def wrap(self, data_key: bytes, whose: bytes) -> bytes:
        """Nonce and sealed data key."""
        return _seal(self._aead, data_key, whose)

    def unwrap(self, wrapped: bytes, whose: bytes) -> bytes:
        """The data key; raises `VaultSealed`."""
        return _open(self._aead, wrapped, whose)


@dataclass(frozen=True)
class Sealed:
    """What is stored of one credential."""

    wrapped_key: bytes
    sealed: bytes


class _Keys(msgspec.Struct, frozen=True):
    api_key: str
    secret: str
    paper: bool = False


def owner_data(follower_id: str, venue: str, version: int, kind: str) -> bytes:
    """The associated data of a credential. Rows from before kinds (empty) are not bound to one; their seal says which they are."""
    return msgspec.json.encode(["remora", follower_id, venue, version] + ([kind] if kind else []))


def _seal(aead: AESGCM, clear: bytes, whose: bytes) -> bytes:
    nonce = os.urandom(NONCE_BYTES)
    return nonce + aead.encrypt(nonce, clear, whose)


def _open(aead: AESGCM, sealed: bytes, whose: bytes) -> bytes:
    try:
        return aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], whose)
    except (InvalidTag, ValueError):
        raise VaultSealed("a credential does not open under this master key") from None


def seal(master: MasterKey, whose: bytes, api_key: SecretStr, secret: SecretStr, paper: bool = False) -> Sealed:
    """Seal a pair of keys under a fresh data key."""
    data_key = AESGCM.generate_key(KEY_BYTES * 8)
    clear = msgspec.json.encode(_Keys(api_key.get_secret_value(), secret.get_secret_value(), paper))
    return Sealed(master.wrap(data_key, whose), _seal(AESGCM(data_key), clear, whose))


def unseal(master: MasterKey, whose: bytes, stored: Sealed) -> tuple[SecretStr, SecretStr, bool]:
    """API key, secret and whether they are a paper account's; raises `VaultSealed`."""
    keys = msgspec.json.decode(_open(AESGCM(master.unwrap(stored.wrapped_key, whose)), stored.sealed, whose), type=_Keys)
    return SecretStr(keys.api_key), SecretStr(keys.secret), keys.paper


def new_master_key() -> SecretStr:
    """A fresh master key as base64."""
    return SecretStr(base64.b64encode(os.urandom(KEY_BYTES)).decode())


def load_master_key(settings: Settings) -> MasterKey:
    """The master key of the settings: environment, else file. Raises `ConfigInvalid`, never showing the value."""
    if settings.master_key is not None:
        return parse_master_key(settings.master_key)
    if settings.master_key_file is not None:
        try:
            return parse_master_key(SecretStr(settings.master_key_file.read_text()))
        except OSError as error:
            raise ConfigInvalid(f"master key file: {error.strerror}") from None
    raise ConfigInvalid("no master key: set REMORA_MASTER_KEY or REMORA_MASTER_KEY_FILE (32 bytes, base64 or hex)")


def parse_master_key(text: SecretStr) -> MasterKey:
    """32 bytes from hex or base64."""
    value = text.get_secret_value().strip()
    try:
        raw = bytes.fromhex(value) if len(value) == 2 * KEY_BYTES else base64.b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        raise ConfigInvalid("the master key is neither hex nor base64") from None
    return MasterKey(raw)
