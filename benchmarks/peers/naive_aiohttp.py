"""Naive aiohttp: gather and a semaphore, as a first evening's script has it.

usage: naive_aiohttp.py PHOTOS OUT URL N CONCURRENCY LIMIT
"""
# ruff: noqa: ASYNC240, D103, PLR2004 - written as such scripts are; it blocks its loop

import asyncio
import base64
import io
import os
import sys
from pathlib import Path

import aiohttp
from PIL import Image

PHOTOS, OUT, URL = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] + "/v3/reimagine"
N, CONCURRENCY, LIMIT = (int(word) for word in sys.argv[4:7])
HEADERS = {"Authorization": f"Bearer {os.environ['NOVITA_API_KEY']}"}


def encode(path: Path) -> str:
    image = Image.open(path)
    if max(image.size) <= 1024:
        return base64.b64encode(path.read_bytes()).decode()
    image.thumbnail((1024, 1024))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=95)
    return base64.b64encode(buffer.getvalue()).decode()


async def variation(
    session: aiohttp.ClientSession, gate: asyncio.Semaphore, payload: dict[str, str], target: Path
) -> None:
    async with gate, session.post(URL, json=payload, headers=HEADERS) as response:
        response.raise_for_status()
        data = await response.json()
        target.write_bytes(base64.b64decode(data["image_file"]))


async def reimagine(session: aiohttp.ClientSession, gate: asyncio.Semaphore, path: Path) -> None:
    payload = {"image_file": encode(path)}
    await asyncio.gather(
        *(variation(session, gate, payload, OUT / f"{path.stem}_{n}.png") for n in range(1, N + 1))
    )


async def main() -> None:
    OUT.mkdir(parents=True, exist_ok=True)
    gate = asyncio.Semaphore(CONCURRENCY)
    timeout = aiohttp.ClientTimeout(total=None)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        photos = sorted(PHOTOS.rglob("*.jpg"))[:LIMIT]
        await asyncio.gather(*(reimagine(session, gate, path) for path in photos))


asyncio.run(main())
