"""Takes a picture of a page in every look and keeps it small: a palette of at most 32 colours, no lost sharpness."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from playwright.async_api import Page

Scheme = Literal["light", "dark"]
WIDTHS = {"desktop": 1100, "phone": 320}
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
LOOKS = tuple(f"{width}-{scheme}" for width in WIDTHS for scheme in SCHEMES)
BYTES_MAX = 4 * 1024 * 1024  # chosen: what a checkout should carry for looking at
_HEIGHT = 640
# Chromium itself reads the picture: it returns width, height, palette (RGB) and an index a pixel. Of more than 32
# colours the rarest are replaced by the nearest that is kept.
_INDEXED = """
async (picture) => {
  const image = await createImageBitmap(await (await fetch(`data:image/png;base64,${picture}`)).blob());
  const { width, height } = image;
  const canvas = new OffscreenCanvas(width, height).getContext("2d");
  canvas.drawImage(image, 0, 0);
  const pixels = new Uint32Array(canvas.getImageData(0, 0, width, height).data.buffer);
  const counts = new Map();
  for (const colour of pixels) counts.set(colour, (counts.get(colour) || 0) + 1);
  const rgb = (c) => [c & 0xff, (c >> 8) & 0xff, (c >> 16) & 0xff];
  const kept = [...counts].sort((a, b) => b[1] - a[1]).slice(0, 32).map(([c]) => rgb(c));
  const apart = (a, b) => (a[0] - b[0]) ** 2 + (a[1] - b[1]) ** 2 + (a[2] - b[2]) ** 2;
  const index = new Map();
  for (const c of counts.keys()) {
    const colour = rgb(c);
    index.set(c, kept.reduce((best, one, at) => (apart(one, colour) < apart(kept[best], colour) ? at : best), 0));
  }
  const found = pixels.map((c) => index.get(c));
  let text = "";
  for (let at = 0; at < found.length; at += 8192) text += String.fromCharCode(...found.subarray(at, at + 8192));
  return [width, height, kept.flat(), btoa(text)];
}
"""


class Album:
    """Pictures of one run in a folder. `small` is a blank page of Chromium that works on pictures."""

    def __init__(self, folder: Path, small: Page) -> None:
        self._folder = folder
        self._small = small
        self.names: list[str] = []

    async def take(self, page: Page, name: str, looks: Collection[str] = LOOKS, part: str | None = None) -> None:
        """Take the page as it is now: desktop and phone width, light and dark; or of these `looks` alone.

        `part` is a selector of what to take instead of the whole page.
        """
        if name in self.names:
            raise ValueError(f"{name}: two pictures of one name")
        self.names.append(name)
        before = page.viewport_size
        for width_name, width in WIDTHS.items():
            await page.set_viewport_size({"width": width, "height": _HEIGHT})
            for scheme in (one for one in SCHEMES if f"{width_name}-{one}" in looks):
                await page.emulate_media(color_scheme=scheme)
                if part is None:
                    taken = await page.screenshot(full_page=True, animations="disabled", caret="hide")
                else:
                    taken = await page.locator(part).first.screenshot(animations="disabled", caret="hide")
                indexed = await self._small.evaluate(_INDEXED, base64.b64encode(taken).decode())
                (self._folder / f"{name}.{width_name}-{scheme}.png").write_bytes(_png(*indexed))
        if before is not None:
            await page.set_viewport_size(before)


def _png(width: int, height: int, colours: list[int], indices: str) -> bytes:
    """Return a PNG with a palette (PNG specification, 11.2): one byte a pixel, rows unfiltered."""
    raw = base64.b64decode(indices)
    rows = b"".join(b"\0" + raw[at : at + width] for at in range(0, width * height, width))
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"PLTE", bytes(colours)), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
