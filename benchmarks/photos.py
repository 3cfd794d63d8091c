"""The photos and the answer that the works need, made once from the samples and then cached.

Crops come from a fixed seed, grain from Pillow's own chance: alike from machine to machine, and
the same bytes from run to run as long as the folder is kept.
"""

import base64
import io
import json
import random
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageChops, ImageOps

SAMPLES = Path(__file__).parent.parent / "samples"
IN_A_FOLDER = 500  #: tiny photos; a shop's tree is not flat

TINY_PX = (64, 48)  #: the tiny answer's picture

_ANSWER_PX = (776, 582)  # as a PNG with some grain: 0.9 MB
_SEED = 20260
_LARGE_PX = (4000, 3000)  # 12 megapixels
_LARGE_MARGIN_PX = 400  # crops wander by so much
_LARGE_QUALITY = 90
_CELL_PX = (1100, 850)
_FITTING_PX = (800, 600)
_FITTING_QUALITY = 80
_GRAIN = 7.0  # standard deviation of a sensor's noise, of 255
_GRAIN_MIDDLE = 128  # where effect_noise puts its mean
_WORKERS = 2


@dataclass(frozen=True, slots=True)
class Answer:
    """What the server says to every call."""

    file: Path  #: the whole JSON body
    picture: bytes  #: the PNG in it

    @property
    def heart(self) -> bytes:
        """The picture's data chunks: what every honest copy holds, marked or not."""
        return self.picture[33:-12]  # PNG: signature and IHDR before, IEND after


def cached(folder: Path, make: Callable[[Path], None]) -> Path:
    """Give a folder that `make` has filled, whole; it is called only if there is none yet."""
    if not folder.is_dir():
        half = folder.with_name(f"{folder.name}.half")
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir(parents=True)
        make(half)
        half.rename(folder)
    return folder


def answer(work: Path, *, tiny: bool = False) -> Answer:
    """Give the answer: a PNG of about 0.9 MB (tiny: 8 kB) in the API's shape.

    Source of the shape: API reference, Reimagine, and published captures (`task`).
    """
    size = TINY_PX if tiny else _ANSWER_PX

    def make(folder: Path) -> None:
        out = io.BytesIO()
        _grainy(_bases()[0], size).save(out, "PNG")
        (folder / "picture.png").write_bytes(out.getvalue())
        body = {
            "image_file": base64.b64encode(out.getvalue()).decode(),
            "image_type": "png",
            "task": {"task_id": "bench", "status": "TASK_STATUS_SUCCEED"},
        }
        (folder / "answer.json").write_text(json.dumps(body))

    folder = cached(work / f"answer-{size[0]}", make)
    return Answer(folder / "answer.json", (folder / "picture.png").read_bytes())


def fitting(work: Path, count: int) -> Path:
    """Give a folder of JPEGs of about 60 kB that already fit: 800 x 600, no metadata."""

    def make(folder: Path) -> None:
        canvas = _canvas(_bases(), 3, 3)
        chance = random.Random(_SEED)  # noqa: S311 - for variety, not for secrets
        for number in range(count):
            picture = _crop(canvas, _FITTING_PX, chance)
            picture.save(folder / f"fit-{number:04d}.jpg", quality=_FITTING_QUALITY)

    return cached(work / f"fitting-{count}", make)


def large(work: Path, count: int) -> Path:
    """Give a folder of JPEGs of 12 megapixels, 3 to 5 MB each, every one different."""

    def make(folder: Path) -> None:
        canvas = _canvas(_bases(), 4, 4)
        grain = _grain((_LARGE_PX[0] + _LARGE_MARGIN_PX, _LARGE_PX[1] + _LARGE_MARGIN_PX))

        def one(number: int) -> None:
            chance = random.Random(_SEED + number)  # noqa: S311 - likewise
            picture = ImageChops.add(
                _crop(canvas, _LARGE_PX, chance),
                _crop(grain, _LARGE_PX, chance),
                offset=-_GRAIN_MIDDLE,
            )
            picture.save(folder / f"large-{number:03d}.jpg", quality=_LARGE_QUALITY)

        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(one, range(count)))

    return cached(work / f"large-{count}", make)


def tiny(work: Path, count: int) -> Path:
    """Give a tree of count JPEGs of under 2 kB; only a comment in each makes them differ."""

    def make(folder: Path) -> None:
        out = io.BytesIO()
        _bases()[0].resize((48, 36)).save(out, "JPEG", quality=70)
        picture = out.getvalue()
        for first in range(0, count, IN_A_FOLDER):
            inner = folder / f"{first // IN_A_FOLDER:04d}"
            inner.mkdir()
            for number in range(first, min(first + IN_A_FOLDER, count)):
                words = f"photo {number:08d}".encode()
                # ITU T.81: SOI, then a COM segment; its length counts itself.
                comment = b"\xff\xfe" + (len(words) + 2).to_bytes(2, "big") + words
                content = picture[:2] + comment + picture[2:]
                (inner / f"p{number:07d}.jpg").write_bytes(content)

    return cached(work / f"tiny-{count}", make)


def huge(work: Path, edge_px: int) -> Path:
    """Give a folder of one JPEG, one PNG and one TIFF (LZW), each edge_px squared."""

    def make(folder: Path) -> None:
        cell = (min(edge_px, 1500), min(edge_px, 1500))
        tile = _grainy(_bases()[0], cell)
        picture = Image.new("RGB", (edge_px, edge_px))
        for top in range(0, edge_px, cell[1]):
            for left in range(0, edge_px, cell[0]):
                picture.paste(tile, (left, top))
        picture.save(folder / "a.jpg", quality=_LARGE_QUALITY)
        picture.save(folder / "b.png", compress_level=1)
        picture.save(folder / "c.tif", compression="tiff_lzw")

    return cached(work / f"huge-{edge_px}", make)


def _bases() -> list[Image.Image]:
    """The samples that are opaque, upright."""
    found = sorted(path for path in SAMPLES.rglob("*") if path.suffix.lower() in {".jpg", ".jpeg"})
    pictures = []
    for path in found:
        with Image.open(path) as opened:
            pictures.append(ImageOps.exif_transpose(opened).convert("RGB"))
    return pictures


def _canvas(bases: list[Image.Image], across: int, down: int) -> Image.Image:
    """A wall of the samples, larger than any crop of it."""
    canvas = Image.new("RGB", (across * _CELL_PX[0], down * _CELL_PX[1]))
    for number in range(across * down):
        tile = ImageOps.fit(bases[number % len(bases)], _CELL_PX, Image.Resampling.LANCZOS)
        canvas.paste(tile, (number % across * _CELL_PX[0], number // across * _CELL_PX[1]))
    return canvas


def _crop(picture: Image.Image, size: tuple[int, int], chance: random.Random) -> Image.Image:
    left = chance.randrange(picture.width - size[0] + 1)
    top = chance.randrange(picture.height - size[1] + 1)
    crop = picture.crop((left, top, left + size[0], top + size[1]))
    return ImageOps.mirror(crop) if chance.random() < 1 / 2 else crop


def _grain(size: tuple[int, int]) -> Image.Image:
    grey = Image.effect_noise(size, _GRAIN)
    return Image.merge("RGB", (grey, grey, grey))


def _grainy(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    fitted = ImageOps.fit(picture, size, Image.Resampling.LANCZOS)
    return ImageChops.add(fitted, _grain(size), offset=-_GRAIN_MIDDLE)
