"""A browser small enough to read: it keeps cookies, follows redirects, and fills in the forms that pages give it."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import aiohttp

if TYPE_CHECKING:
    from types import TracebackType


@dataclass
class Form:
    """A form of a page with what it sends: hidden fields, checked boxes, and its first button."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    names: set[str] = field(default_factory=set)
    button: tuple[str, str] | None = None


@dataclass
class Page:
    """A page as it was answered. `state` is what its main part says it shows: code, moment, ready ..."""

    url: str
    status: int
    body: bytes
    state: str
    forms: list[Form]
    links: list[str]

    def form_with(self, name: str) -> Form | None:
        """Return the first form that asks for a field of that name."""
        return next((form for form in self.forms if name in form.names), None)


class Browser:
    """One computer: its own cookies, and an address that the gateway believes as it comes through a trusted proxy."""

    def __init__(self, base_url: str, address: str) -> None:
        self._base = base_url.rstrip("/")
        self._http = aiohttp.ClientSession(
            cookie_jar=aiohttp.CookieJar(unsafe=True),  # hosts here are numbers
            headers={"X-Forwarded-For": address, "Accept": "text/html", "Accept-Language": "en"},
            timeout=aiohttp.ClientTimeout(total=30),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.close()

    async def get(self, path: str) -> Page:
        """Open a path or an address."""
        async with self._http.get(self._full(path)) as answer:
            return _page(str(answer.url), answer.status, await answer.read())

    async def submit(self, page: Page, form: Form, **values: str) -> Page:
        """Send a form of a page with these values, as a person who pressed its first button."""
        fields = {**form.fields, **values}
        if form.button is not None:
            fields[form.button[0]] = form.button[1]
        target = urlsplit(page.url)
        headers = {"Origin": f"{target.scheme}://{target.netloc}", "Sec-Fetch-Site": "same-origin", "Referer": page.url}
        async with self._http.post(self._full(form.action or page.url), data=fields, headers=headers) as answer:
            return _page(str(answer.url), answer.status, await answer.read())

    def _full(self, path: str) -> str:
        return path if path.startswith("http") else f"{self._base}{path}"


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[str] = []
        self.state = ""
        self._open: Form | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "main":
                self.state = given.get("data-state", "")
            case "a" if "href" in given:
                self.links.append(given["href"])
            case "form":
                self._open = Form(given.get("action", ""), given.get("method", "get").lower())
                self.forms.append(self._open)
            case "input" | "button" if self._open is not None and "name" in given:
                self._take(self._open, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    @staticmethod
    def _take(form: Form, tag: str, given: dict[str, str]) -> None:
        name, value = given["name"], given.get("value", "")
        form.names.add(name)
        if tag == "button":
            form.button = form.button or (name, value)
        elif given.get("type") not in {"radio", "checkbox"} or "checked" in given:
            form.fields[name] = value


def _page(url: str, status: int, body: bytes) -> Page:
    reader = _Reader()
    reader.feed(body.decode(errors="replace"))
    return Page(url, status, body, reader.state, reader.forms, reader.links)
