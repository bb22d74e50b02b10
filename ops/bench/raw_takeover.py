"""The raw side of `remora bench recovery`: a plain aiokafka group member is killed, another takes its partition. Imports nothing of ours.

Arguments: broker, topic, session timeout in seconds. Leaves: seconds from kill -9 to the first record that the other member reads.
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time

from aiokafka import AIOKafkaConsumer

GROUP = "raw-takeover"


async def member(broker: str, topic: str, session_s: float) -> None:
    """Join, read one record, say so; then keep the partition."""
    consumer = AIOKafkaConsumer(
        topic,
        bootstrap_servers=broker,
        group_id=GROUP,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        session_timeout_ms=int(session_s * 1000),
        heartbeat_interval_ms=int(session_s * 200),
    )
    await consumer.start()
    await consumer.getone()
    print("read", flush=True)
    await asyncio.sleep(600)


def main(broker: str, topic: str, session: str) -> None:
    """Kill one member and time the other."""
    command = [sys.executable, __file__, broker, topic, session, "member"]
    first = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert first.stdout and first.stdout.readline()
    first.send_signal(signal.SIGKILL)
    first.wait()
    killed = time.perf_counter()
    second = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert second.stdout and second.stdout.readline()
    print(time.perf_counter() - killed)
    second.kill()
    second.wait()


if __name__ == "__main__":
    if len(sys.argv) > 4:
        asyncio.run(member(sys.argv[1], sys.argv[2], float(sys.argv[3])))
    else:
        main(sys.argv[1], sys.argv[2], sys.argv[3])
