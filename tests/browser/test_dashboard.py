"""The dashboard in a real browser, on the running system, with real fills."""

from __future__ import annotations

import re
import secrets
from typing import Any

from playwright.async_api import Browser, Page, expect

from engine.log.publish import open_publisher
from engine.topology import SIGNALS
from tests.browser.conftest import Market, Visitor, visit

HOSTILE = "<img src=x onerror=window.owned=1> '; DROP TABLE trades;--"


async def filled(page: Page) -> int:
    return int((await page.locator("#filled").inner_text()).replace(",", ""))


async def mark(page: Page) -> None:
    """A page that is loaded again has lost this."""
    await page.evaluate("window.sameDocument = true")


async def same_document(page: Page) -> bool:
    return bool(await page.evaluate("window.sameDocument === true"))


async def test_the_overview_fills_without_a_reload(visitor: Visitor, market: Market) -> None:
    page = visitor.page
    await visitor.goto("/")
    await visitor.wait_live()
    await mark(page)
    before = await filled(page)
    newest = await page.locator("#fills tbody tr").first.inner_text()
    await market.play(20)
    [row] = market.system.rows("SELECT count(*) AS filled FROM trades WHERE filled > 0")
    assert row["filled"] > before
    await expect(page.locator("#filled")).to_have_text(f"{row['filled']:,}")
    await expect(page.locator("#fills tbody tr").first).not_to_have_text(newest)
    assert await same_document(page)


async def test_a_follower_is_created_copies_and_its_order_is_explained(visitor: Visitor) -> None:
    page, name = visitor.page, f"me-{secrets.token_hex(3)}"
    await visitor.goto("/guide")
    await page.fill("#follower", name)
    await page.get_by_role("button", name="Create it").click()
    await page.get_by_role("button", name="The whale buys").click()
    copy = page.locator("a.copy")
    await expect(page.locator("#copies")).to_contain_text("filled")
    await copy.first.click()
    chain = page.locator(".chain li")
    await expect(chain.first).to_contain_text("The whale's fill was detected")
    await expect(chain.last).to_contain_text("Its end is known")
    text = await page.locator(".chain").inner_text()
    assert re.search(r"whale\.signals\.v1 \[\d\] @ \d+", text), text
    assert re.search(r"follower\.events\.v1 \[\d\] @ \d+", text), text
    assert len(re.findall(r"trade\.executions\.v1 \[\d\] @ \d+", text)) == 3, text
    assert re.search(r"wanted 100\.00 USDT, got \d+\.\d\d USDT", text), text
    assert len(re.findall(r"\+[\d.]+ (ms|s) ", text)) >= 5
    await page.get_by_role("link", name=name).first.click()
    await expect(page.locator("#state")).to_contain_text("BTC/USDT")
    await expect(page.locator("#decisions li").first).to_contain_text("wanted 100.00")


async def test_the_kill_switch_stops_copies_and_says_so(visitor: Visitor) -> None:
    page, name = visitor.page, f"halted-{secrets.token_hex(3)}"
    await visitor.goto("/guide")
    await page.fill("#follower", name)
    await page.get_by_role("button", name="Create it").click()
    await page.get_by_role("button", name="The whale buys").wait_for()
    guide = page.url
    await visitor.goto("/operations")
    await page.get_by_role("link", name="Halt everything…").click()
    await page.fill("#reason", "a drill")
    await page.get_by_role("button", name="Halt", exact=True).click()
    try:
        await expect(page.locator("#banner")).to_contain_text("Copying is halted")
        await expect(page.locator("#banner")).to_contain_text("a drill")
        await expect(page.locator("#operations")).to_contain_text("SetSwitch")
        await expect(page.locator("#operations")).to_contain_text(f"put a paper account of {name} on binance into the vault")
        await page.goto(guide)
        await page.get_by_role("button", name="The whale buys").click()
        await expect(page.locator("#copies")).to_contain_text("halted by the switch global")
        assert await page.locator("a.copy").count() == 0
    finally:
        await visitor.goto("/operations/confirm?deed=running")
        await page.get_by_role("button", name="Lift it").click()
    await expect(page.locator("#banner")).not_to_contain_text("halted")


async def test_the_feed_goes_on_after_the_api_was_killed(browser: Browser, market: Market, session: Any) -> None:
    visitor = await visit(browser, market.system, storage_state=session)
    page, supervisor = visitor.page, market.system.supervisor
    await visitor.goto("/")
    await visitor.wait_live()
    await mark(page)
    supervisor.kill9("api", restart=False)
    await expect(page.locator("#live")).to_have_attribute("data-state", "down")
    await market.play(10)
    supervisor.start("api")
    await expect(page.locator("#live")).to_have_attribute("data-state", "live")
    [row] = market.system.rows("SELECT count(*) AS filled FROM trades WHERE filled > 0")
    await expect(page.locator("#filled")).to_have_text(f"{row['filled']:,}")
    await market.play(5)
    [row] = market.system.rows("SELECT count(*) AS filled FROM trades WHERE filled > 0")
    await expect(page.locator("#filled")).to_have_text(f"{row['filled']:,}")
    assert await same_document(page)
    await visitor.context.close()


async def test_what_others_wrote_is_shown_as_text(visitor: Visitor, market: Market) -> None:
    page, name = visitor.page, HOSTILE[:55]
    await visitor.goto("/guide")
    await page.fill("#follower", name)
    await page.get_by_role("button", name="Create it").click()
    await page.get_by_role("button", name="The whale buys").click()
    await expect(page.locator("#copies")).to_contain_text("filled")
    async with open_publisher(market.system.settings, "test") as publisher:
        await (await publisher.send_raw(SIGNALS, b'{"signal_id": "' + HOSTILE.encode() + b'"}', 0, b"x"))
    for path, place in (("/followers", "main"), ("/whales", "main"), ("/operations", "#letters"), ("/operations", "#operations")):
        await visitor.goto(path)
        await expect(page.locator(place)).to_contain_text(HOSTILE[:30])
        assert await page.locator("img").count() == 0
    await visitor.goto("/followers")
    await page.get_by_role("link", name=name).click()
    await expect(page.get_by_role("heading", level=1)).to_have_text(name)
    assert await page.evaluate("window.owned === undefined")


async def test_the_keyboard_reaches_everything(visitor: Visitor) -> None:
    page = visitor.page
    await visitor.goto("/operations")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Halt everything…")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#reason")).to_be_focused()
