"""Outputs say that they are made by AI, unless they must stay untouched; and `mark` mends."""

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.to_thread import run_sync as aside
from PIL import Image

from batch_reimagine import remark
from batch_reimagine.errors import OutputBusy, UsageError
from batch_reimagine.ledger import open_ledger
from batch_reimagine.mark import SOURCE_TYPE, is_marked, reads_marked
from batch_reimagine.settings import Settings
from batch_reimagine.tally import verify
from tests.oracles import oracle
from tests.pictures import encoded, quarters
from tests.support import Answer, good, make_photos, pictures, rows, run, scripted

TYPES = ["png", "jpeg", "webp"]


def answer(type_: str = "png") -> bytes:
    return encoded(quarters((40, 30)), type_.upper())


def signed(type_: str = "png") -> bytes:
    """A picture with real Content Credentials."""
    suffix = {"jpeg": "jpg"}.get(type_, type_)
    return (Path(__file__).parent / "pictures_c2pa" / f"signed.{suffix}").read_bytes()


async def bought(
    tmp_path: Path, *answers: Answer, photos: int = 1, **settings: Any
) -> list[dict[str, Any]]:
    make_photos(tmp_path / "in", photos)
    async with scripted(*answers) as server:
        ran = await run(tmp_path / "in", tmp_path / "out", base_url=server.url, **settings)
    assert ran.error is None
    return rows(tmp_path / "out")


def without_metadata(path: Path) -> None:
    """What other tools do to a picture."""
    picture = Image.open(path)
    picture.load()
    out = io.BytesIO()
    Image.frombytes(picture.mode, picture.size, picture.tobytes()).save(out, picture.format)
    path.write_bytes(out.getvalue())


@pytest.mark.parametrize("type_", TYPES)
async def test_an_output_is_marked_and_its_pixels_are_those_that_came(
    tmp_path: Path, type_: str
) -> None:
    (row,) = await bought(tmp_path, good(answer(type_), type_))

    kept = (tmp_path / "out" / row["output"]).read_bytes()
    assert is_marked(kept)
    assert row["mark"] == "xmp"
    assert row["output_sha256"] == hashlib.sha256(kept).hexdigest()
    assert row["bytes"] == len(kept)
    came = Image.open(io.BytesIO(answer(type_)))
    assert Image.open(io.BytesIO(kept)).tobytes() == came.tobytes()
    assert (await aside(verify, tmp_path / "out")).sound


async def test_others_read_the_mark(tmp_path: Path) -> None:
    exiftool = oracle("exiftool")
    answers = [good(answer(type_), type_) for type_ in TYPES]

    await bought(tmp_path, *answers, photos=3)

    told = await anyio.run_process(
        [exiftool, "-j", "-G1", "-n", "-r", "-XMP:all", str(tmp_path / "out")]
    )
    found = json.loads(told.stdout)
    assert len(found) == 3
    for one in found:
        assert one["XMP-iptcExt:DigitalSourceType"] == SOURCE_TYPE
        assert one["XMP-xmp:CreatorTool"].startswith("batch_reimagine ")


async def test_without_the_mark_the_bytes_are_those_that_came(tmp_path: Path) -> None:
    (row,) = await bought(tmp_path, good(answer()), mark=False)

    assert (tmp_path / "out" / row["output"]).read_bytes() == answer()
    assert row["mark"] is None


@pytest.mark.parametrize("type_", TYPES)
async def test_content_credentials_stay_untouched_and_get_a_file_beside_them(
    tmp_path: Path, type_: str
) -> None:
    (row,) = await bought(tmp_path, good(signed(type_), type_))

    assert (tmp_path / "out" / row["output"]).read_bytes() == signed(type_)
    assert row["mark"] == "sidecar"
    assert reads_marked((tmp_path / "out" / "photo-000_v01.xmp").read_bytes())
    assert (await aside(verify, tmp_path / "out")).sound


async def test_the_mark_does_not_change_what_is_bought(tmp_path: Path) -> None:
    await bought(tmp_path, good(answer()), mark=False)
    async with scripted() as server:
        ran = await run(tmp_path / "in", tmp_path / "out", base_url=server.url, mark=True)

        assert ran.error is None
        assert server.seen == []


async def test_a_copy_takes_the_file_beside_it_along(tmp_path: Path) -> None:
    await bought(tmp_path, good(signed()))
    (photo,) = (tmp_path / "in").iterdir()
    photo.rename(tmp_path / "in" / "renamed.jpg")

    async with scripted() as server:
        await run(tmp_path / "in", tmp_path / "out", base_url=server.url)
        assert server.seen == []
    assert rows(tmp_path / "out")[-1]["mark"] == "sidecar"
    assert reads_marked((tmp_path / "out" / "renamed_v01.xmp").read_bytes())


@pytest.mark.parametrize("picture", [answer(), signed()], ids=["plain", "signed"])
async def test_a_picture_whose_run_died_has_its_mark_told(tmp_path: Path, picture: bytes) -> None:
    (row,) = await bought(tmp_path, good(picture))
    out = tmp_path / "out"
    (out / "manifest.jsonl").write_bytes(b"")
    journal = out / ".batch-reimagine" / "attempts.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0])  # begun, and no more was written down
    (out / "photo-000_v01.xmp").unlink(missing_ok=True)

    async with scripted() as server:
        await run(tmp_path / "in", out, base_url=server.url)
        assert server.seen == []
    (recovered,) = rows(out)
    assert recovered["mark"] == row["mark"]
    assert recovered["output_sha256"] == row["output_sha256"]
    assert (out / "photo-000_v01.xmp").exists() == (row["mark"] == "sidecar")


async def test_check_tells_what_other_tools_took_off_and_apply_mends_it(tmp_path: Path) -> None:
    answers = [good(answer(type_), type_) for type_ in TYPES]
    await bought(tmp_path, *answers, photos=3)
    out = tmp_path / "out"
    names = pictures(out)
    for name in names[:2]:
        without_metadata(out / name)
    before = [Image.open(out / name).tobytes() for name in names]

    told = await aside(remark.check, out)
    assert (told.marked, sorted(told.unmarked)) == (1, names[:2])

    mended = await aside(remark.apply, out)
    assert sorted(mended.mended) == names[:2]
    assert (await aside(remark.check, out)).unmarked == []
    assert [Image.open(out / name).tobytes() for name in names] == before
    assert (await aside(verify, out)).sound


async def test_apply_in_one_folder_of_an_output_leaves_the_others(tmp_path: Path) -> None:
    make_photos(tmp_path / "in" / "a", 1)
    make_photos(tmp_path / "in" / "b", 1, first=5)
    async with scripted() as server:
        await run(tmp_path / "in", tmp_path / "out", base_url=server.url, mark=False)

    assert (await aside(remark.apply, tmp_path / "out" / "a")).mended == ["a/photo-000_v01.png"]
    assert (await aside(remark.check, tmp_path / "out")).unmarked == ["b/photo-005_v01.png"]
    async with scripted() as server:
        await run(tmp_path / "in", tmp_path / "out", base_url=server.url)
        assert server.seen == []


async def test_apply_waits_for_no_run(tmp_path: Path) -> None:
    await bought(tmp_path, mark=False)
    ledger = await aside(lambda: open_ledger(tmp_path / "out", Settings(), force=False))
    try:
        with pytest.raises(OutputBusy):
            (await aside(remark.apply, tmp_path / "out"))
    finally:
        await aside(ledger.close)


def test_photos_of_a_folder_that_is_no_output_are_not_declared_unasked(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "real", 1)
    before = photo.read_bytes()

    with pytest.raises(UsageError, match="--yes"):
        remark.apply(tmp_path / "real")
    assert photo.read_bytes() == before

    assert remark.apply(tmp_path / "real", any_folder=True).mended == [photo.name]
    assert is_marked(photo.read_bytes())


def test_a_file_that_is_marked_again_keeps_its_permissions(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "exported", 1)
    photo.chmod(0o640)

    remark.apply(tmp_path / "exported", any_folder=True)

    assert photo.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in photo.parent.iterdir()] == [photo.name]


def test_a_damaged_picture_is_told_and_left(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "exported", 1)
    photo.write_bytes(photo.read_bytes()[:-30])
    before = photo.read_bytes()

    assert remark.apply(tmp_path / "exported", any_folder=True).damaged == [photo.name]
    assert photo.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        pytest.param(["check", "out"], 3, "0 marked, 1 not", id="check"),
        pytest.param(["apply", "out"], 0, "1 marked, 0 not", id="apply"),
        pytest.param(["apply", "in"], 2, "--yes", id="apply to photos"),
        pytest.param(["apply", "nowhere"], 2, "is no folder", id="no folder"),
    ],
)
async def test_the_command_tells_and_ends_with_a_code(
    tmp_path: Path, arguments: list[str], code: int, says: str
) -> None:
    await bought(tmp_path, mark=False)

    done = await anyio.run_process(
        [sys.executable, "-m", "batch_reimagine", "mark", *arguments], cwd=tmp_path, check=False
    )

    assert done.returncode == code
    told = (done.stdout + done.stderr).decode()
    assert says in told
    assert "Traceback" not in told


@pytest.mark.parametrize("by", ["run", "apply"])
async def test_what_lies_beside_a_signed_picture_is_added_to(tmp_path: Path, by: str) -> None:
    mine = b"<x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF xmlns:rdf='http://www.w3.org/1999/02/22"
    mine += b"-rdf-syntax-ns#'><rdf:Description rdf:about='' xmlns:my='urn:my' my:stars='5'/>"
    mine += b"</rdf:RDF></x:xmpmeta>"
    folder = tmp_path / "out"
    beside = folder / "photo-000_v01.xmp"
    if by == "apply":
        folder.mkdir()
        (folder / "photo-000_v01.png").write_bytes(signed())
        beside.write_bytes(mine)
        await aside(lambda: remark.apply(folder, any_folder=True))
    else:
        async with scripted(good(signed())) as server:
            (tmp_path / "out" / ".batch-reimagine").mkdir(parents=True)
            beside.write_bytes(mine)
            make_photos(tmp_path / "in", 1)
            await run(tmp_path / "in", folder, base_url=server.url)

    assert b"my:stars='5'" in beside.read_bytes()
    assert reads_marked(beside.read_bytes())


@pytest.mark.parametrize("what", ["garbage", "a link"])
def test_what_cannot_be_added_to_is_left_and_told(tmp_path: Path, what: str) -> None:
    picture, beside = tmp_path / "in" / "a.png", tmp_path / "in" / "a.xmp"
    picture.parent.mkdir()
    picture.write_bytes(signed())
    elsewhere = tmp_path / "mine.xmp"
    elsewhere.write_bytes(b"mine")
    if what == "a link":
        beside.symlink_to(elsewhere)
    else:
        beside.write_bytes(b"no XMP")
    before = beside.read_bytes()

    assert remark.apply(picture.parent, any_folder=True).unmarked == ["a.png"]

    assert beside.read_bytes() == before
    assert elsewhere.read_bytes() == b"mine"
    assert beside.is_symlink() == (what == "a link")


def test_a_link_planted_under_the_unfinished_name_is_not_written_through(tmp_path: Path) -> None:
    (photo,) = make_photos(tmp_path / "exported", 1)
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    (photo.parent / f".{photo.name}.new").symlink_to(victim)

    remark.apply(photo.parent, any_folder=True)

    assert victim.read_bytes() == b"mine"
    assert is_marked(photo.read_bytes())
