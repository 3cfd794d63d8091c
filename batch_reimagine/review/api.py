"""The paths: JSON in, JSON out, and the page's own files."""

import hashlib
import mimetypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import msgspec
from aiohttp import web
from anyio import to_thread
from msgspec import Meta

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.errors import OutputBusy, ReimagineError, UsageError
from batch_reimagine.output import Tree
from batch_reimagine.picks import Choice, Picks, StaleError
from batch_reimagine.places import local_path
from batch_reimagine.review.guard import MOST_BODY_BYTES, RefusalError, in_json
from batch_reimagine.review.more import MOST, Asked, More
from batch_reimagine.review.shelf import Shelf, as_shown
from batch_reimagine.review.tabs import Tabs

_PAGE = Path(__file__).parent / "page"
_OF_THE_PAGE = {".html", ".css", ".js", ".svg", ".png", ".webp"}
_KEY_CHARACTERS = 16  # by which a browser keeps apart what it holds of several outputs
_SAMPLES = 5  # names shown of an export

Body = TypeVar("Body")


class _Choose(msgspec.Struct, forbid_unknown_fields=True):
    revision: Annotated[int, Meta(ge=0)]
    choice: Choice


class _More(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, Meta(ge=1, le=MOST)]


class _Export(msgspec.Struct, forbid_unknown_fields=True):
    to: Annotated[str, Meta(min_length=1, max_length=4000)]
    preset: str = "plain"
    name: str | None = None
    format: Literal["png", "jpeg", "webp"] | None = None
    max_side: int | None = None
    quality: int | None = None
    url_prefix: Annotated[str, Meta(max_length=2000)] | None = None
    csv: bool = False
    zip: bool = False
    all: bool = False
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class _PageFile:
    body: bytes
    type: str
    etag: str


class Ended(Exception):
    """The server ends: an export is left where it is, and can be typed again."""


class Api:
    """Everything but pictures."""

    def __init__(
        self, tree: Tree, shelf: Shelf, tabs: Tabs, more: More, decided: Callable[[], None]
    ) -> None:
        self._tree = tree
        self._shelf = shelf
        self._tabs = tabs
        self._more = more
        self._decided = decided
        self._key = hashlib.sha256(os.fsencode(tree.root)).hexdigest()[:_KEY_CHARACTERS]
        self._page = page_files(_PAGE)
        self._exporting = threading.Lock()
        self.ended = threading.Event()

    async def page(self, request: web.Request) -> web.StreamResponse:
        """One of a fixed list: no path of the disk is made of an address."""
        found = self._page.get(request.match_info.get("name", "index.html"))
        if found is None:
            raise RefusalError(404, "the page has no such file")
        headers = {"ETag": found.etag, "Cache-Control": "no-cache"}
        if request.headers.get("If-None-Match") == found.etag:
            return web.Response(status=304, headers=headers)
        return web.Response(
            body=found.body, content_type=found.type, charset="utf-8", headers=headers
        )

    async def state(self, _: web.Request) -> web.StreamResponse:
        await to_thread.run_sync(self._more.recall)
        last = self._more.last
        price = last.settings.price if last else None
        return in_json(
            {
                "key": self._key,
                "output": self._tree.title,
                "running": self._tabs.state["running"],
                "price": None if price is None else str(price),
                "provider": last.settings.provider if last else None,
                "more": self._more.why_not is None,
                "why_no_more": self._more.why_not,
                "presets": _presets(),
                "products": [shown.json for shown in self._shelf.products.values()],
            }
        )

    async def choose(self, request: web.Request) -> web.StreamResponse:
        self._check_output(request)
        asked = await _body(request, _Choose)
        id_ = self._known(request)
        try:
            standing = await to_thread.run_sync(
                self._shelf.decide, id_, asked.choice, asked.revision
            )
        except StaleError as error:
            now = error.standing
            raise RefusalError(
                409,
                "somebody else has decided meanwhile",
                revision=now.revision,
                choice=as_shown(now.choice),
            ) from None
        except KeyError:
            raise RefusalError(404, "there is no such product") from None
        except ValueError as error:
            raise RefusalError(400, str(error)) from None
        except ReimagineError as error:
            raise RefusalError(507, str(error)) from None
        self._decided()
        return in_json({"revision": standing.revision, "choice": as_shown(standing.choice)})

    async def more(self, request: web.Request) -> web.StreamResponse:
        self._check_output(request)
        asked = await _body(request, _More)
        product = self._shelf.products[self._known(request)].product
        if product.content is None:
            raise RefusalError(409, "its original could never be read")
        try:
            await self._more.ask(Asked(product.source, product.content, asked.count))
        except (UsageError, OutputBusy, ReimagineError) as error:
            raise RefusalError(409, str(error)) from None
        return in_json({"queued": asked.count}, 202)

    async def export(self, request: web.Request) -> web.StreamResponse:
        self._check_output(request)
        asked = await _body(request, _Export)
        try:
            return in_json(await to_thread.run_sync(self._export, asked))
        except (ReimagineError, ValueError, RuntimeError) as error:  # RuntimeError: ~nobody
            raise RefusalError(400, str(error)) from None
        except OSError as error:
            raise RefusalError(400, error.strerror or str(error)) from None
        except Ended:
            raise RefusalError(503, "the server has ended") from None

    def _export(self, asked: _Export) -> dict[str, object]:
        # Held by the thread that exports: a tab that is closed meanwhile does not end it.
        if not self._exporting.acquire(blocking=False):
            raise RefusalError(409, "another export is under way: wait for it")
        try:
            return self._exported(asked)
        finally:
            self._exporting.release()

    def _exported(self, asked: _Export) -> dict[str, object]:
        from batch_reimagine import export  # noqa: PLC0415 - heavy, and seldom needed

        options = export.Options(
            to=local_path(asked.to, "to").expanduser(),
            preset=asked.preset,
            name=asked.name,
            format=asked.format,
            max_side=asked.max_side,
            quality=asked.quality,
            url_prefix=asked.url_prefix,
            all=asked.all,
            zip=asked.zip,
            csv=asked.csv,
        )
        if self._tree.remote:
            self._tree.look()
        catalogue, picks = Catalogue(self._tree), Picks(self._tree)
        catalogue.follow()
        picks.follow()
        done = export.export(
            self._tree, catalogue, picks, options, dry_run=asked.dry_run, progress=self._go_on
        )
        return {
            "files": done.files,
            "bytes": done.bytes,
            "there": done.there,
            "warnings": done.warnings,
            "command": export.command(self._tree.place, options),
            "sample": done.names[:_SAMPLES],
            "to": str(options.to.absolute()),
        }

    def _go_on(self, *_: object) -> None:
        if self.ended.is_set():
            raise Ended

    def _check_output(self, request: web.Request) -> None:
        """A page that was opened for another output at this address writes nothing into this."""
        if request.headers.get("X-Output", self._key) != self._key:
            raise RefusalError(412, "this page is about another output: load it anew")

    def _known(self, request: web.Request) -> str:
        id_ = request.match_info["id"]
        if id_ not in self._shelf.products:
            raise RefusalError(404, "there is no such product")
        return id_


async def _body(request: web.Request, type_: type[Body]) -> Body:
    """What the page asks for. Raises RefusalError."""
    data = await request.content.read(MOST_BODY_BYTES + 1)
    while len(data) <= MOST_BODY_BYTES and (piece := await request.content.read(MOST_BODY_BYTES)):
        data += piece
    if len(data) > MOST_BODY_BYTES:
        raise RefusalError(413, f"more than {MOST_BODY_BYTES:,} bytes")
    try:
        return msgspec.json.decode(data, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise RefusalError(400, f"not understood: {error}") from None


def _presets() -> list[dict[str, str]]:
    from batch_reimagine import export  # noqa: PLC0415 - heavy, and not for the start

    return [{"name": preset.name, "title": preset.title} for preset in export.presets()]


def page_files(folder: Path) -> dict[str, _PageFile]:
    """The page's files by name, with "/"; read once. Blocks."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix in _OF_THE_PAGE and path.is_file():
            body = path.read_bytes()
            type_ = mimetypes.types_map.get(path.suffix, "application/octet-stream")
            etag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
            found[path.relative_to(folder).as_posix()] = _PageFile(body, type_, etag)
    return found
