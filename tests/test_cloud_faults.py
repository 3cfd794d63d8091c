"""What goes wrong between here and a store: who must act, in how many tries, in what words."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batch_reimagine.address import Address
from batch_reimagine.cloud.objects import Changed, Objects
from batch_reimagine.cloud.opening import open_store
from batch_reimagine.errors import AccountRefused, ServiceGone, UsageError
from tests.spoiling import Plan, Proxy, always, first, share
from tests.stores import KEY_ID, SECRET, Store, azurite, moto, rclone

#: Three more tries, and one second until an answer counts as lost.
QUICK = {"max_retries": "3", "retry_timeout": "3", "read_timeout": "1s"}

ASKED: dict[str, Callable[[Objects], object]] = {
    "get": lambda objects: objects.get("here")[0],
    "about": lambda objects: objects.about("here"),
    "list": lambda objects: [entry.name for page in objects.pages() for entry in page],
    "put": lambda objects: objects.put("here", b"x" * 1000),
    "new": lambda objects: objects.put("new", b"x", when="new"),
    "delete": lambda objects: objects.delete("old"),
    "move": lambda objects: objects.move("from", "to"),
}


@pytest.fixture(scope="module")
def server() -> Iterator[Store]:
    with moto() as store:
        yield store


@pytest.fixture
def before(server: Store, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Plan], Proxy]]:
    """Puts a proxy before a bucket "photos" that holds "here", "old" and "from"."""
    server.use(monkeypatch)
    bucket = server.bucket("photos")
    direct = Objects(open_store(bucket, {}), bucket)
    for name in ("here", "old", "from"):
        direct.put(name, b"x" * 1000)
    direct.delete("new")
    begun: list[Proxy] = []

    def begin(plan: Plan) -> Proxy:
        proxy = Proxy(server.port, plan).__enter__()
        begun.append(proxy)
        server.use(monkeypatch, proxy.port)
        return proxy

    yield begin
    for proxy in begun:
        proxy.__exit__()


def opened(options: dict[str, str] = QUICK) -> Objects:
    address = Address("s3", "photos")
    return Objects(open_store(address, options), address)


@pytest.mark.parametrize(
    ("plan", "ask"),
    [
        *((first(2, "503"), ask) for ask in ASKED.values()),
        *((first(1, "reset"), ask) for ask in ASKED.values()),
        *((first(1, "slow"), ASKED[name]) for name in ("get", "list", "put", "delete")),
    ],
)
def test_what_passes_is_sat_out(
    before: Callable[[Plan], Proxy], plan: Plan, ask: Callable[[Objects], object]
) -> None:
    proxy = before(plan)

    ask(opened())

    assert proxy.seen[0].fault
    assert not proxy.seen[-1].fault


@pytest.mark.parametrize(
    ("fault", "ask"),
    [
        *(("503", ask) for ask in ASKED.values()),
        *(("reset", ASKED[name]) for name in ("get", "list", "delete")),
    ],
)
def test_what_does_not_pass_is_told_after_bounded_tries(
    before: Callable[[Plan], Proxy], fault: str, ask: Callable[[Objects], object]
) -> None:
    proxy = before(always(fault))
    begun = time.monotonic()

    with pytest.raises(ServiceGone) as gone:
        ask(opened({**QUICK, "max_retries": "1"}))

    assert 2 <= len(proxy.seen) <= 8
    assert time.monotonic() - begun < 12
    told = str(gone.value)
    assert len(told) < 200
    assert "\n" not in told
    assert told.startswith("s3://photos: the store at 127.0.0.1:")


def test_a_server_that_is_not_there_is_told(server: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    server.use(monkeypatch, 1)

    with pytest.raises(ServiceGone, match=r"127\.0\.0\.1:1 cannot be reached"):
        opened({"max_retries": "1"}).get("here")


def test_an_answer_cut_short_is_never_taken_for_whole(before: Callable[[Plan], Proxy]) -> None:
    before(always("cut"))

    with pytest.raises(ServiceGone, match="broke off"):
        opened().get("here")


@pytest.mark.parametrize("name", ["get", "list"])
def test_an_answer_cut_short_is_asked_for_again(before: Callable[[Plan], Proxy], name: str) -> None:
    proxy = before(first(1, "cut"))

    assert ASKED[name](opened()) in (
        b"x" * 1000,
        ["from", "here", "old", "to"],
        ["from", "here", "old"],
    )
    assert [asked.fault for asked in proxy.seen] == ["cut", ""]


def test_a_listing_broken_in_the_middle_goes_on_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data" / "photos").mkdir(parents=True)
    for number in range(2100):
        (tmp_path / "data" / "photos" / f"{number:04}").touch()
    with (
        rclone(tmp_path / "data") as store,
        Proxy(store.port, lambda number: "cut" if number in {1, 3} else "") as proxy,
    ):
        store.use(monkeypatch, proxy.port)
        listed = [entry.name for page in opened().pages() for entry in page]

    assert listed == [f"{number:04}" for number in range(2100)]
    assert [asked.fault for asked in proxy.seen] == ["", "cut", "", "cut", ""]


def test_a_new_put_whose_answer_is_lost_meets_itself(before: Callable[[Plan], Proxy]) -> None:
    before(first(1, "lost"))

    with pytest.raises(FileExistsError):
        opened().put("new", b"mine", when="new")

    assert opened().get("new")[0] == b"mine"


def test_a_put_over_an_etag_whose_answer_is_lost_meets_itself(
    before: Callable[[Plan], Proxy],
) -> None:
    etag = opened().put("here", b"before")
    before(first(1, "lost"))

    with pytest.raises(Changed):
        opened().put("here", b"mine", when=etag)

    assert opened().get("here")[0] == b"mine"


def test_one_in_five_requests_failing_stops_nothing(before: Callable[[Plan], Proxy]) -> None:
    proxy = before(share(0.2, "503"))
    objects = opened({})

    for number in range(20):
        objects.put(f"share/{number:02}", b"x")
    listed = [entry.name for page in objects.pages("share/") for entry in page]

    assert len(listed) == 20
    assert any(asked.fault for asked in proxy.seen)


@pytest.mark.parametrize("ask", ASKED.values(), ids=list(ASKED))
@pytest.mark.parametrize(
    ("status", "error", "words"),
    [
        ("401", AccountRefused, "AWS_PROFILE"),
        ("403", AccountRefused, "AWS_ACCESS_KEY_ID"),
        ("301", UsageError, "--store-option region="),
        ("400", ServiceGone, "refuses what it was asked"),
    ],
)
def test_a_refusal_is_asked_once_and_told_with_the_way_out(
    before: Callable[[Plan], Proxy],
    status: str,
    error: type[Exception],
    words: str,
    ask: Callable[[Objects], object],
) -> None:
    proxy = before(always(status))

    with pytest.raises(error, match=words):
        ask(opened())

    assert len(proxy.seen) == 1


def test_wrong_credentials_are_the_accounts_and_never_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rclone(tmp_path / "data") as store:
        store.use(monkeypatch)
        store.bucket("photos")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", f"not-{SECRET}")
        for ask in ASKED.values():
            with pytest.raises(AccountRefused, match="AWS_SECRET_ACCESS_KEY") as refused:
                ask(opened())
            assert SECRET not in str(refused.value)


def test_wrong_credentials_of_azure_are_told_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with azurite(tmp_path) as store:
        store.use(monkeypatch)
        bucket = store.bucket("photos")
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "bm90IHRoZSBrZXk=")
        objects = Objects(open_store(bucket, {}), bucket)
        with pytest.raises(AccountRefused, match="AZURE_STORAGE_ACCOUNT_KEY") as refused:
            list(objects.pages())

    assert "bm90IHRoZSBrZXk" not in str(refused.value)


@pytest.mark.parametrize("name", ["get", "list", "put", "new", "delete", "move"])
def test_a_missing_bucket_is_told_by_its_name(
    server: Store, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    server.use(monkeypatch)
    address = Address("s3", "no-such-bucket")
    objects = Objects(open_store(address, {}), address)

    with pytest.raises(UsageError, match="there is no bucket no-such-bucket"):
        ASKED[name](objects)


def test_a_listing_past_an_awkward_key_is_refused_as_others_are(
    before: Callable[[Plan], Proxy],
) -> None:
    before(always("403"))

    with pytest.raises(AccountRefused):
        list(opened().pages(after="a//b"))
    before(first(2, "503"))
    assert [entry.name for page in opened().pages(after="a//b") for entry in page]


def test_what_a_server_sends_back_is_not_repeated(before: Callable[[Plan], Proxy]) -> None:
    proxy = before(always("echo"))

    for ask in ASKED.values():
        with pytest.raises(AccountRefused, match=r"AccessDenied|403") as refused:
            ask(opened())
        assert not any(word in str(refused.value) for word in ("Signature", KEY_ID, "<Message>"))
    assert len(proxy.seen) == len(ASKED)
