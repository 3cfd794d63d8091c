"""What each provider sends, as a real web server parses it."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from batch_reimagine.deadline import Deadlines
from batch_reimagine.exchange import Body, Exchange
from batch_reimagine.provider import PROVIDERS, ask_of, options_of, provider_of
from batch_reimagine.provider.contract import Provider
from batch_reimagine.secret import Secret
from batch_reimagine.settings import Settings
from batch_reimagine.work import Upload
from tests.support import KEY, jpeg, png

EVERY = [pytest.param(provider, id=name) for name, provider in PROVIDERS.items()]
JPEG, PNG = Upload(jpeg(size=(640, 479)), 640, 479, None), Upload(png(), 16, 12, None)
#: Holds what a form's own lines look like, and the first lines that we would end parts with.
NASTY = Upload(png() + b"\r\n--batch-reimagine-0--\r\n--batch-reimagine-1\r\n\r\n", 16, 12, None)
OPENAI = ("deepinfra", "variations")


@dataclass(slots=True)
class Read:
    """One request, as a web server parsed it."""

    headers: dict[str, str] = field(default_factory=dict)
    form: dict[str, Any] = field(default_factory=dict)
    json: Any = None
    path: str = ""


@asynccontextmanager
async def reader() -> AsyncIterator[tuple[str, Read]]:
    read = Read()

    async def handle(request: web.Request) -> web.Response:
        read.headers, read.path = dict(request.headers), request.path_qs
        if request.content_type == "application/json":
            read.json = await request.json()
        for name, value in (await request.post()).items():
            assert name not in read.form
            assert isinstance(value, str | web.FileField)
            read.form[name] = (
                value
                if isinstance(value, str)
                else (value.filename, value.content_type, value.file.read())
            )
        return web.Response(status=418)

    app = web.Application(client_max_size=10_000_000)
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}", read
    finally:
        await runner.cleanup()


async def sent(provider: Provider, upload: Upload, count: int = 1, **chosen: Any) -> Read:
    """Post one call through the engine's own exchange; give what the server read."""
    settings = Settings(provider=provider.name, **chosen)
    request = provider.build(ask_of(upload, settings, count))
    with Deadlines() as deadlines:
        async with reader() as (url, read), aiohttp.ClientSession() as http:
            exchange = Exchange(
                http, provider, Secret(KEY), base_url=url, timeout_s=10, deadlines=deadlines
            )
            answer = await exchange.post(Body(request.parts, request.content_type))
    assert answer.status == 418
    return read


UPLOADS = [
    pytest.param(JPEG, "jpeg", id="JPEG"),
    pytest.param(PNG, "png", id="PNG"),
    pytest.param(NASTY, "png", id="a photo that looks like a form"),
]


@pytest.mark.parametrize(("upload", "kind"), UPLOADS)
async def test_clipdrop_is_sent_one_file_and_nothing_else(upload: Upload, kind: str) -> None:
    read = await sent(PROVIDERS["clipdrop"], upload)

    assert read.path == "/reimagine/v1/reimagine"
    assert read.form == {"image_file": (f"photo.{kind}", f"image/{kind}", upload.data)}
    assert read.headers["x-api-key"] == KEY
    assert "Authorization" not in read.headers


@pytest.mark.parametrize(("upload", "kind"), UPLOADS)
@pytest.mark.parametrize(
    ("name", "path", "chosen"),
    [
        (
            "deepinfra",
            "/v1/openai/images/variations",
            {"model": "black-forest-labs/FLUX-1-Redux-dev", "size": "1024x1024"},
        ),
        ("variations", "/v1/images/variations", {}),
    ],
)
async def test_variations_are_sent_as_openai_has_them(
    name: str, path: str, chosen: dict[str, str], upload: Upload, kind: str
) -> None:
    read = await sent(PROVIDERS[name], upload, 3)

    assert read.path == path
    assert read.form == {
        "image": (f"photo.{kind}", f"image/{kind}", upload.data),
        "n": "3",
        "response_format": "b64_json",
        **chosen,
    }
    assert read.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("name", OPENAI)
@pytest.mark.parametrize(("size", "asked"), [("512x768", "512x768"), ("photo", "640x480")])
async def test_options_are_sent_and_are_part_of_what_is_bought(
    name: str, size: str, asked: str
) -> None:
    chosen = Settings(
        provider=name,
        provider_option=("model=my/model-1", f"size={size}"),
        base_url="http://127.0.0.1:1",
    )
    read = await sent(provider_of(chosen), JPEG, provider_option=chosen.provider_option)

    assert (read.form["model"], read.form["size"]) == ("my/model-1", asked)
    assert options_of(chosen) == {"model": "my/model-1", "size": size}


@pytest.mark.parametrize("name", ["novita", "reimagine"])
async def test_the_reimagine_contract_is_sent_json(name: str) -> None:
    read = await sent(PROVIDERS[name], JPEG, type="webp")

    assert read.path == "/v3/reimagine"
    assert base64.b64decode(read.json.pop("image_file"), validate=True) == JPEG.data
    assert read.json == {"extra": {"response_image_type": "webp"}}
    assert read.headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize("provider", EVERY)
async def test_the_key_stands_in_one_header_alone(provider: Provider) -> None:
    read = await sent(provider, JPEG)
    holders = [name for name, value in read.headers.items() if KEY in value]

    assert holders in (["Authorization"], ["x-api-key"])
    assert KEY not in read.path + repr(read.form) + repr(read.json)
