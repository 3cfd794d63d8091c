"""Thumbnails and views of originals: what they show, that each is made once, what harms none."""

import asyncio
import hashlib
import json
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import anyio
import psutil
import pytest
from PIL import Image

from batch_reimagine.catalogue import Catalogue, Product
from batch_reimagine.inside import open_inside, read_inside, write_inside
from batch_reimagine.last_run import Originals
from batch_reimagine.output import Tree
from batch_reimagine.renditions import Renditions, open_renditions
from batch_reimagine.turns import Turns
from tests.pictures import encoded, swapped_profile
from tests.reviewing import make_output
from tests.support import png


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_output(tmp_path_factory.mktemp("made")).parent


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return tmp_path / "out"


@asynccontextmanager
async def opened(out: Path, *, cpu_s: int = 60) -> AsyncIterator[Renditions]:
    originals = await asyncio.to_thread(Originals, [out.parent / "photos"])
    tree = await asyncio.to_thread(Tree, out)
    async with open_renditions(tree, originals, cpu_s=cpu_s) as renditions:
        yield renditions


def first(out: Path) -> Product:
    catalogue = Catalogue(Tree(out))
    catalogue.follow()
    return next(iter(catalogue))


async def loaded(out: Path) -> Product:
    return await asyncio.to_thread(first, out)


async def put(out: Path, data: bytes) -> Product:
    """Let the first product's first picture be these bytes."""
    (out / "photo-000_v01.png").write_bytes(data)
    return await loaded(out)


def shown(path: Path | None) -> Image.Image:
    assert path is not None
    with Image.open(path) as im:
        im.load()
        return im


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.status() != "zombie"]


async def test_a_thumbnail_is_a_webp_of_480_pixels_kept_under_its_content(out: Path) -> None:
    raw = encoded(Image.effect_noise((1600, 800), 50).convert("RGB"), "PNG")
    product = await put(out, raw)
    async with opened(out) as renditions:
        path = await renditions.thumb(product, 1)

    im = shown(path)
    assert (im.format, im.size) == ("WEBP", (480, 240))
    name = f"{hashlib.sha256(raw).hexdigest()}.webp"
    assert path == out / ".batch-reimagine" / "thumbs" / name


async def test_a_small_picture_is_not_enlarged(out: Path) -> None:
    async with opened(out) as renditions:
        assert shown(await renditions.thumb(await loaded(out), 1)).size == (48, 36)


async def test_colours_are_those_of_the_profile(out: Path) -> None:
    red = encoded(
        Image.new("RGB", (64, 64), (255, 0, 0)), kind="PNG", icc_profile=swapped_profile()
    )
    async with opened(out) as renditions:
        im = shown(await renditions.thumb(await put(out, red), 1))

    r, g, b = im.convert("RGB").getpixel((32, 32))  # type: ignore[misc]  # three, as it is RGB
    assert (r < 30, g > 200, b < 60) == (True, True, True)
    assert "icc_profile" not in im.info


@pytest.mark.parametrize("orientation", range(1, 9))
async def test_a_thumbnail_stands_upright(out: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    raw = encoded(Image.new("RGB", (80, 40)), "JPEG", exif=exif)
    async with opened(out) as renditions:
        im = shown(await renditions.thumb(await put(out, raw), 1))

    assert im.size == ((80, 40) if orientation < 5 else (40, 80))


@pytest.mark.parametrize(
    ("mode", "kind"), [("CMYK", "JPEG"), ("I;16", "PNG"), ("P", "PNG"), ("1", "PNG"), ("LA", "PNG")]
)
async def test_pictures_of_rare_kinds_get_thumbnails_too(out: Path, mode: str, kind: str) -> None:
    async with opened(out) as renditions:
        path = await renditions.thumb(await put(out, encoded(Image.new(mode, (600, 600)), kind)), 1)

    assert shown(path).size == (480, 480)


async def test_transparency_stays(out: Path) -> None:
    async with opened(out) as renditions:
        raw = encoded(Image.new("RGBA", (600, 600), (255, 0, 0, 0)), "PNG")
        assert shown(await renditions.thumb(await put(out, raw), 1)).mode == "RGBA"


async def test_an_original_is_shown_upright_and_small_enough(out: Path) -> None:
    async with opened(out) as renditions:
        view = await renditions.original(await loaded(out))
        thumb = await renditions.thumb(await loaded(out), 0)

    assert view is not None
    assert (view.suffix, shown(view).size) == (".jpg", (48, 36))
    assert shown(thumb).format == "WEBP"


@pytest.mark.parametrize("harm", ["gone", "changed", "a link"])
async def test_an_original_that_is_not_what_it_was_is_not_shown(out: Path, harm: str) -> None:
    photo = out.parent / "photos" / "photo-000.jpg"
    if harm == "changed":
        photo.write_bytes(b"another")
    else:
        photo.rename(photo.with_name("moved.jpg"))
    if harm == "a link":
        photo.symlink_to("moved.jpg")
    async with opened(out) as renditions:
        assert await renditions.original(await loaded(out)) is None
        assert await renditions.thumb(await loaded(out), 0) is None


async def test_what_was_made_is_not_made_again(out: Path) -> None:
    async with opened(out) as renditions:
        path = await renditions.thumb(await loaded(out), 1)
    assert path is not None
    before = path.stat().st_mtime_ns
    async with opened(out) as renditions:
        assert await renditions.thumb(await loaded(out), 1) == path
        assert children() == []
    assert path.stat().st_mtime_ns == before


async def test_many_who_ask_at_once_share_one(out: Path) -> None:
    product = await put(out, encoded(Image.effect_noise((2000, 2000), 50), "PNG"))
    async with opened(out) as renditions:
        found = await asyncio.gather(*(renditions.thumbnail(product, 1) for _ in range(20)))
        assert len(children()) == 1

    assert all(one is found[0] for one in found)


async def test_one_who_goes_away_does_not_end_it_for_the_others(out: Path) -> None:
    product = await put(out, encoded(Image.effect_noise((3000, 3000), 50), "PNG"))
    async with opened(out) as renditions:
        goes = asyncio.create_task(renditions.thumbnail(product, 1))
        stays = asyncio.create_task(renditions.thumbnail(product, 1))
        await asyncio.sleep(0.05)
        goes.cancel()
        assert await stays is not None


async def test_processes_are_of_the_lowest_priority_and_know_no_key(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOVITA_API_KEY", "sk_very_secret_0123456789")
    async with opened(out) as renditions:
        await renditions.thumb(await loaded(out), 1)
        (child,) = children()
        assert child.nice() == 19
        assert child.environ() == {}
    assert children() == []


async def test_no_picture_costs_its_own_thumbnail_only(out: Path) -> None:
    (out / "photo-000_v01.png").write_bytes(png()[:-30])
    product = await loaded(out)
    async with opened(out) as renditions:
        assert await renditions.thumb(product, 1) is None
        assert await renditions.thumb(product, 2) is not None


async def test_a_decoder_that_crashes_costs_its_own_thumbnail_only(out: Path) -> None:
    slow = encoded(Image.new("L", (14_000, 14_000)), kind="PNG", compress_level=1)
    product = await put(out, slow)
    async with opened(out) as renditions:
        task = asyncio.create_task(renditions.thumb(product, 1))
        while not any(child.memory_info().rss > 100_000_000 for child in children()):
            await asyncio.sleep(0.01)
        children()[0].send_signal(signal.SIGSEGV)
        assert await task is None
        assert await renditions.thumb(product, 2) is not None


async def test_a_decode_that_does_not_end_is_ended_and_not_tried_again(out: Path) -> None:
    whole = encoded(Image.new("RGB", (6000, 6000)), "JPEG", progressive=True)
    end = whole.rindex(b"\xff\xda")
    endless = whole[:end] + whole[end:-2] * 2000 + b"\xff\xd9"  # scans of all the pixels, over
    product = await put(out, endless)
    async with opened(out, cpu_s=1) as renditions:
        assert await renditions.thumb(product, 1) is None
        with anyio.fail_after(1):
            assert await renditions.thumb(product, 1) is None
        assert await renditions.thumb(product, 2) is not None


async def test_where_nothing_can_be_written_they_are_held_in_memory(out: Path) -> None:
    (out / ".batch-reimagine" / "thumbs").write_text("no folder")
    async with opened(out) as renditions:
        made = await renditions.thumbnail(await loaded(out), 1)
        assert made is not None
        assert made.path is None
        assert made.data[:4] == b"RIFF"
        assert len(children()) == 1
        children()[0].kill()
        again = await renditions.thumbnail(await loaded(out), 1)
    assert again is not None
    assert again.data == made.data


def test_what_the_manifest_claims_of_another_place_is_not_shown(out: Path) -> None:
    manifest = out / "manifest.jsonl"
    row = json.loads(manifest.read_text().splitlines()[0])
    manifest.write_text(json.dumps(row | {"output": "../photos/photo-000_v01.png"}) + "\n")
    catalogue = Catalogue(Tree(out))
    catalogue.follow()
    assert len(catalogue) == 0


@pytest.mark.parametrize(
    "name", ["../a", "/etc/passwd", "a/../b", "", ".", "a//b", "a\0b", "link", "sub/a", "fifo"]
)
def test_nothing_outside_is_opened_by_any_name(tmp_path: Path, name: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    for path in (tmp_path / "a", tmp_path / "b", root / "b"):
        path.write_text("outside")
    (root / "link").symlink_to(tmp_path / "a")
    (root / "sub").symlink_to(tmp_path)
    os.mkfifo(root / "fifo")
    with pytest.raises((OSError, ValueError)):
        open_inside(root, name)


def test_a_file_is_written_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    for data in (b"one", b"two"):
        write_inside(tmp_path, "state/thumbs", "a.webp", data)
        assert read_inside(tmp_path, "state/thumbs/a.webp", 10) == data
    assert [path.name for path in (tmp_path / "state/thumbs").iterdir()] == ["a.webp"]
    with pytest.raises(OSError, match="more than"):
        read_inside(tmp_path, "state/thumbs/a.webp", 2)


async def test_who_looks_comes_first_and_the_newest_of_them_before_all() -> None:
    turns, order = Turns(1), list[str]()

    async def take(name: str, *, ahead: bool) -> None:
        async with turns.take(name, ahead=ahead):
            order.append(name)
            await asyncio.sleep(0)

    async with anyio.create_task_group() as group, turns.take("holder", ahead=True):
        for name in ("ahead 1", "seen 1", "ahead 2", "seen 2", "ahead 3", "seen 3"):
            group.start_soon(partial(take, name, ahead=name.startswith("ahead")))
            await asyncio.sleep(0.01)
        turns.hurry("ahead 3")
        assert order == []

    assert order == ["ahead 3", "seen 3", "seen 2", "seen 1", "ahead 1", "ahead 2"]


async def test_a_turn_that_is_given_up_is_given_on() -> None:
    turns = Turns(1)

    async def take(name: str) -> None:
        async with turns.take(name, ahead=False):
            pass

    for _ in range(3):
        async with turns.take("holder", ahead=False):
            waiting = [asyncio.create_task(take(str(number))) for number in range(4)]
            await asyncio.sleep(0.01)
            waiting[0].cancel()
            waiting[3].cancel()
        waiting[2].cancel()  # the newest: it has just been given its turn
        with anyio.fail_after(2):
            await asyncio.gather(*waiting, return_exceptions=True)
            await take("after all")
