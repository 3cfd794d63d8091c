"""The bytes of outputs, thumbnails and originals, by the id of their product."""

import os
from dataclasses import dataclass
from io import FileIO

import anyio
from aiohttp import web
from anyio import to_thread

from batch_reimagine.catalogue import Product
from batch_reimagine.errors import ReimagineError
from batch_reimagine.inside import open_inside
from batch_reimagine.output import Tree
from batch_reimagine.renditions import Renditions
from batch_reimagine.review.guard import RefusalError
from batch_reimagine.review.shelf import ETAG_CHARACTERS, Shelf
from batch_reimagine.thumbs import MOST_PICTURE_BYTES, Rendition

_MOST_AT_ONCE = 16  # pictures that are being sent: each holds one piece in memory
_PIECE_BYTES = 1 << 18
_HEAD_BYTES = 12
_YEAR_S = 31_536_000
_NONE = RefusalError(404, "there is no such picture")


@dataclass(frozen=True, slots=True)
class _File:
    opened: FileIO  #: closed by itself where an answer is cancelled before it has it
    size: int
    type: str


class Pictures:
    """Answers to requests for pictures."""

    def __init__(self, shelf: Shelf, renditions: Renditions) -> None:
        self._shelf = shelf
        self._renditions = renditions
        self._sending = anyio.CapacityLimiter(_MOST_AT_ONCE)

    async def thumbnail(self, request: web.Request) -> web.StreamResponse:
        product, n = self._asked(request)
        return _answer(request, await self._renditions.thumbnail(product, n))

    async def picture(self, request: web.Request) -> web.StreamResponse:
        """The output itself, or, for 0, a view of the original."""
        product, n = self._asked(request)
        if n == 0:
            return _answer(request, await self._renditions.view(product))
        variation = product.variations.get(n)
        if variation is None or variation.output is None:
            raise _NONE
        async with self._sending:
            try:
                content = await self._renditions.content(variation)
                headers = _caching(request, content)
                if headers["ETag"] in request.headers.get("If-None-Match", ""):
                    return web.Response(status=304, headers=headers)
                found = await to_thread.run_sync(_open, self._shelf.tree, variation.output)
            except OSError:
                raise _NONE from None
            except ReimagineError as error:
                raise RefusalError(503, str(error)) from None
            try:
                return await _send(request, found, headers)
            finally:
                found.opened.close()

    def _asked(self, request: web.Request) -> tuple[Product, int]:
        shown = self._shelf.products.get(request.match_info["id"])
        if shown is None:
            raise _NONE
        return shown.product, int(request.match_info["n"])


def _answer(request: web.Request, found: Rendition | None) -> web.Response:
    if found is None:
        raise _NONE
    headers = _caching(request, found.content)
    if headers["ETag"] in request.headers.get("If-None-Match", ""):
        return web.Response(status=304, headers=headers)
    return web.Response(body=found.data, content_type=found.type, headers=headers)


def _caching(request: web.Request, content: str) -> dict[str, str]:
    """An address that names the content is for ever; any other is asked about again."""
    etag = content[:ETAG_CHARACTERS]
    for_ever = request.query.get("v", "").strip('"') == etag
    caching = f"private, max-age={_YEAR_S}, immutable" if for_ever else "private, no-cache"
    return {"ETag": f'"{etag}"', "Cache-Control": caching}


def _open(tree: Tree, name: str) -> _File:
    """Raises OSError for what is no picture, whatever its name says; of a store RunError too."""
    opened = FileIO(open_inside(tree.root, tree.bring(name)))
    try:
        size = os.fstat(opened.fileno()).st_size
        type_ = _type_of(os.pread(opened.fileno(), _HEAD_BYTES, 0))
        if type_ is None or size > MOST_PICTURE_BYTES:
            raise OSError(0, "no picture")
    except OSError:
        opened.close()
        raise
    return _File(opened, size, type_)


def _type_of(head: bytes) -> str | None:
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    return "image/webp" if head[:4] == b"RIFF" and head[8:] == b"WEBP" else None


async def _send(request: web.Request, found: _File, headers: dict[str, str]) -> web.StreamResponse:
    answer = web.StreamResponse(headers={"Content-Type": found.type, **headers})
    answer.content_length = found.size
    await answer.prepare(request)
    at = 0
    while at < found.size:
        most = min(_PIECE_BYTES, found.size - at)
        piece = await to_thread.run_sync(os.pread, found.opened.fileno(), most, at)
        if not piece:  # it was cut meanwhile: a length that is not kept tells the browser
            break
        await answer.write(piece)
        at += len(piece)
    return answer
