"""How a page is held against axe and its own width, whether its browser runs scripts or not."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from axe_playwright_python.async_playwright import Axe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Page, Route

    from tests.browser.person import Computer

with_scripts = pytest.mark.parametrize("script", [True], ids=["script"])
# What every page and state is looked at with: a narrow window, a dark one, and one without scripts.
looks = pytest.mark.parametrize(
    ("script", "look"),
    [(True, {"width": 320}), (True, {"width": 1100, "color_scheme": "dark"}), (False, {"width": 320})],
    ids=["narrow", "dark", "no-script"],
)

# WCAG 2.0 to 2.2, levels A and AA, and what axe's makers call best practice.
_RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


async def fit(me: Computer, state: str) -> None:
    """Hold a page against axe, and against its own width (WCAG 2.2, 1.4.10)."""
    widths = await me.page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths[0] <= widths[1], f"{state} is wider than its window: {widths}"
    async with _where_axe_runs(me) as page:
        found = await Axe().run(page, options=_RULES)
    assert not found.response["violations"], f"{state}: {found.generate_report()}"


@asynccontextmanager
async def _where_axe_runs(me: Computer) -> AsyncIterator[Page]:
    """Give the page itself; axe is a script, so of a page without scripts a copy that shows the same."""
    if me.scripts:
        yield me.page
        return
    browser, size = me.page.context.browser, me.page.viewport_size
    assert browser is not None
    assert size is not None
    shown = await me.page.content()
    context = await browser.new_context(viewport=size, extra_http_headers={"X-Forwarded-For": me.address})
    try:
        page = await context.new_page()

        async def answer(route: Route) -> None:
            await route.fulfill(body=_without_scripts(shown), content_type="text/html; charset=utf-8")

        await page.route(me.page.url, answer)
        await page.goto(me.page.url)
        yield page
    finally:
        await context.close()


def _without_scripts(html: str) -> str:
    """Return a page without its scripts, and with what it shows where there are none."""
    html = re.sub(r"<script\b.*?</script>", "", html, flags=re.DOTALL)
    refreshed = re.sub(r"<meta\b[^>]*http-equiv=\"refresh\"[^>]*>", "", html)
    return re.sub(r"</?noscript\b[^>]*>", "", refreshed)
