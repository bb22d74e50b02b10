"""Schema of the vault: the one thing that is backed up and not rebuilt from the log. Every statement may be repeated, also on an older
version of the table, with rows (a dump that was restored)."""

from __future__ import annotations

from typing import Final, LiteralString

SCHEMA: Final[LiteralString] = """
CREATE SCHEMA IF NOT EXISTS vault;
CREATE SEQUENCE IF NOT EXISTS vault.revisions;
CREATE TABLE IF NOT EXISTS vault.credentials (
    follower_id text NOT NULL,
    venue text NOT NULL,
    key_version integer NOT NULL,
    master_fingerprint text NOT NULL,
    wrapped_key bytea NOT NULL,
    sealed bytea NOT NULL,
    account_mark text NOT NULL,
    revision bigint NOT NULL DEFAULT nextval('vault.revisions'),
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (follower_id, venue)
);
-- One venue account belongs to one follower: the mark is a hash of venue and API key.
CREATE UNIQUE INDEX IF NOT EXISTS credentials_account_mark ON vault.credentials (account_mark);
CREATE INDEX IF NOT EXISTS credentials_revision ON vault.credentials (revision);
-- A follower has one live and one paper account at a venue. '' are rows from before that: their seal says which they are.
DO $$ BEGIN
    IF NOT EXISTS (
        SELECT FROM information_schema.columns WHERE table_schema = 'vault' AND table_name = 'credentials' AND column_name = 'kind'
    ) THEN
        ALTER TABLE vault.credentials ADD COLUMN kind text NOT NULL DEFAULT '' CHECK (kind IN ('', 'live', 'paper'));
        ALTER TABLE vault.credentials DROP CONSTRAINT credentials_pkey, ADD PRIMARY KEY (follower_id, venue, kind);
    END IF;
END $$;
"""
