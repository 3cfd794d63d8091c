"""Memory does not grow with the photos, beyond a small index."""

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import jpeg, pictures, scripted
from tests.test_cli import environment

# Runs a command and prints its own peak of resident memory, in kB (Linux).
_MEASURED = """
import resource, runpy, sys
sys.argv = ["batch-reimagine", *sys.argv[1:]]
try:
    runpy.run_module("batch_reimagine", run_name="__main__")
finally:
    print("peak", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def _peak_mb(*arguments: object) -> float:
    ended = subprocess.run(
        [sys.executable, "-c", _MEASURED, *map(str, arguments)],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
        timeout=55,
    )
    return int(ended.stderr.rsplit("peak ", 1)[1]) / 1024


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
async def test_ten_times_the_photos_take_hardly_more_memory(tmp_path: Path) -> None:
    peaks = []
    async with scripted() as api:
        for count in (60, 600):
            folder = tmp_path / f"photos-{count}"
            folder.mkdir()
            for number in range(count):
                (folder / f"{number:04d}.jpg").write_bytes(jpeg(number))
            out = tmp_path / f"out-{count}"
            arguments = ("run", folder, "-o", out, "--base-url", api.url, "--concurrency", 8)
            peaks.append(await asyncio.to_thread(_peak_mb, *arguments))
            api.seen.clear()
            assert len(pictures(out)) == count

    assert peaks[1] - peaks[0] < 12, peaks
