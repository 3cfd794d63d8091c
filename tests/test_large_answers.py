"""Answers that are large, and many at once: memory is bounded, and no picture that came is lost."""

import asyncio
import base64
import io
import json
from pathlib import Path

import pytest
from aiohttp import web
from PIL import Image

from batch_reimagine import exchange
from tests.support import make_photos, run, scripted

AT_ONCE = 8


async def test_large_answers_at_once_wait_for_each_other_and_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = io.BytesIO()
    Image.effect_noise((300, 300), 90).save(large, "PNG")
    encoded = base64.b64encode(large.getvalue()).decode()
    body = json.dumps({"data": [{"b64_json": encoded}] * 4}).encode()
    monkeypatch.setattr(exchange, "MAX_ANSWER_BYTES", 2 * len(encoded))
    monkeypatch.setattr(exchange, "MAX_HELD_BYTES", 2 * len(body))
    begun = asyncio.Barrier(AT_ONCE)

    async def half_by_half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        await begun.wait()
        await asyncio.sleep(0.1)  # all the first halves are read, or wait to be
        await response.write(body[len(body) // 2 :])
        return response

    make_photos(tmp_path / "photos", AT_ONCE)
    async with scripted(*[half_by_half] * AT_ONCE) as api:
        ran = await run(
            tmp_path / "photos", tmp_path / "out", provider="variations", base_url=api.url,
            variations=4, per_call=4, price="0.01", concurrency=AT_ONCE, ramp="off",
        )  # fmt: skip

    assert ran.progress.failures == {}
    assert len(api.seen) == AT_ONCE
    assert (ran.progress.made, ran.progress.spent, ran.progress.at_risk) == (32, "0.32", "0")
