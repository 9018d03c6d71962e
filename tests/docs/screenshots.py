"""python -m tests.docs.screenshots: pictures of the page, from the demo, into docs/pictures. Needs Chromium."""

import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
from playwright.async_api import Page

from tests.web.browser import chromium, tab

DIRECTORY = Path(__file__).resolve().parents[2] / "docs" / "pictures"
_SIZE = {"width": 1100, "height": 620}
_DEMO = (sys.executable, "-P", "-m", "retrovue", "demo", "--items", "4000", "--serve", "--port", "0")


async def _take(url: str) -> None:
    async with chromium() as browser, tab(browser, url, viewport=_SIZE) as here:
        page = here.page

        async def keep(name: str, **options: object) -> None:
            await page.wait_for_load_state("networkidle" if name not in {"overview", "run"} else "load")
            await page.screenshot(path=DIRECTORY / f"{name}.png", **options)  # type: ignore[arg-type]

        await here.open("/schedules")
        await page.get_by_label("Times").fill("*/5 * * * *")
        await here.press("Add")
        await keep("schedules")
        await here.open("/assets/review?decision=approve&type=episode")
        await keep("review")
        await page.get_by_role("button", name=re.compile("^Approve these")).click()
        await here.sees("assets approved")
        await _source(page, url)
        await keep("source")
        await page.get_by_role("link", name="Movies", exact=True).click()
        await keep("library")
        await _source(page, url)
        await here.press("Full sync")
        await page.wait_for_url("**/runs/*")
        await page.get_by_role("cell", name="ingested").first.wait_for()
        await keep("run")
        await here.open("/assets?state=new&order=name")
        await keep("assets")
        await page.locator("tbody a").first.click()
        await keep("asset")
        for name in ("changes", "hosts", "removals", "enrichers", "setup", "runs"):
            await here.open(f"/{name}")
            await keep(name)
        await here.open("/doctor?examine=yes")
        await keep("doctor")
        await here.open("/")
        await here.sees("Counted")
        await page.get_by_text("reachable", exact=True).wait_for()
        await keep("overview")


async def _source(page: Page, url: str) -> None:
    await page.goto(url)
    await page.get_by_role("link", name="Demo Plex").first.click()
    await page.get_by_text("reachable", exact=True).wait_for()


def main() -> None:
    """Run the demo, and take the pictures."""
    DIRECTORY.mkdir(exist_ok=True)
    environment = {**os.environ, "PYTHONUTF8": "1"}
    with subprocess.Popen(_DEMO, stdout=subprocess.PIPE, text=True, env=environment) as demo:
        assert demo.stdout is not None
        try:
            for line in demo.stdout:
                if (found := re.search(r"The page is at (\S+)", line)) is not None:
                    anyio.run(_take, found[1])
                    break
        finally:
            demo.terminate()
            demo.stdout.read()


if __name__ == "__main__":
    main()
