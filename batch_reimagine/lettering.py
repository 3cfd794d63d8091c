"""Draw any file name legibly, with the fonts that there are.

A text is set in the first font that has all of it. Pillow's own is always there but knows
little more than ASCII; a character that no font has is shown by its plain letters (e for é)
or its code.
"""

import unicodedata
from functools import lru_cache

from PIL import ImageDraw, ImageFont
from PIL.ImageFont import FreeTypeFont

# Looked for by name in the system's font folders; broad ones first, CJK last.
_FAMILIES = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial Unicode.ttf",
    "segoeui.ttf",
    "NotoSansCJK-Regular.ttc",
    "PingFang.ttc",
    "msyh.ttc",
)
# What decomposition does not find.
_PLAIN = {"×": "x", "–": "-", "’": "'", "ß": "ss", "ø": "o", "Ø": "O", "æ": "ae", "ł": "l"}
_NO_CHARACTER = "\uffff"  # no font has it: what is drawn for it stands for "missing"


def legible(text: str) -> str:
    """Return text with nothing invisible: controls, direction marks and broken bytes by code."""
    return "".join(_shown(character) for character in unicodedata.normalize("NFC", text))


def fitted(text: str, size_px: int, width_px: int) -> str:
    """Return text, or its beginning and its longer end around an ellipsis, to fit width_px."""
    width = _width_px(text, size_px)
    if width <= width_px:
        return text
    keep = min(len(text) - 1, int(len(text) * width_px / width) + 2)
    while keep > 1:
        head = keep // 3
        cut = f"{text[:head]}…{text[head - keep :]}"
        if _width_px(cut, size_px) <= width_px:
            return cut
        keep -= 1
    return "…"


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size_px: int,
    fill: tuple[int, int, int],
    *,
    centred: bool = False,
) -> None:
    """Draw one line of text: at is the left end of its baseline, or its middle if centred."""
    left, base = float(at[0]), at[1]
    if centred:
        left -= _width_px(text, size_px) / 2
    for piece, font in _pieces(text, size_px):
        draw.text((left, base), piece, font=font, fill=fill, anchor="ls")
        left += font.getlength(piece)


def _shown(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "
    return character if character.isprintable() else f"[U+{ord(character):04X}]"


def _width_px(text: str, size_px: int) -> float:
    return sum(font.getlength(piece) for piece, font in _pieces(text, size_px))


def _pieces(text: str, size_px: int) -> list[tuple[str, FreeTypeFont]]:
    """Split text by the font that draws it; in one piece where one font has it all."""
    fonts = _fonts(size_px)
    for font in fonts:
        if all(_has(font, character) for character in text):
            return [(text, font)]
    pieces: list[tuple[str, FreeTypeFont]] = []
    for character in text:
        piece, font = _drawable(character, fonts)
        if pieces and pieces[-1][1] is font:
            pieces[-1] = (pieces[-1][0] + piece, font)
        else:
            pieces.append((piece, font))
    return pieces


def _drawable(character: str, fonts: tuple[FreeTypeFont, ...]) -> tuple[str, FreeTypeFont]:
    plain = _PLAIN.get(character) or unicodedata.normalize("NFKD", character)[0]
    for piece in (character, plain):
        for font in fonts:
            if all(_has(font, part) for part in piece):
                return piece, font
    return f"[U+{ord(character):04X}]", fonts[-1]


@lru_cache(maxsize=8)
def _fonts(size_px: int) -> tuple[FreeTypeFont, ...]:
    fonts: list[FreeTypeFont] = []
    for family in _FAMILIES:
        try:
            fonts.append(ImageFont.truetype(family, size_px))
        except OSError:
            continue  # not on this machine
    own = ImageFont.load_default(size_px)
    return (*fonts, own) if isinstance(own, FreeTypeFont) else tuple(fonts)


@lru_cache(maxsize=8192)
def _has(font: FreeTypeFont, character: str) -> bool:
    missing = font.getmask(_NO_CHARACTER)
    drawn = font.getmask(character)
    return drawn.size != missing.size or bytes(drawn) != bytes(missing)
