"""What a walk over a store may cost: real processes, a real S3 server, the simulator's calls."""

import asyncio
import shutil
from pathlib import Path

import pytest

from batch_reimagine.cloud import open_objects
from batch_reimagine.simulator import Behaviour, serve
from tests.spoiling import Proxy
from tests.stores import Store
from tests.support import jpeg
from tests.test_cloud_run import Shop, fill, s3, shop  # noqa: F401 - fixtures


def forget(shop: Shop) -> None:  # noqa: F811
    """As if the machine died with its books before a row of it was in the store."""
    shutil.rmtree(shop.home / ".local")
    for folder in ("manifest/", ".batch-reimagine/accounts/"):
        for page in list(shop.out.pages(folder)):
            for entry in page:
                shop.out.delete(entry.name)


@pytest.mark.parametrize("wanted", [3, 5])
@pytest.mark.parametrize("sibling", ["comes", "goes"])
async def test_a_lost_row_is_found_though_a_file_beside_its_photo_came_or_went(
    shop: Shop,  # noqa: F811
    wanted: int,
    sibling: str,
) -> None:
    names = ["a.jpg", "a.png"]
    for number, name in enumerate(names if sibling == "goes" else names[:1]):
        shop.photos.put(name, jpeg(number))
    async with serve(Behaviour(picture_px=32)) as api:
        command = [shop.photos.address, "-o", shop.out.address, "--base-url", api.url]
        assert (await shop.run(*command, "-n", 3))[0] == 0
        before = api.stats()["calls"]
        forget(shop)
        if sibling == "comes":
            shop.photos.put("a.png", jpeg(1))
        else:
            shop.photos.delete("a.png")
        code, _, err = await shop.run(*command, "-n", wanted)
        assert code == 0, err
        photos = 2 if sibling == "comes" else 1
        bought = photos * wanted - 3
        assert api.stats()["calls"] - before == bought
        code, out, err = await shop.run(*command, "-n", wanted)
        assert code == 0, err
        assert f"{photos * wanted} already here" in out
        assert api.stats()["calls"] - before == bought
        # Nor is a row told again, with its cost, by every run.
        assert shop.rows() == photos * wanted


async def test_looking_for_lost_rows_under_both_names_costs_no_request_more_than_its_window(
    shop: Shop,  # noqa: F811
    s3: Store,  # noqa: F811
) -> None:
    fill(shop.photos, 30)
    command = [shop.photos.address, "-o", shop.out.address, "--provider", "simulator"]
    with Proxy(s3.port) as proxy:
        code, _, err = await shop.run(*command, **shop.through(s3, proxy))
        assert code == 0, err
        asked = [a.path for a in proxy.seen if "list-type" in a.path]
    assert len(asked) <= 10, asked


async def test_results_of_another_output_that_stand_early_are_not_bought_again(
    shop: Shop,  # noqa: F811
) -> None:
    source, old = [
        await asyncio.to_thread(open_objects, shop.bucket.child(at), {})
        for at in ("src", "photos/old")
    ]
    for number, name in enumerate(["#1.jpg", "(2).jpg", "x.jpg"]):
        source.put(name, jpeg(number))
    shop.photos.put("new.jpg", jpeg(9))
    async with serve(Behaviour(picture_px=32)) as api:
        more = ["--base-url", api.url]
        first = await shop.run(source.address, "-o", old.address, *more)
        second = await shop.run(shop.photos.address, "-o", shop.out.address, *more)
        assert (first[0], second[0]) == (0, 0), (first, second)
        assert api.stats()["calls"] == 4
        third = await shop.run(old.address, "-o", shop.out.address, *more)
        assert third[0] == 2, third
        assert "is an output of this tool" in third[2]
        assert api.stats()["calls"] == 4


@pytest.mark.parametrize("first", ["photos", "local", "other bucket"])
async def test_inputs_inside_the_output_are_refused_before_any_call(
    shop: Shop,  # noqa: F811
    s3: Store,  # noqa: F811
    tmp_path: Path,
    first: str,
) -> None:
    fill(shop.photos, 1)
    shop.out.put("more.jpg", jpeg(50))
    (here := tmp_path / "here").mkdir()
    (here / "own.jpg").write_bytes(jpeg(77))
    inputs: dict[str, object] = {"photos": shop.photos.address, "local": here}
    if first == "other bucket":
        bucket = s3.bucket(f"{shop.bucket.bucket}-other")
        other = await asyncio.to_thread(open_objects, bucket, {})
        other.put("a.jpg", jpeg(51))
        inputs[first] = other.address
    async with serve(Behaviour(picture_px=32)) as api:
        code, _, err = await shop.run(
            *(inputs[first], shop.out.address, "-o", shop.bucket, "--yes"),
            *("--base-url", api.url),
        )
        assert code == 2, err
        assert "lies inside the output" in err
        assert api.stats()["calls"] == 0


async def test_single_photos_are_bought_once_beside_other_inputs_and_a_missing_one_is_told(
    shop: Shop,  # noqa: F811
    tmp_path: Path,
) -> None:
    fill(shop.photos, 4)
    (here := tmp_path / "here").mkdir()
    (here / "own.jpg").write_bytes(jpeg(77))
    one = shop.photos.address.child("photo 000.jpg")
    async with serve(Behaviour(picture_px=32)) as api:
        more = ["-o", shop.out.address, "--base-url", api.url]
        alone = await shop.run(one, *more)
        assert (alone[0], shop.pictures()) == (0, ["photo 000_v01.png"]), alone
        beside = await shop.run(one, here, shop.photos.address.child("shoes"), *more)
        assert (beside[0], api.stats()["calls"]) == (0, 4), beside
        gone = await shop.run(here, shop.photos.address.child("gone.jpg"), *more)
        assert gone[0] == 2, gone
        assert "gone.jpg: nothing is there" in gone[2]
        assert api.stats()["calls"] == 4
