"""Every example does what it says, against servers on this machine."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import nbclient
import nbformat
import pytest
import uvicorn
from aiohttp import web

from batch_reimagine import Settings, reimagine, reimagine_sync, status
from batch_reimagine.provider import find_provider
from batch_reimagine.providers import faults_of
from tests.support import KEY, error, good, jpeg, make_photos, pictures, png, rows, scripted

EXAMPLES = Path(__file__).parent.parent / "examples"


def load(name: str) -> ModuleType:
    spec = util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    sys.modules[name] = module  # where its annotations are looked up
    spec.loader.exec_module(module)
    return module


def test_every_example_is_in_the_list_of_examples() -> None:
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    found = {path.name for path in EXAMPLES.iterdir() if not path.name.startswith((".", "_"))}

    assert {name for name in found - {"README.md"} if f"({name}" not in text} == set()


# A web service.


@asynccontextmanager
async def served(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """The application in uvicorn, its start and end included."""
    config = uvicorn.Config(app, port=0, log_level="error", ws="none", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
            yield client
    finally:
        server.should_exit = True
        await task


async def test_the_web_service_streams_its_progress_and_ends_in_order(tmp_path: Path) -> None:
    example = load("fastapi_app")
    make_photos(tmp_path / "photos" / "shoes", 3)
    out = tmp_path / "out" / "shoes"

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.3)
        return web.json_response(good()[1])

    async with scripted(*[slow] * 4) as api:
        settings = Settings(base_url=api.url, concurrency=2)
        app = example.make_app(tmp_path / "photos", tmp_path / "out", settings, KEY)
        async with served(app) as client:
            assert (await client.get("/runs/shoes")).status_code == 404
            assert (await client.post("/runs/..%2Fphotos")).status_code in {404, 422}
            assert (await client.post("/runs/hats")).status_code == 404
            refused = await client.post("/runs/shoes?variations=0")
            assert (refused.status_code, "variations" in refused.text) == (422, True)

            began = await client.post("/runs/shoes?variations=2")
            again = await client.post("/runs/shoes")
            async with client.stream("GET", "/runs/shoes") as left:
                await anext(left.aiter_lines())  # and close the tab
            async with client.stream("GET", "/runs/shoes") as watched:
                told = [json.loads(line) async for line in watched.aiter_lines()]

            assert (began.status_code, again.status_code) == (202, 409)
            assert len(told) > 1
            assert [line["running"] for line in told] == [*[True] * (len(told) - 1), False]
            assert sorted(name for line in told for name in line["new"]) == pictures(out)
            assert told[-1]["made"] == len(rows(out)) == len(api.seen) == 6

            await client.post("/runs/shoes?variations=40")
            ended = (await client.delete("/runs/shoes")).json()
            assert (ended["running"], ended["error"]) == (False, None)
            await client.post("/runs/shoes?variations=40")  # the service ends while it runs

        assert not (await asyncio.to_thread(status, out)).running
        assert {row["status"] for row in rows(out)} == {"done"}
        assert len(rows(out)) == len(pictures(out)) == len(api.seen) < 120


async def test_the_web_service_says_why_a_run_failed_and_never_the_key(tmp_path: Path) -> None:
    example = load("fastapi_app")
    make_photos(tmp_path / "photos" / "a", 1)
    async with scripted(error(403, "INVALID_API_KEY", f"no such key {KEY}")) as api:
        app = example.make_app(
            tmp_path / "photos", tmp_path / "out", Settings(base_url=api.url), KEY
        )
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
            await client.post("/runs/a")
            told = (await client.get("/runs/a")).text.splitlines()

    assert "INVALID_API_KEY" in json.loads(told[-1])["error"]
    assert KEY not in "".join(told)


@pytest.mark.parametrize(
    ("provider", "key"), [("novita", "sk_n"), ("clipdrop", "sk_c"), ("deepinfra", ""), (None, "")]
)
def test_the_web_service_uses_the_key_of_its_provider_and_no_other(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, provider: str | None, key: str
) -> None:
    pytest.importorskip("fastapi")
    for name in ("PROVIDER", "DEEPINFRA_TOKEN", "DEEPINFRA_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setenv("NOVITA_API_KEY", "sk_n")
    monkeypatch.setenv("CLIPDROP_API_KEY", "sk_c")
    if provider:
        monkeypatch.setenv("PROVIDER", provider)

    routes = {getattr(route, "endpoint", None) for route in load("fastapi_app").app().routes}
    services = {getattr(endpoint, "__self__", None) for endpoint in routes} - {None}

    assert {service._key for service in services} == {key}


# A notebook.


def test_the_notebook_runs_from_top_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_photos(tmp_path / "photos", 3)
    monkeypatch.setenv("PHOTOS", str(tmp_path / "photos"))
    monkeypatch.setenv("OUT", str(tmp_path / "out"))
    for name in ("HOME", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    notebook = nbformat.read(EXAMPLES / "notebook.ipynb", as_version=4)
    nbformat.validate(notebook)

    nbclient.NotebookClient(
        notebook, timeout=40, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()

    assert len(pictures(tmp_path / "out")) == 6
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    shown = json.dumps(outputs)
    assert "6/6" in shown  # the bar, as it was left
    assert "6 variations of 3 photos" in shown
    assert sum("image/png" in json.dumps(output) for output in outputs[-2]) == 3
    kept = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert [cell["outputs"] for cell in kept["cells"] if "outputs" in cell] == [[]] * len(outputs)


# A task of a workflow.


async def test_a_task_that_is_tried_again_buys_nothing_twice(tmp_path: Path) -> None:
    example = load("flow")
    make_photos(tmp_path / "photos", 4)
    photos, out = str(tmp_path / "photos"), str(tmp_path / "out")

    def attempt(url: str) -> dict[str, Any]:
        settings = {"base_url": url, "variations": 2}
        figures: dict[str, Any] = example.make_variations(photos, out, key=KEY, **settings)
        return figures

    async with scripted(good(), good(), error(403, "NOT_ENOUGH_BALANCE")) as api:
        with pytest.raises(example.ReimagineError) as poor:
            await asyncio.to_thread(attempt, api.url)
    async with scripted(*[error(404, "API_NOT_FOUND")] * 9) as gone:
        with pytest.raises(example.ReimagineError) as unreachable:
            await asyncio.to_thread(attempt, gone.url)
    async with scripted() as later:
        first = await asyncio.to_thread(attempt, later.url)
        second = await asyncio.to_thread(attempt, later.url)

    assert not example.worth_a_retry(poor.value)  # somebody must pay first
    assert example.worth_a_retry(unreachable.value)
    assert not example.worth_a_retry(ValueError())
    assert (first["made"], first["already_here"]) == (8 - first["already_here"], 8 - first["made"])
    assert len(later.seen) == first["made"] < 8
    assert (second["made"], second["already_here"]) == (0, 8)
    assert json.loads(json.dumps(second)) == second


# A provider of one's own.


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example's package, built and installed into a folder."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    alone = ["--no-deps", "--no-index", "--no-build-isolation", "--target", str(target)]
    subprocess.run([*pip, *alone, str(EXAMPLES / "custom_provider")], check=True, timeout=50)
    sys.path.insert(0, str(target))
    find_provider.cache_clear()
    yield target
    sys.path.remove(str(target))
    find_provider.cache_clear()


def acme(status: int, code: str = "", picture: bytes = b"") -> Any:
    async def answer(_: web.Request) -> web.StreamResponse:
        if picture:
            return web.Response(body=picture, content_type="image/png")
        return web.json_response({"error": {"code": code, "text": "so it is"}}, status=status)

    return answer


def test_the_custom_provider_keeps_what_all_must_keep(installed: Path) -> None:
    assert installed.is_dir()
    assert faults_of(find_provider("acme")) == []


async def test_the_custom_provider_is_found_and_used(installed: Path, tmp_path: Path) -> None:
    assert installed.is_dir()
    make_photos(tmp_path / "photos", 3)
    answers = [acme(200, picture=png()), acme(503, "busy"), acme(400, "too_dark")]
    async with scripted(*answers, *[acme(200, picture=png())] * 5) as api:
        settings = Settings(provider="acme", base_url=api.url, concurrency=1, price="0.02")  # type: ignore[arg-type]
        door = reimagine(tmp_path / "photos", tmp_path / "out", settings, key=KEY)
        found = [record async for record in door]

    assert sorted(record.status for record in found) == ["done", "done", "rejected"]
    assert {record.provider for record in found} == {"acme"}
    assert {record.reason for record in found} == {None, "TOO_DARK"}
    assert {record.cost for record in found if record.output} == {"0.02"}
    assert {seen.path for seen in api.seen} == {"/v1/variations"}
    assert {seen.headers["X-Acme-Token"] for seen in api.seen} == {KEY}
    assert all(seen.body.startswith(jpeg()[:3]) for seen in api.seen)


@pytest.mark.parametrize(
    ("status", "code", "raised"),
    [(401, "bad_token", "BAD_TOKEN"), (402, "no_credit", "NO_CREDIT"), (404, "", "HTTP_404")],
)
async def test_the_custom_provider_says_who_must_act(
    installed: Path, tmp_path: Path, status: int, code: str, raised: str
) -> None:
    assert installed.is_dir()
    make_photos(tmp_path / "photos", 2)
    async with scripted(*[acme(status, code)] * 9) as api:
        settings = Settings(provider="acme", base_url=api.url)
        run = reimagine_sync(tmp_path / "photos", tmp_path / "out", settings, key=KEY)
        with pytest.raises(Exception, match=raised):
            await asyncio.to_thread(list, run)

    assert rows(tmp_path / "out") == []
