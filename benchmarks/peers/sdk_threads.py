"""The vendor's own client, `novita-client`, in a pool of threads; it does not shrink photos.

usage: sdk_threads.py PHOTOS OUT URL N CONCURRENCY LIMIT
"""
# ruff: noqa: D103 - written as such scripts are

import base64
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from novita_client import NovitaClient  # type: ignore[import-untyped]

PHOTOS, OUT, URL = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
N, CONCURRENCY, LIMIT = (int(word) for word in sys.argv[4:7])

client = NovitaClient(os.environ["NOVITA_API_KEY"], URL)


def variation(path: Path, number: int) -> None:
    answer = client.reimagine(image=str(path), response_image_type="png")
    (OUT / f"{path.stem}_{number}.png").write_bytes(base64.b64decode(answer.image_file))


OUT.mkdir(parents=True, exist_ok=True)
photos = sorted(PHOTOS.rglob("*.jpg"))[:LIMIT]
with ThreadPoolExecutor(CONCURRENCY) as pool:
    calls = [pool.submit(variation, path, n) for path in photos for n in range(1, N + 1)]
    for call in calls:
        call.result()
