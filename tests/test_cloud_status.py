"""Status and verify of an output in a store; and what is said where there is none, or no way in."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from batch_reimagine.cloud.lease import Lease
from tests.far import Kept, Output, fetched, made_by_a_run, new_output, through
from tests.spoiling import Proxy
from tests.stores import Store, moto, rclone
from tests.support import png


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with moto() as store:
        yield store


@pytest.fixture(scope="module")
def made(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return made_by_a_run(store, tmp_path_factory.mktemp("maker"))


@pytest.fixture
def out(store: Store, made: Kept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Output:
    store.use(monkeypatch)
    return new_output(store, tmp_path / "machines", made)


def test_status_on_another_machine_counts_pictures_and_money(out: Output) -> None:
    code, told, complaints = out.do("other", "status", out.address, "--json")

    assert code == 0, complaints
    found = json.loads(told)
    assert (found["output"], found["photos"], found["done"]) == (str(out.address), 3, 6)
    assert (found["calls"], found["running"], found["damaged"]) == (6, False, 0)
    assert found["bytes"] == sum(len(out.objects.get(name)[0]) for name in out.pictures())


def test_status_names_a_run_that_goes_on_on_another_machine(out: Output) -> None:
    lease = Lease(out.objects, "lease", "run 1, pid 7 on elsewhere", "token")
    lease.take()
    running = json.loads(out.do("other", "status", out.address, "--json")[1])
    lease.release()
    ended = json.loads(out.do("other", "status", out.address, "--json")[1])

    assert (running["running"], running["holder"]) == (True, "run 1, pid 7 on elsewhere")
    assert (ended["running"], ended["holder"]) == (False, None)


def test_verify_finds_all_that_is_wrong_and_keeps_nothing_here(out: Output) -> None:
    code, told, complaints = out.do("other", "verify", out.address)
    assert (code, told) == (0, "6 good\n"), complaints
    objects = out.objects
    objects.delete("photo-000_v01.png")
    objects.put("photo-000_v02.png", png())
    objects.put("photo-001_v01.png", objects.get("photo-001_v01.png")[0][:-20])
    objects.put("photo-009_v01.png", png())

    with Proxy(out.store.port) as proxy:
        code, told, complaints = out.do("other", "verify", out.address, **through(proxy))

    assert code == 3, complaints
    assert told.splitlines()[:5] == [
        "missing: photo-000_v01.png",
        "changed: photo-000_v02.png",
        "torn: photo-001_v01.png",
        "extra: photo-009_v01.png",
        "3 good",
    ]
    assert len(fetched(proxy)) == 5
    assert list(out.books("other").rglob("*.png")) == []


def test_what_lies_elsewhere_in_a_store_is_no_output(out: Output) -> None:
    out.objects.put("loose/holiday_v01.png", png())
    where = out.address.child("loose")

    for command in (["export", where, "--to", "x", "--all"], ["pick", where], ["status", where]):
        code, _, complaints = out.do("other", *command)
        assert (code, "is no output of this tool" in complaints) == (10, True), complaints
    assert not (out.home("other") / ".local").exists()  # nothing was made for it


def test_each_fault_of_a_store_has_its_exit_code(out: Output, tmp_path: Path) -> None:
    code, _, complaints = out.do("other", "pick", "s3://no-such-bucket/out")
    assert (code, "no-such-bucket" in complaints) == (2, True)

    dead = {"AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1"}
    code, _, complaints = out.do("other", "status", out.address, **dead)
    assert (code, "127.0.0.1:1" in complaints) == (5, True), complaints

    with rclone(tmp_path / "data") as checking:
        bucket = checking.bucket("checking")
        elsewhere = Output(checking, bucket, tmp_path / "m")
        wrong = {"AWS_SECRET_ACCESS_KEY": "wrong"}
        code, _, complaints = elsewhere.do("other", "verify", bucket, **wrong)
        assert (code, "AWS_SECRET_ACCESS_KEY" in complaints) == (4, True), complaints


def test_what_cannot_be_done_with_a_store_says_what_can(out: Output) -> None:
    code, _, complaints = out.do("other", "mark", "check", out.address)
    assert (code, "export" in complaints) == (2, True)

    shop = out.address.child("shop")
    for words in (
        ["export", out.address, "--to", shop],
        ["review", out.address, "--static", shop],
        ["pick", out.address, "--from", shop],
        ["status", out.address, "--books", shop],
    ):
        code, _, complaints = out.do("other", *words)
        assert (code, "a place on this machine" in complaints) == (2, True), complaints
