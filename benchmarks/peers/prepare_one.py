"""Make a folder of JPEGs ready by one method, and tell how long that took.

usage: prepare_one.py ours|pillow|pillow-gap|vips WORKERS PHOTOS
Prints {"photos": …, "seconds": …}; imports and start-up are not in the seconds. Every result is
looked at: a JPEG, 1024 pixels on its longer side.
"""

import io
import json
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image

EDGE_PX, QUALITY = 1024, 95


def ours() -> Callable[[bytes], bytes]:
    """The tool's own."""
    from batch_reimagine.prepare import prepare  # noqa: PLC0415 - only the method asked for

    return lambda raw: prepare(raw).data


def pillow(raw: bytes, reducing_gap: float = 2.0) -> bytes:
    """Source of the default gap: Pillow's reference, Image.thumbnail."""
    with Image.open(io.BytesIO(raw)) as image:
        image.thumbnail((EDGE_PX, EDGE_PX), reducing_gap=reducing_gap)
        out = io.BytesIO()
        image.save(out, "JPEG", quality=QUALITY, subsampling=0)
        return out.getvalue()


def vips() -> Callable[[bytes], bytes]:
    """The other library that shrinks while it decodes."""
    import pyvips  # type: ignore[import-untyped]  # noqa: PLC0415 - only where asked for

    pyvips.cache_set_max(0)  # each photo anew

    def one(raw: bytes) -> bytes:
        image = pyvips.Image.thumbnail_buffer(raw, EDGE_PX, height=EDGE_PX, size="down")
        return bytes(image.jpegsave_buffer(Q=QUALITY, subsample_mode="off", keep="none"))

    return one


def method(name: str) -> Callable[[bytes], bytes]:
    """The function that a name stands for."""
    if name == "ours":
        return ours()
    if name == "vips":
        return vips()
    return pillow if name == "pillow" else lambda raw: pillow(raw, reducing_gap=1.0)


def main() -> None:
    """Do it, and say so."""
    one = method(sys.argv[1])
    files = [path.read_bytes() for path in sorted(Path(sys.argv[3]).glob("*.jpg"))]
    one(files[0])  # first use loads codecs
    began = time.monotonic()
    with ThreadPoolExecutor(int(sys.argv[2])) as pool:
        results = list(pool.map(one, files))
    seconds = time.monotonic() - began
    sizes = []
    for data in results:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            sizes.append(max(image.size))
    if set(sizes) != {EDGE_PX}:
        sys.exit(f"longer sides: {sorted(set(sizes))}")
    sys.stdout.write(json.dumps({"photos": len(results), "seconds": seconds}) + "\n")


main()
