"""Kafka or Postgres away: every role that talks to it says so in one sentence and ends with exit code 4."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import IllegalStateError, KafkaTimeoutError

from engine.config import Settings
from engine.errors import DependencyUnreachable
from engine.executor.service import Executor
from engine.log.reach import clearly
from engine.log.writer import start_producer
from engine.topology import MARKET_REPORTS
from tests.integration.executor.rig import MASTER_KEY, Rig
from tests.strays import give_up
from tests.support import wait_until

NOBODY = "127.0.0.1:1"


@pytest.mark.parametrize("role", ["executor", "engine", "sequencer"])
async def test_a_role_without_kafka(role: str, tmp_path: Path) -> None:
    environment = os.environ | {"KAFKA_BOOTSTRAP_SERVERS": NOBODY, "REMORA_MASTER_KEY": MASTER_KEY, "REMORA_DATA_DIR": str(tmp_path)}
    command = (sys.executable, "-m", "ops.cli", role)
    process = await asyncio.create_subprocess_exec(*command, env=environment, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == DependencyUnreachable.exit_code, said.decode()
    assert f"Kafka at {NOBODY} did not answer" in said.decode()
    assert b"Traceback" not in said


GONE = f"""
import asyncio
from pathlib import Path
from engine.agents.app import build_app, run_loop, run_worker
from engine.agents.sequencer import Sequencer
from engine.config import Settings
from engine.log.writer import build_producer

async def main():
    settings = Settings(kafka={NOBODY!r}, data_dir=Path({{folder!r}}))
    await run_worker(Sequencer(settings, build_producer(settings, "test")).app, settings, "sequencer")

run_loop(main())
"""


async def test_a_broker_that_goes_before_the_group_is_joined(tmp_path: Path) -> None:
    """The topics were looked at, the producer stands: what is left to fail is Faust's own consumer."""
    program = GONE.format(folder=str(tmp_path))
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", program, stderr=asyncio.subprocess.PIPE)
    _, said = await process.communicate()
    assert process.returncode == DependencyUnreachable.exit_code, said.decode()
    assert f"Kafka at {NOBODY} did not answer" in said.decode()


async def test_a_market_report_that_is_not_written_ends_the_executor_clearly(rig: Rig) -> None:
    executor = Executor(rig.settings)
    send = executor.producer.send_and_wait

    async def sent(topic: str, **record: Any) -> Any:
        if topic == rig.settings.topic(MARKET_REPORTS):
            raise KafkaTimeoutError
        return await send(topic, **record)

    executor.producer.send_and_wait = sent  # type: ignore[method-assign]
    with pytest.raises(DependencyUnreachable, match="did not answer: KafkaTimeoutError"):
        await asyncio.wait_for(executor.run(), 30.0)


async def test_only_kafkas_own_errors_are_its_absence() -> None:
    settings = Settings(kafka=NOBODY)
    with pytest.raises(DependencyUnreachable):
        await start_producer(settings, "test")
    for error in (IllegalStateError(), ValueError("bug")):
        assert clearly(settings, error) is error


async def test_a_reader_that_is_given_up_by_its_client_library_ends_the_process(rig: Rig) -> None:
    """It is no stop: nobody asked for one. A supervisor starts the executor again."""
    with pytest.raises(DependencyUnreachable, match="gave up"):
        async with rig.running() as executor:
            await give_up(executor.shards._consumer)
            await wait_until(lambda: executor.stopping is not None and executor.stopping.done())
