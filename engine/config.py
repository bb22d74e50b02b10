"""Settings from the environment (`REMORA_*`, `DATABASE_URL`, `KAFKA_BOOTSTRAP_SERVERS`); secrets are never printed."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from engine.topology import Topic


class Settings(BaseSettings):
    """Every setting of every process. Times end in their unit; an unset secret refuses where it is needed, not here."""

    model_config = SettingsConfigDict(env_prefix="REMORA_", frozen=True, extra="ignore", populate_by_name=True)

    kafka: str = Field("127.0.0.1:9092", validation_alias=AliasChoices("KAFKA_BOOTSTRAP_SERVERS", "kafka"))
    database_url: SecretStr = Field(
        SecretStr("postgresql://remora@127.0.0.1:5432/remora"), validation_alias=AliasChoices("DATABASE_URL", "database_url")
    )
    topic_prefix: str = ""
    partitions: int = Field(8, ge=1, le=1024)
    replication_factor: int = Field(1, ge=1, le=9)
    """Of topics that we create; 3 in production."""
    group_prefix: str = "remora"
    instance: str = "0"
    session_timeout_s: float = 6.0
    data_dir: Path = Path(os.environ.get("XDG_DATA_HOME") or "~/.local/share", "remora").expanduser()
    cache_dir: Path = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "remora").expanduser()
    test_data: Path = Path("../shared/data")
    ready_file: Path | None = None
    """Where a role says once that it serves (see `engine/lifecycle.py`); unset outside of a supervisor."""
    exits: str = ""
    """Exit codes of this process's former lives, as its supervisor counted them."""
    metrics_host: str = "127.0.0.1"
    metrics_port: int = Field(0, ge=0, le=65535)
    """Where a role other than the api answers `/metrics` (docs/metrics.md); 0: nowhere. Each process of a machine needs its own."""

    tick_ms: int = Field(1000, ge=50)
    round_max_records: int = Field(2000, ge=1)
    snapshot_events: int = Field(100_000, ge=1)
    """A shard's state is written down after this many accepted events."""

    master_key: SecretStr | None = None
    master_key_file: Path | None = None
    exchange_url: str | None = None
    """Base URL of the exchange simulator, reached for every venue host; unset means the real exchanges."""
    exchange_ca_file: Path | None = None
    paper_url: str | None = None
    """Base URL of a paper venue beside the real exchanges (`remora simulator --live-prices`): followers in mode `paper` trade there."""
    recv_window_ms: int = Field(5000, ge=1000, le=60000)
    equity_interval_s: float = 20.0
    open_orders_interval_s: float = Field(600.0, gt=0)
    """Between two looks at an account's open orders, which are dear at Binance; after an unknown outcome at once."""
    funding_interval_s: float = Field(3600.0, gt=0)
    """Venues settle funding on full hours; payments are read a little after each interval of the clock."""
    marks_interval_s: float = Field(60.0, gt=0)
    orders_in_flight: int = Field(64, ge=1)
    venue_limits: bool = True
    ip_pause_s: float = Field(600.0, gt=0)
    """Pause after a venue refused our whole IP without saying for how long (Bybit's 403: ten minutes)."""
    absent_quiet_s: float = 60.0
    """How long every source of a venue must agree that an order does not exist before that counts."""
    engine_time_s: float = 10.0
    """Longest time a venue may still work on a request after its receive window has passed."""
    exchange_timeout_s: float = Field(15.0, gt=0)
    """Above the venues' own 10 s, so that their "execution status unknown" is seen."""

    decisions_keep_months: int = Field(24, ge=1)
    """Months of `copy_decisions` and `equity_curve` that are kept, this one included; the log keeps everything."""

    api_host: str = "127.0.0.1"
    api_port: int = Field(8080, ge=0, le=65535)
    live_clients: int = Field(800, ge=1)
    """Streams of the live feed that one API process gives at once; each takes a file descriptor."""
    api_rate: float = Field(500.0, gt=0)
    """Requests a second of one API key in one API process, a write counting as five; more are answered 429."""
    api_burst: float = Field(1000.0, ge=5)
    api_guesses: float = Field(40.0, ge=1)
    """Wrong keys of one address at once; a twentieth of them comes back each second. More are answered 429."""
    simulator_host: str = "127.0.0.1"
    simulator_port: int = Field(8090, ge=0, le=65535)
    simulator_tls_port: int = Field(0, ge=0, le=65535)
    """TLS listener of the simulator (0: any free port), opened when `simulator_tls_dir` is set; the test CA is written there."""
    simulator_tls_dir: Path | None = None

    def topic(self, topic: Topic) -> str:
        """The topic's name on the broker: prefix plus the name of the map."""
        return self.topic_prefix + topic.name

    def group(self, role: str) -> str:
        """Consumer group of a role, `remora-engine` by default."""
        return f"{self.topic_prefix}{self.group_prefix}-{role}"


@lru_cache(maxsize=1)
def load_settings() -> Settings:
    """The process's settings, read once from the environment."""
    return Settings()
