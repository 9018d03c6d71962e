"""The distribution's Chromium, which looks at the page as a person's browser does."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
from playwright.async_api import Browser, ConsoleMessage, Dialog, Page, async_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium is installed: apt-get install --no-install-recommends chromium"
)
_ARGUMENTS = ["--no-sandbox", "--disable-background-networking", "--disable-dev-shm-usage"]


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=_ARGUMENTS)
        yield browser
        await browser.close()


@dataclass
class Tab:
    """A tab of the browser, and what it complained of."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list[str])

    async def open(self, address: str) -> None:
        """Load a page of ours."""
        await self.page.goto(f"{self.url}{address.lstrip('/')}")

    async def sees(self, text: str) -> None:
        """Wait until a text is on the page."""
        await self.page.get_by_text(text).first.wait_for()

    async def press(self, name: str) -> None:
        """Press a button by its name."""
        await self.page.get_by_role("button", name=name, exact=True).first.click()

    async def sees_after_a_while(self, text: str) -> None:
        """Load the page again and again, as somebody without scripts does, until a text is on it."""
        with anyio.fail_after(30):
            while text not in await self.page.content():
                await self.page.reload()


@asynccontextmanager
async def tab(browser: Browser, url: str, *, complains: bool = False, **options: Any) -> AsyncIterator[Tab]:
    """Open a tab with cookies and a cache of its own; nothing in it may go wrong unless ``complains``."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
    context.set_default_timeout(30_000)
    page = await context.new_page()
    opened = Tab(page, url)

    def heard(message: ConsoleMessage) -> None:
        if message.type == "error":
            opened.complaints.append(message.text)

    async def asked(dialog: Dialog) -> None:
        opened.complaints.append(f"a dialog: {dialog.message}")
        await dialog.dismiss()

    page.on("console", heard)
    page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    page.on("dialog", asked)
    yield opened
    await context.close()
    assert complains or opened.complaints == []
