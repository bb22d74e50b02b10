"""Every operation of the OpenAPI page under inputs drawn from its own schemas, by a key that may everything and by nobody.

No answer is a 5xx or one that the page does not tell, and each has the shape that it tells.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.schemas import APIOperation
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance, status_code_conformance

from api.app import Server, _listen
from engine.log.topics import ensure_topics
from tests.conftest import SettingsFactory
from tests.integration.api.world import fill, make_keys
from tests.support import wait_until
from tests.tables import Tables

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 6
BOUNDED = settings(
    max_examples=EXAMPLES,
    database=None,
    derandomize=True,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
READY = "/readyz"
"""Nobody projects here: it says 503, as it should."""
ENDLESS = "/v1/live"
"""A stream has no end to wait for; `tests/integration/api_live` has it."""


@pytest.fixture
async def served(make: SettingsFactory, tables: Tables) -> AsyncIterator[tuple[str, str]]:
    """Base URL of a served app, and a key."""
    fill(tables)
    made = make(
        database_url=tables.dsn,
        partitions=2,
        api_port=0,
        api_rate=1e6,
        api_burst=1e6,
        api_guesses=1e6,
        ready_file=make().data_dir / "ready",
    )
    await ensure_topics(made)
    listening = _listen(made)
    server = Server(made, listening)
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    assert made.ready_file is not None
    await wait_until(made.ready_file.exists)
    port = json.loads(made.ready_file.read_text())["port"]
    keys = await make_keys(server.config.app.state.guard.store)  # type: ignore[union-attr]
    yield f"http://127.0.0.1:{port}", keys["admin"]
    server.should_exit = True
    await serving


@pytest.fixture
def make(settings: SettingsFactory) -> SettingsFactory:
    """Under a name that does not hide hypothesis's."""
    return settings


def play(operation: APIOperation, key: str | None, seen: set[int]) -> None:
    """Draw and send; the first wrong answer ends it."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}

    @BOUNDED
    @given(case=operation.as_strategy())
    def send(case: schemathesis.Case) -> None:
        response = case.call(headers=headers)
        seen.add(response.status_code)
        case.validate_response(response, checks=CHECKS[1:] if operation.path == READY else CHECKS)

    send()


@pytest.mark.filterwarnings("ignore:Do not use the .random. module")
async def test_every_operation(served: tuple[str, str]) -> None:
    url, key = served
    schema = await asyncio.to_thread(schemathesis.openapi.from_url, f"{url}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    assert len(operations) > 30
    for operation in operations:
        strangers: set[int] = set()
        await asyncio.to_thread(play, operation, None, strangers)
        if operation.path.startswith("/v1/") and operation.path != "/v1/health":
            assert strangers <= {401, 422, 429}, f"{operation.label}: {strangers}"
        if operation.path != ENDLESS:
            await asyncio.to_thread(play, operation, key, set())
