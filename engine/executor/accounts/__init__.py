"""The vault: credentials of accounts in Postgres schema `vault`, sealed under the master key."""

from engine.executor.accounts.directory import Directory, papers_of
from engine.executor.accounts.sealing import MasterKey, load_master_key, new_master_key
from engine.executor.accounts.vault import (
    add_credential,
    add_credentials,
    ensure_vault,
    load_credentials,
    remove_credential,
    rotate_master_key,
    verify_vault,
)

__all__ = [
    "Directory",
    "MasterKey",
    "add_credential",
    "add_credentials",
    "ensure_vault",
    "load_credentials",
    "load_master_key",
    "new_master_key",
    "papers_of",
    "remove_credential",
    "rotate_master_key",
    "verify_vault",
]
