"""Every page at a desk and on a phone, light and dark: nothing to complain of, no sideways scrolling. `REMORA_SCREENSHOTS=docs/img` keeps
pictures of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Browser, Page

from tests.browser.conftest import Market, visit

ORDER = "SELECT command_key, follower_key, whale_key FROM trades WHERE filled > 0 AND slippage_bps IS NOT NULL ORDER BY id DESC LIMIT 1"
TALLEST: Final = 1700
DARK = frozenset({"overview", "operations"})
"""Pages that are looked at in the dark as well."""
PICTURED = frozenset({"overview", "whale", "follower", "order", "operations", "guide"})


def paths(market: Market) -> dict[str, str]:
    """Name and path of every page."""
    [row] = market.system.rows(ORDER)
    return {
        "overview": "/",
        "whales": "/whales",
        "whale": f"/whales/{row['whale_key']}",
        "followers": "/followers",
        "follower": f"/followers/{row['follower_key']}",
        "order": f"/orders/{row['command_key']}",
        "operations": "/operations",
        "confirm": "/operations/confirm?deed=halt",
        "guide": "/guide",
    }


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light")])
async def test_every_page(browser: Browser, market: Market, session: Any, pictures: Path | None, width: int, scheme: str) -> None:
    size = {"width": width, "height": 900 if width > 400 else 844}
    visitor = await visit(browser, market.system, viewport=size, color_scheme=scheme, storage_state=session)
    for name, path in paths(market).items():
        if scheme == "light" or name in DARK:
            await visitor.goto(path)
            await settled(visitor.page)
            assert await visitor.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways at {width}"
            if pictures and name in PICTURED:
                await picture(visitor.page, pictures / f"{name}-{width}{'' if scheme == 'light' else '-dark'}.png", width)
    await visitor.context.close()
    assert visitor.troubles == []


async def settled(page: Page) -> None:
    """Until the feed has come and the charts are drawn."""
    await page.locator("#live[data-state=live]").wait_for()
    for chart in await page.locator("[data-chart]").all():
        await chart.locator("canvas").wait_for()


async def picture(page: Page, file: Path, width: int) -> None:
    """A page from its top, not longer than people look."""
    height = await page.evaluate("document.documentElement.scrollHeight")
    await page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, "width": width, "height": min(height, TALLEST)})
