"""Templates and static files, read once at start."""

from __future__ import annotations

import hashlib
import math
import re
from importlib.resources import files
from typing import TYPE_CHECKING

from aiohttp import web
from jinja2 import Environment, FunctionLoader, StrictUndefined

from countersign.contract import base64url
from services.gateway.visitor import VISITOR, new_secret

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta
    from importlib.resources.abc import Traversable

    from services.gateway.model import Site

INTERRUPTS = "problem.html"  # a page that comes instead of another tells no remark that is meant for that one
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
_ADDRESS = re.compile(r"^(https?://[!-.0-~]+)?/(?!/)[!-~]*\Z")
_FOLDER = files("services.gateway")


class Pages:
    """Renders the pages of one site."""

    def __init__(self, site: Site, *, demo: bool) -> None:
        self._site = site
        self._demo = demo
        self._files = {entry.name: entry.read_bytes() for entry in (_FOLDER / "static").iterdir() if entry.is_file()}
        self._versions = {name: base64url(hashlib.sha256(body).digest())[:12] for name, body in self._files.items()}
        templates = dict(_texts(_FOLDER / "templates"))
        self._environment = Environment(
            loader=FunctionLoader(templates.__getitem__),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(static=self._address, seconds=_seconds)

    def page(self, request: web.Request, template: str, status: int = 200, **context: object) -> web.Response:
        """Return a page in the visitor's language."""
        visitor = request[VISITOR]
        blank: dict[str, object] = dict.fromkeys(("problem", "done", "state", "poll", "refresh", "here", "slow"))
        remark = None if template == INTERRUPTS else visitor.remark
        if remark is not None:
            visitor.remark_told = True
            blank["problem" if remark.problem else "done"] = remark.text
        text = self._environment.get_template(template).render(
            {
                **blank,
                "t": visitor.words,
                "site": str(self._site),
                "demo": self._demo,
                "session": visitor.session,
                "signed_in": visitor.signed_in is not None,
                "csrf_token": visitor.csrf_token(),
                "once": new_secret(),
                "placed": False,
                **{name: value for name, value in context.items() if value is not None or name not in blank},
            }
        )
        response = web.Response(text=text, status=status, content_type="text/html")
        response.headers["Content-Language"] = visitor.words.language
        return response

    async def static(self, request: web.Request) -> web.Response:
        """Return a file; its address carries its version, so browsers may keep it."""
        name = request.match_info["name"]
        body = self._files.get(name)
        if body is None:
            raise web.HTTPNotFound
        response = web.Response(body=body, content_type=_TYPES[name.rpartition(".")[2]], charset="utf-8")
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response

    def _address(self, name: str) -> str:
        return f"/static/{name}?v={self._versions[name]}"


def _texts(folder: Traversable, above: str = "") -> Iterator[tuple[str, str]]:
    """Yield the name and text of each file below a folder; a name has the folders in it, as templates say them."""
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _texts(entry, f"{above}{entry.name}/")
        else:
            yield f"{above}{entry.name}", entry.read_text()


def _seconds(length: timedelta) -> int:
    return max(0, math.ceil(length.total_seconds()))


def see_other(address: str) -> web.Response:
    """Return a redirect that is fetched with GET (RFC 9110, section 15.4.4).

    `address` is one of our own paths, made of constants and parsed ids, or our origin and a target as it came.
    """
    if not _ADDRESS.match(address):
        raise ValueError("a redirect to what is no address of ours")
    return web.Response(status=303, headers={"Location": address})
