"""One running system and one Chromium for all browser tests: followers exist, a market was played, somebody is logged in."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from msgspec import structs
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, async_playwright, expect

from engine.contracts.signal import WhaleSignal
from engine.domain.values import Limits
from ops.demo.plan import plan_followers
from ops.demo.play import drive_first_prices
from ops.demo.setup import create_followers, wait_for_marks
from ops.seeded import seeded_signals
from tests.system import System
from tests.tables import in_database

PLAYED, MORE = 40, 200
PATIENCE_MS = 20_000
LIMITS = Limits(
    max_deviation_bps=Decimal(500),
    max_position_quote=Decimal(1_000),
    max_exposure_quote=Decimal(2_000),
    max_open_positions=6,
    daily_loss_quote=Decimal(10),
)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of Debian's Chromium, installed where that is possible."""
    if not shutil.which("chromium") and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run([Path(__file__).with_name("install_chromium.sh")], check=False, timeout=280)
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("no Chromium here, and it could not be installed: run tests/browser/install_chromium.sh as root")
    return found


@dataclass
class Market:
    """A system with followers of the made-up market; `play` goes on where it stopped."""

    system: System
    signals: Iterator[WhaleSignal]

    async def play(self, count: int) -> list[WhaleSignal]:
        """The next signals, played to the end of each."""
        some = [next(self.signals) for _ in range(count)]
        await self.system.play(some)
        return some


@pytest.fixture(scope="package")
def system(chromium: str, kafka: str, postgres: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """Every role as a process."""
    name = f"browser_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(postgres, autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        folder, prefix = tmp_path_factory.mktemp("browser"), f"{name}."
        with System(kafka, in_database(postgres, name), folder, topic_prefix=prefix, partitions=2, equity_interval_s=2.0) as running:
            yield running
        admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="package")
async def market(system: System) -> Market:
    """Six followers, and the first signals played."""
    signals = list(seeded_signals(7, PLAYED + MORE))
    await drive_first_prices(system, signals)
    plans = plan_followers(sorted({signal.whale_id for signal in signals}), 6, seed=7)
    await create_followers(system, [replace(plan, settings=structs.replace(plan.settings, limits=LIMITS)) for plan in plans])
    await wait_for_marks(system.settings)
    found = Market(system, iter(signals))
    await found.play(PLAYED)
    return found


@pytest.fixture(scope="package")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    """Debian's Chromium, without a window."""
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as driver:
        running = await driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield running
        await running.close()


@dataclass
class Visitor:
    """Somebody with a browser. `troubles` is what the console complained of."""

    context: BrowserContext
    page: Page
    troubles: list[str] = field(default_factory=list)

    async def goto(self, path: str) -> None:
        """Open a page of the dashboard."""
        answer = await self.page.goto(path)
        assert answer is not None
        assert answer.ok, f"{path}: {answer.status}"

    async def wait_live(self) -> None:
        """Until the feed has come."""
        await self.page.locator("#live[data-state=live]").wait_for()

    def noted(self, message: ConsoleMessage) -> None:
        """Keep what is an error or a warning."""
        if message.type in ("error", "warning"):
            self.troubles.append(message.text)


async def visit(browser: Browser, system: System, **options: Any) -> Visitor:
    """A new visitor."""
    context = await browser.new_context(base_url=system.api_url, **options)
    context.set_default_timeout(PATIENCE_MS)
    visitor = Visitor(context, await context.new_page())
    visitor.page.on("console", visitor.noted)
    visitor.page.on("pageerror", lambda error: visitor.troubles.append(str(error)))
    return visitor


@pytest.fixture(scope="package")
async def session(browser: Browser, market: Market) -> Any:
    """What a browser keeps of a login by the form."""
    visitor = await visit(browser, market.system)
    await visitor.goto("/whales")
    assert visitor.page.url.endswith("/login?next=%2Fwhales")
    await visitor.page.fill("#api_key", "rmk_wrong")
    await visitor.page.get_by_role("button", name="Log in").click()
    await visitor.page.get_by_role("alert").wait_for()
    await visitor.page.fill("#api_key", market.system.api_key.get_secret_value())
    await visitor.page.get_by_role("button", name="Log in").click()
    await visitor.page.get_by_role("heading", name="Whales").wait_for()
    kept = await visitor.context.storage_state()
    await visitor.context.close()
    assert visitor.troubles == []
    return kept


@pytest.fixture
async def visitor(browser: Browser, market: Market, session: Any) -> AsyncIterator[Visitor]:
    """Logged in, at a desk; at the end the console must have nothing to complain of."""
    found = await visit(browser, market.system, viewport={"width": 1440, "height": 900}, storage_state=session)
    yield found
    await found.context.close()
    assert found.troubles == []


@pytest.fixture(scope="session")
def pictures() -> Path | None:
    """Where screenshots go, if `REMORA_SCREENSHOTS` names a folder."""
    folder = os.environ.get("REMORA_SCREENSHOTS")
    return Path(folder) if folder else None
