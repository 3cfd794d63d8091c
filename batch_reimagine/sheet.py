"""Lay originals beside their variations: a picture and a page to look at.

Blocking and CPU-bound: call it in a worker thread. It knows nothing of runs and manifests.
One picture is decoded at a time, and kept small.
"""

import io
import os
import secrets
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import IO
from urllib.parse import quote

from PIL import ExifTags, Image, ImageCms, ImageDraw, ImageOps

from batch_reimagine import lettering

MAX_ROWS_PNG = 40
MAX_ROWS_HTML = 200
MAX_VARIATIONS_PNG = 8  # beside an original; a ninth would make the tiles too small to judge
MAX_VARIATIONS_HTML = 24
THUMB_EDGE_PX = 480

# Not every format that Pillow knows: EPS, for one, starts Ghostscript.
_FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "AVIF", "HEIF", "TIFF", "GIF", "BMP")

_SIDEWAYS = {5, 6, 7, 8}  # EXIF orientations that exchange width and height
_WIDTH_PX, _MARGIN_PX, _GAP_PX, _LABEL_PX = 2000, 40, 16, 58
_TILE_PX, _SMALL_TILE_PX, _ROWS_OF_LARGE_TILES = 320, 200, 12
_TITLE_PX, _NAME_PX, _DETAIL_PX = 30, 15, 13  # of type
_GROUND, _TILE, _INK, _DIM = (214, 214, 214), (190, 190, 190), (24, 24, 24), (78, 78, 78)
_CHECKER_PX, _CHECKER = 8, ((255, 255, 255), (226, 226, 226))

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ground: #e2e2e2; --tile: #cfcfcf; --ink: #181818;
 --dim: #4e4e4e; --focus: #0b57d0 }}
@media (prefers-color-scheme: dark) {{ :root {{ --ground: #242424; --tile: #333; --ink: #ededed;
 --dim: #b4b4b4; --focus: #8ab4f8 }} }}
body {{ margin: 0; padding: clamp(1rem, 3vw, 2.5rem); background: var(--ground); color: var(--ink);
 font: 1rem/1.45 system-ui, sans-serif }}
h1 {{ margin: 0; font-size: 1.6rem; font-weight: 600 }} small {{ display: block }}
h2 {{ margin: 2.5rem 0 .6rem; font-size: 1rem; font-weight: 600; overflow-wrap: anywhere }}
p, small {{ margin: .25rem 0; color: var(--dim); max-width: 70ch }}
.row {{ display: grid; gap: 1rem; align-items: start;
 grid-template-columns: repeat(auto-fill, minmax(min(13rem, 100%), 1fr)) }}
figure {{ margin: 0 }} img {{ display: block; width: 100%; height: auto }}
.broken {{ display: grid; place-items: center; aspect-ratio: 4 / 3; background: var(--tile) }}
figcaption {{ margin-top: .4rem; font-size: .85rem; overflow-wrap: anywhere }}
a {{ display: block; color: inherit; text-decoration: none }}
a:focus-visible {{ outline: 3px solid var(--focus); outline-offset: 4px }}
</style>
</head>
<body>
<header><h1>{title}</h1><p>{note}</p><p>{count}</p></header>
<main>
"""


@dataclass(frozen=True, slots=True)
class SheetRow:
    """One photo and what was made of it.

    source: the photo's name as shown, with `/`; original and variations: the files.
    """

    source: str
    original: Path
    variations: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Tile:
    """One picture as shown; without a thumb, detail says what is wrong."""

    path: Path
    name: str
    role: str
    detail: str
    thumb: Image.Image | None


def write_sheet(rows: Sequence[SheetRow], png: Path, html: Path, *, title: str, note: str) -> None:
    """Write a contact sheet as one picture and as one page that needs no other file.

    Shows the first MAX_ROWS_PNG and MAX_ROWS_HTML photos and says how many more there are.
    The page links to the full pictures by paths relative to its own folder.
    A picture that is missing or broken is shown as a labelled grey tile. Each file appears
    under its name when it is complete, in place of an older one; OSError when it cannot.
    """
    title, note = lettering.legible(title), lettering.legible(note)
    made = sum(len(row.variations) for row in rows)
    count = f"{_many(len(rows), 'photo')}, {_many(made, 'variation')}"
    most = max((len(row.variations) for row in rows[:MAX_ROWS_PNG]), default=0)
    columns = 1 + min(most, MAX_VARIATIONS_PNG + 1)  # one cell to say how many are not shown
    edge_px = _edge_px(columns, len(rows))
    strips: list[Image.Image] = []
    with _replacing(html) as page, _replacing(png) as sheet:
        page.write(_PAGE.format(title=escape(title), note=escape(note), count=count).encode())
        for number, row in enumerate(rows[:MAX_ROWS_HTML]):
            tiles = [_tile(row.original, row.source, "original")]
            for nth, path in enumerate(row.variations[:MAX_VARIATIONS_HTML], 1):
                tiles.append(_tile(path, path.name, f"variation {nth}"))
            page.write(_section(row, tiles, html.parent).encode())
            if number < MAX_ROWS_PNG:
                hidden = max(0, len(row.variations) - MAX_VARIATIONS_PNG)
                strips.append(_strip(tiles[: 1 + MAX_VARIATIONS_PNG], hidden, edge_px, columns))
        page.write(f"</main>\n{_more(len(rows), MAX_ROWS_HTML)}</body>\n</html>\n".encode())
        _joined(strips, len(rows), title, f"{count} · {note}").save(sheet, "PNG")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes path's place when it is complete, and is gone otherwise."""
    part = path.with_name(f".sheet-{secrets.token_hex(6)}.part")
    try:
        with part.open("xb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _many(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def _tile(path: Path, name: str, role: str) -> _Tile:
    thumb, detail = _look(path)
    return _Tile(path, lettering.legible(name), role, detail, thumb)


def _look(path: Path) -> tuple[Image.Image | None, str]:
    """Return a small, upright, opaque copy of a picture and its size in words.

    None and what is wrong where there is no picture to show; never raises.
    """
    try:
        if not path.is_file():  # a pipe would block
            return None, "missing"
        Image.init()
        formats = [name for name in _FORMATS if name in Image.OPEN]
        with Image.open(path, formats=formats) as picture:
            width, height = picture.size
            profile = picture.info.get("icc_profile")
            thumb, turned = _upright(_shrunk(picture))
        shown = _opaque(_in_srgb(thumb, profile))
    except Exception:  # noqa: BLE001 - decoders fail with anything: all mean "not to be shown"
        return None, "cannot be opened"
    return shown, f"{height} × {width} px" if turned else f"{width} × {height} px"


def _shrunk(picture: Image.Image) -> Image.Image:
    if picture.has_transparency_data and picture.mode != "RGBA":
        picture = picture.convert("RGBA")
    elif picture.mode == "P":
        picture = picture.convert("RGB")
    elif picture.mode.startswith("I"):  # 16 bit grey: convert() alone would turn it white
        picture = picture.convert("I").point(lambda value: value * (1 / 256) + 0).convert("L")
    picture.thumbnail((THUMB_EDGE_PX, THUMB_EDGE_PX), reducing_gap=1.0)  # JPEG: decodes less
    picture.load()  # a TIFF is turned here, and forgets its orientation
    return picture


def _upright(picture: Image.Image) -> tuple[Image.Image, bool]:
    """Return the picture as its EXIF wants it seen, and whether its sides changed places."""
    try:
        turned = picture.getexif().get(ExifTags.Base.Orientation) in _SIDEWAYS
        return ImageOps.exif_transpose(picture), turned
    except Exception:  # noqa: BLE001 - broken EXIF in a good picture: shown as it is stored
        return picture.copy(), False


def _in_srgb(picture: Image.Image, profile: bytes | None) -> Image.Image:
    if not profile or picture.mode not in {"L", "RGB", "RGBA", "CMYK"}:
        return picture
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        own, srgb = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.profileToProfile(picture, own, srgb, outputMode=mode) or picture
    except (ImageCms.PyCMSError, OSError, ValueError):
        return picture  # a broken profile: its colours as they are


def _opaque(picture: Image.Image) -> Image.Image:
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    board = Image.new("RGB", picture.size, _CHECKER[0])
    draw = ImageDraw.Draw(board)
    for top in range(0, board.height, _CHECKER_PX):
        for left in range(top % (2 * _CHECKER_PX), board.width, 2 * _CHECKER_PX):
            end = (left + _CHECKER_PX - 1, top + _CHECKER_PX - 1)
            draw.rectangle(((left, top), end), fill=_CHECKER[1])
    cut_out = picture.convert("RGBA")
    board.paste(cut_out, mask=cut_out.getchannel("A"))
    return board


def _edge_px(columns: int, rows: int) -> int:
    """A tile's edge: what fits the width, and smaller where the sheet grows long."""
    fits = (_WIDTH_PX - 2 * _MARGIN_PX - columns * _GAP_PX) // columns
    return min(fits, _TILE_PX if rows <= _ROWS_OF_LARGE_TILES else _SMALL_TILE_PX)


def _strip(tiles: Sequence[_Tile], hidden: int, edge_px: int, columns: int) -> Image.Image:
    """One photo's row of the sheet: as high as its highest picture, labels below."""
    empty = (edge_px, edge_px * 3 // 4)
    thumbs: list[Image.Image] = []
    for tile in tiles:
        thumb = tile.thumb.copy() if tile.thumb else Image.new("RGB", empty, _TILE)
        thumb.thumbnail((edge_px, edge_px))
        thumbs.append(thumb)
    height = max(thumb.height for thumb in thumbs)
    width = columns * (edge_px + _GAP_PX)  # one gap more: the original stands a little apart
    strip = Image.new("RGB", (width, height + _LABEL_PX), _GROUND)
    draw = ImageDraw.Draw(strip)
    for column, (tile, thumb) in enumerate(zip(tiles, thumbs, strict=True)):
        left = column * (edge_px + _GAP_PX) + (_GAP_PX if column else 0)
        top = height - thumb.height  # on one line, like prints on a rail
        strip.paste(thumb, (left, top))
        name, base = lettering.fitted(tile.name, _NAME_PX, edge_px), (left, height + 22)
        lettering.write(draw, base, name, _NAME_PX, _INK)
        detail = f"original · {tile.detail}" if not column else tile.detail
        lettering.write(draw, (left, height + 41), detail, _DETAIL_PX, _DIM)
        if tile.thumb is None:
            centre = (left + thumb.width // 2, top + thumb.height // 2)
            lettering.write(draw, centre, tile.detail, _NAME_PX, _INK, centred=True)
    if hidden:
        left = len(tiles) * (edge_px + _GAP_PX) + _GAP_PX
        lettering.write(draw, (left, height // 2), f"+ {hidden:,} more", _NAME_PX, _DIM)
    return strip


def _joined(strips: list[Image.Image], rows: int, title: str, note: str) -> Image.Image:
    """Stack the strips under a heading, freeing each."""
    left, top = _MARGIN_PX, _MARGIN_PX + 92
    width = max([strip.width for strip in strips] + [720]) + 2 * left
    foot = f"and {_many(rows - len(strips), 'more photo')}" if rows > len(strips) else ""
    height = top + sum(strip.height + _GAP_PX for strip in strips) + (left if foot else 0) + 16
    sheet, room = Image.new("RGB", (width, height), _GROUND), width - 2 * left
    draw = ImageDraw.Draw(sheet)
    heading = lettering.fitted(title, _TITLE_PX, room)
    lettering.write(draw, (left, left + 26), heading, _TITLE_PX, _INK)
    lettering.write(draw, (left, left + 56), lettering.fitted(note, _NAME_PX, room), _NAME_PX, _DIM)
    strips.reverse()
    while strips:
        sheet.paste(strip := strips.pop(), (left, top))
        top += strip.height + _GAP_PX
    lettering.write(draw, (left, top + 16), foot, _NAME_PX, _INK)
    return sheet


def _section(row: SheetRow, tiles: Sequence[_Tile], folder: Path) -> str:
    figures = "\n".join(_figure(tile, folder) for tile in tiles)
    source = escape(lettering.legible(row.source))
    more = _more(len(row.variations), MAX_VARIATIONS_HTML, "variation")
    heading = f"<section><h2><bdi>{source}</bdi></h2>"
    return f'{heading}\n<div class="row">\n{figures}\n</div>{more}</section>\n'


def _figure(tile: _Tile, folder: Path) -> str:
    name, detail = escape(tile.name), escape(tile.detail)
    caption = f"<figcaption><bdi>{name}</bdi><small>{tile.role} · {detail}</small></figcaption>"
    if tile.thumb is None:
        return f'<figure><div class="broken">{detail}</div>{caption}</figure>'
    data = io.BytesIO()
    tile.thumb.save(data, "WEBP", quality=78, method=4)
    image = (
        f'<img src="data:image/webp;base64,{b64encode(data.getvalue()).decode()}"'
        f' alt="{tile.role}: {name}" width="{tile.thumb.width}" height="{tile.thumb.height}"'
        ' loading="lazy" decoding="async">'
    )
    return f'<figure><a href="{_link(tile.path, folder)}">{image}{caption}</a></figure>'


def _link(path: Path, folder: Path) -> str:
    """The way from folder to path as a URL: every byte but letters, digits and `_.-~` encoded."""
    way = os.path.relpath(path, folder)
    return "/".join(quote(os.fsencode(part), safe="") for part in Path(way).parts)


def _more(count: int, shown: int, noun: str = "photo") -> str:
    return f"<p>and {_many(count - shown, f'more {noun}')}</p>\n" if count > shown else ""
