"""Crafted requests to the review server: none is served, none leaves a trace."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.reviewing import CHOICE, Reviewer, make_output, start

SECRET = "not of this output"  # noqa: S105


@dataclass(slots=True)
class Target:
    server: Reviewer
    other: Reviewer
    out: Path
    id: str


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    tmp_path = tmp_path_factory.mktemp("hostile")
    out = make_output(tmp_path, photos=4)
    (tmp_path / "secret.png").write_bytes(b"\x89PNG\r\n\x1a\n" + SECRET.encode())
    (out / "secret.html").write_text(SECRET)
    for name in ("photo-001_v01.png", "photo-001_v02.png"):
        (out / name).unlink()
    (out / "photo-001_v01.png").symlink_to(tmp_path / "secret.png")
    (out / "photo-001_v02.png").write_text(f"<html>{SECRET}<script>alert(1)</script>")
    with start(out) as server, start(out) as other:
        server.log_in()
        other.log_in()
        yield Target(server, other, out, server.ids()[0])


def body() -> bytes:
    return json.dumps({"revision": 0, "choice": CHOICE}).encode()


# (method, path, headers besides or instead of good ones; None takes one away)
REQUESTS: dict[str, tuple[str, str, dict[str, str | None]]] = {
    "a foreign Host": ("GET", "/api/state", {"Host": "evil.example"}),
    "a foreign Host with our port": ("GET", "/api/state", {"Host": "evil.example:{port}"}),
    "our Host without its port": ("GET", "/api/state", {"Host": "127.0.0.1"}),
    "our Host at the port of another": ("GET", "/api/state", {"Host": "127.0.0.1:{other}"}),
    "a Host that begins like ours": ("GET", "/", {"Host": "127.0.0.1:{port}.evil.example"}),
    "a Host with a user before it": ("GET", "/", {"Host": "evil@127.0.0.1:{port}"}),
    "an empty Host": ("GET", "/api/state", {"Host": ""}),
    "another machine's name for us": ("GET", "/api/state", {"Host": "0.0.0.0:{port}"}),
    "a token with a foreign Host": ("GET", "{login}", {"Host": "evil.example:{port}"}),
    "a foreign Origin on a read": ("GET", "/api/state", {"Origin": "http://evil.example"}),
    "a read that another site began": ("GET", "/api/state", {"Sec-Fetch-Site": "cross-site"}),
    "one that another port began": ("GET", "/api/thumbs/{id}/1", {"Sec-Fetch-Site": "same-site"}),
    "no session": ("GET", "/api/state", {"Cookie": None}),
    "no session for the page": ("GET", "/", {"Cookie": None}),
    "no session for a picture": ("GET", "/api/pictures/{id}/1", {"Cookie": None}),
    "no session for the events": ("GET", "/api/events", {"Cookie": None}),
    "an empty session": ("GET", "/api/state", {"Cookie": "reimagine-{port}="}),
    "a made-up session": ("GET", "/api/state", {"Cookie": "reimagine-{port}=" + "A" * 43}),
    "a session of another server": ("GET", "/api/state", {"Cookie": "{theirs}"}),
    "that session under our name": (
        "GET",
        "/api/state",
        {"Cookie": "reimagine-{port}={their value}"},
    ),
    "a session not in ASCII": ("GET", "/api/state", {"Cookie": "reimagine-{port}=é"}),
    "a wrong token": ("GET", "/login?token=" + "A" * 43, {}),
    "an empty token": ("GET", "/login?token=", {}),
    "no token": ("GET", "/login", {}),
    "a token not in ASCII": ("GET", "/login?token=%C3%A9", {}),
    "the start of the token": ("GET", "{login start}", {}),
    "a way up": ("GET", "/page/../server.py", {}),
    "a way up from a picture": ("GET", "/api/pictures/../../secret.png", {}),
    "encoded dots": ("GET", "/page/%2e%2e/server.py", {}),
    "encoded slashes": ("GET", "/page/..%2fserver.py", {}),
    "encoded twice": ("GET", "/page/%252e%252e%252fserver.py", {}),
    "a backslash": ("GET", "/page/..\\server.py", {}),
    "an encoded backslash": ("GET", "/page/..%5cserver.py", {}),
    "dots longer than UTF-8 has them": ("GET", "/page/%c0%ae%c0%ae/server.py", {}),
    "a NUL": ("GET", "/page/index.html%00.js", {}),
    "an absolute path": ("GET", "//etc/passwd", {}),
    "a path for an id": ("GET", "/api/pictures/%2fetc%2fpasswd/1", {}),
    "a file of the output by its name": ("GET", "/page/secret.html", {}),
    "the manifest": ("GET", "/manifest.jsonl", {}),
    "an id too short": ("GET", "/api/pictures/{short id}/1", {}),
    "an id too long": ("GET", "/api/pictures/{id}0/1", {}),
    "an id in capitals": ("GET", "/api/pictures/{ID}/1", {}),
    "an unknown id": ("GET", "/api/pictures/00000000000000000000/1", {}),
    "variation -1": ("GET", "/api/pictures/{id}/-1", {}),
    "variation 10^9": ("GET", "/api/pictures/{id}/1000000000", {}),
    "variation 9999": ("GET", "/api/pictures/{id}/9999", {}),
    "variation 1.0": ("GET", "/api/thumbs/{id}/1.0", {}),
    "variation 1 in other digits": ("GET", "/api/thumbs/{id}/%D9%A1", {}),
    "a picture that is a link": ("GET", "/api/pictures/{linked}/1", {}),
    "a thumbnail of a link": ("GET", "/api/thumbs/{linked}/1", {}),
    "a picture that is a page": ("GET", "/api/pictures/{linked}/2", {}),
    "a thumbnail of a page": ("GET", "/api/thumbs/{linked}/2", {}),
    "a method for nothing": ("DELETE", "/api/state", {}),
    "TRACE": ("TRACE", "/api/state", {}),
    "OPTIONS, as before a foreign write": ("OPTIONS", "/api/state", {}),
    "HEAD with the token": ("HEAD", "{login}", {}),
    "an absolute address": ("GET", "http://evil.example/api/state", {}),
    "a write without a session": ("PUT", "{choice}", {"Cookie": None}),
    "a write without Origin": ("PUT", "{choice}", {"Origin": None}),
    "a write from another site": ("PUT", "{choice}", {"Origin": "http://evil.example"}),
    "a write from nowhere": ("PUT", "{choice}", {"Origin": "null"}),
    "a write from our other name": ("PUT", "{choice}", {"Origin": "http://localhost:{port}"}),
    "a write over another scheme": ("PUT", "{choice}", {"Origin": "https://127.0.0.1:{port}"}),
    "a write from another port": ("PUT", "{choice}", {"Origin": "http://127.0.0.1:{other}"}),
    "a write as a form": ("PUT", "{choice}", {"Content-Type": "text/plain"}),
    "a write of no type": ("PUT", "{choice}", {"Content-Type": None}),
    "a POST where a PUT belongs": ("POST", "{choice}", {}),
    "more from another site": (
        "POST",
        "/api/products/{id}/more",
        {"Origin": "http://evil.example"},
    ),
    "an export without Origin": ("POST", "/api/export", {"Origin": None}),
}


def fill(text: str, target: Target) -> str:
    theirs = target.other.cookie
    linked = next(p["id"] for p in target.server.state()["products"] if "001" in p["source"])
    for name, value in {
        "login start": target.server.login_path[:-1],
        "login": target.server.login_path,
        "choice": f"/api/products/{target.id}/choice",
        "port": str(target.server.port),
        "other": str(target.other.port),
        "theirs": theirs,
        "their value": theirs.partition("=")[2],
        "short id": target.id[:-1],
        "ID": "ABCDEF" + target.id[6:],
        "id": target.id,
        "linked": linked,
    }.items():
        text = text.replace("{" + name + "}", value)
    return text


@pytest.mark.parametrize("name", REQUESTS)
def test_a_crafted_request_is_not_served(name: str, target: Target) -> None:
    method, path, changed = REQUESTS[name]
    server = target.server
    headers = {
        "Host": server.host,
        "Cookie": server.cookie,
        "Origin": server.origin,
        "Content-Type": "application/json",
    }
    if method not in {"PUT", "POST"}:
        del headers["Origin"]  # as browsers send a read: nothing but its Host may give it away
    for header, value in changed.items():
        headers.pop(header) if value is None else headers.update({header: fill(value, target)})
    data = body() if method in {"PUT", "POST"} else b""

    answer = server.send(method, fill(path, target), headers, data)

    assert 400 <= answer.status < 500, answer
    assert SECRET.encode() not in answer.body
    assert answer.header("Set-Cookie") is None
    assert not (target.out / "picks.jsonl").exists()
    if method != "HEAD" and answer.header("Content-Security-Policy"):
        assert answer.json["error"]


def test_the_same_requests_uncrafted_are_served(target: Target, tmp_path: Path) -> None:
    """So the answers above are about what was crafted."""
    server = target.server
    for path in ("/", "/api/state", f"/api/pictures/{target.id}/1", f"/api/thumbs/{target.id}/1"):
        assert server.get(path).status == 200, path
    out = make_output(tmp_path, photos=1)
    with start(out) as own:
        own.log_in()
        assert own.choose(own.ids()[0], 0).status == 200


def test_a_token_opens_one_window_only(target: Target) -> None:
    server = target.server
    path = server.login_path
    server.log_in()

    again = server.send("GET", path, {"Host": server.host})

    assert again.status == 403
    assert again.header("Set-Cookie") is None
    assert server.login_path != path


def test_a_hundred_megabytes_are_refused_and_not_held(target: Target) -> None:
    server = target.server
    headers = {
        "Host": server.host,
        "Cookie": server.cookie,
        "Origin": server.origin,
        "Content-Type": "application/json",
    }
    path = f"/api/products/{target.id}/choice"
    said = server.send("PUT", path, headers, b"x" * 100, length=100_000_000)
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    lines += "Connection: close\r\nTransfer-Encoding: chunked\r\n"
    head = f"PUT {path} HTTP/1.1\r\n{lines}\r\n".encode()
    unsaid = server.send_raw(head + chunk * 1526 + b"0\r\n\r\n")

    assert said.status == 413
    assert unsaid.status in {0, 413}  # 0: cut off while it was still sending
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    peak_kb = int(next(line for line in status.splitlines() if "VmHWM" in line).split()[1])
    assert peak_kb < 160_000
    assert server.get("/api/state").status == 200


def test_every_answer_says_what_a_page_may_do(target: Target) -> None:
    server = target.server
    for answer in (
        server.get("/"),
        server.get("/api/state"),
        server.get(f"/api/pictures/{target.id}/1"),
        server.get("/nothing"),
        server.send("GET", "/", {"Host": "evil.example"}),
    ):
        policy = answer.header("Content-Security-Policy") or ""
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.header("X-Content-Type-Options") == "nosniff"
        assert answer.header("Referrer-Policy") == "no-referrer"
        assert answer.header("Cross-Origin-Resource-Policy") == "same-origin"
        assert answer.header("Access-Control-Allow-Origin") is None


def test_a_thumbnail_that_is_a_link_is_neither_read_nor_written_through(tmp_path: Path) -> None:
    out = make_output(tmp_path, photos=1)
    secret = tmp_path / "secret.webp"
    secret.write_text(SECRET)
    thumbs = out / ".batch-reimagine" / "thumbs"
    row = json.loads((out / "manifest.jsonl").read_text().splitlines()[0])
    thumbs.mkdir()
    (thumbs / f"{row['output_sha256']}.webp").symlink_to(secret)
    with start(out) as server:
        server.log_in()
        found = server.get(f"/api/thumbs/{server.ids()[0]}/{row['variation']}")

    assert found.status == 200
    assert found.body[:4] == b"RIFF"
    assert secret.read_text() == SECRET


def test_a_folder_of_thumbnails_that_is_a_link_is_not_used(tmp_path: Path) -> None:
    out = make_output(tmp_path, photos=1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (out / ".batch-reimagine" / "thumbs").symlink_to(elsewhere)
    with start(out) as server:
        server.log_in()
        assert server.get(f"/api/thumbs/{server.ids()[0]}/1").body[:4] == b"RIFF"

    assert list(elsewhere.iterdir()) == []


def test_a_folder_that_became_a_link_shows_nothing_from_behind_it(tmp_path: Path) -> None:
    out = make_output(tmp_path, photos=1)
    (tmp_path / "out" / "photo-000_v01.png").rename(tmp_path / "other.png")
    manifest = (out / "manifest.jsonl").read_text()
    (out / "manifest.jsonl").write_text(manifest.replace('"photo-000', '"sub/photo-000'))
    (out / "sub").mkdir()
    (tmp_path / "other.png").rename(out / "sub" / "photo-000_v01.png")
    with start(out) as server:
        server.log_in()
        (id_,) = server.ids()
        assert server.get(f"/api/pictures/{id_}/1").status == 200
        (out / "sub").rename(tmp_path / "outside")
        (out / "sub").symlink_to(tmp_path / "outside")
        assert server.get(f"/api/pictures/{id_}/1").status == 404
