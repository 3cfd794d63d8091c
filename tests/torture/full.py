"""A disk that is really full: a small tmpfs, where this machine lets us mount one."""

import asyncio
import errno
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from batch_reimagine.simulator import Behaviour
from tests.torture import points
from tests.torture.forks import forks
from tests.torture.points import LOCAL_RESOURCE, Score, Small
from tests.torture.trace import Hit

SMALL_KB, LARGE_KB = 4000, 40_000  # more, and less, than a run wants free before it sends
PHOTOS, VARIATIONS, CONCURRENCY = 40, 6, 4


class NoMountError(Exception):
    """This machine mounts no tmpfs for us; the message says why."""


@contextmanager
def small_disk(place: Path, size_kb: int = SMALL_KB) -> Iterator[Path]:
    """Mount a tmpfs; gone with the block. Raises NoMountError."""
    mount = shutil.which("mount")
    if mount is None:
        raise NoMountError("there is no mount command")
    place.mkdir(parents=True)
    size = ["-o", f"size={size_kb}k"]
    done = subprocess.run(
        [mount, "-t", "tmpfs", *size, "tmpfs", place],
        capture_output=True,
        text=True,
        check=False,
        timeout=10,
    )
    if done.returncode:
        raise NoMountError(f"tmpfs is not ours to mount: {done.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run([f"{mount[:-5]}umount", place], check=True, timeout=10)


def enlarge(place: Path) -> None:
    """Make room."""
    size = f"remount,size={LARGE_KB}k"
    subprocess.run([str(shutil.which("mount")), "-o", size, place], check=True, timeout=10)


async def fill(place: Path, shim: Path) -> Score:
    """Fill the disk, try once more, which sends nothing, make room, finish."""
    began, score = time.monotonic(), Score()
    (place / "photos").mkdir()
    for number in range(PHOTOS):  # noise: pictures of it are large
        Image.effect_noise((160, 120 + number), 90).save(place / f"photos/{number}.jpg")
    behaviour = Behaviour(latency_s=0.02)
    small = Small(
        "full disk",
        place / "photos",
        variations=VARIATIONS,
        concurrency=CONCURRENCY,
        behaviour=behaviour,
    )
    with small_disk(place / "disk") as disk:
        async with forks(shim) as lane, points.case(small, place / "case", lane) as (it, oracle):
            it.out.symlink_to(disk / "out")
            findings: list[str] = []
            for whys in (["No space left"], ["No space left", "one call may bring"]):
                ended, lines = await it.run(Hit(), watched=disk / "out")
                books = await it.look(may_be_torn=False)
                findings += books.findings
                score.codes[ended.code] += 1
                if ended.code != LOCAL_RESOURCE or not any(why in ended.err for why in whys):
                    findings.append(f"ends with {ended.code}: {ended.err[-300:]}")
                refused = next((line for line in lines if line.result == -errno.ENOSPC), None)
                if score.cases:
                    sent = sum(line.op == "send" for line in lines)
                    findings += [f"{sent} calls sent to a full disk"] if sent else []
                elif refused is None:
                    findings.append("no call was refused")
                else:
                    score.hit[refused.op] += 1
                    findings += points.nothing_begun(lines, refused)
                score.cases += 1
            await asyncio.to_thread(enlarge, disk)
            score.lost = await points.finish_and_look(
                it, oracle, findings, most_lost=2 * CONCURRENCY, confessed=False
            )
            score.findings = [f"full disk: {what}" for what in findings]
    score.seconds = time.monotonic() - began
    return score
