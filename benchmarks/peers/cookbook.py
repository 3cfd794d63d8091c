"""A loop as API cookbooks show it: read, shrink, post, save, and then the next.

usage: cookbook.py PHOTOS OUT URL N CONCURRENCY LIMIT
"""

import base64
import io
import os
import sys
from pathlib import Path

import requests
from PIL import Image

PHOTOS, OUT, URL = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] + "/v3/reimagine"
N, LIMIT = int(sys.argv[4]), int(sys.argv[6])

OUT.mkdir(parents=True, exist_ok=True)
for path in sorted(PHOTOS.rglob("*.jpg"))[:LIMIT]:
    image = Image.open(path)
    image.thumbnail((1024, 1024))
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=95)
    for number in range(1, N + 1):
        response = requests.post(
            URL,
            headers={"Authorization": f"Bearer {os.environ['NOVITA_API_KEY']}"},
            json={"image_file": base64.b64encode(buffer.getvalue()).decode("utf-8")},
            timeout=120,
        )
        response.raise_for_status()
        picture = base64.b64decode(response.json()["image_file"])
        (OUT / f"{path.stem}_{number}.png").write_bytes(picture)
