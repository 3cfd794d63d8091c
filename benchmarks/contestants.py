"""Who takes part, how each is started, and the proof that it did all of the work."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from benchmarks.native import Built
from benchmarks.photos import Answer
from benchmarks.server import Seen

_PEERS = Path(__file__).parent / "peers"
_HEAD = b"\x89PNG\r\n\x1a\n"
_TAIL = b"IEND\xaeB`\x82"
_MARK_BYTES = 65_536  #: room for the mark that the tool writes into a picture
_MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class Job:
    """One work as each contestant gets it."""

    photos: Path
    count: int  #: photos; a contestant with a share gets the first so many
    n: int  #: variations of each
    concurrency: int
    out: Path
    url: str
    port: int

    @property
    def calls(self) -> int:
        return self.count * self.n


@dataclass(frozen=True, slots=True)
class Contestant:
    """A way of doing a job. The out folder does not exist when it starts."""

    name: str
    argv: Callable[[Job], list[str]]
    once: bool = False  #: takes part in the first round only
    share: float = 1.0  #: of the photos; slow ones need not do all to show their pace
    is_ours: bool = False


def tool(*flags: str) -> list[str]:
    """The tool as a user starts it."""
    script = Path(sys.executable).with_name("batch-reimagine")
    start = [str(script)] if script.exists() else [sys.executable, "-m", "batch_reimagine"]
    return [*start, *flags]


def ours(*flags: str, name: str = "**batch-reimagine**", once: bool = False) -> Contestant:
    """The tool with everything on; flags: more of the command line."""

    def argv(job: Job) -> list[str]:
        places = [str(job.photos), "-o", str(job.out), "-n", str(job.n), "--base-url", job.url]
        return tool("run", *places, "--concurrency", str(job.concurrency), *flags)

    return Contestant(name, argv, once=once, is_ours=True)


def floor(built: Built, *, large: bool = False) -> list[Contestant]:
    """The C floor, if it could be built and can do this work."""
    if built.floor is None or (large and not built.shrinks):
        return []
    path = built.floor

    def argv(job: Job) -> list[str]:
        job.out.mkdir(parents=True)
        places = [str(job.photos), str(job.out)]
        return [path, "make", str(job.port), *places, str(job.n), str(job.concurrency)]

    return [Contestant("C floor", argv)]


def _script(name: str, job: Job) -> list[str]:
    start = ["sh"] if name.endswith(".sh") else [sys.executable]
    numbers = [str(job.n), str(job.concurrency), str(job.count)]
    return [*start, str(_PEERS / name), str(job.photos), str(job.out), job.url, *numbers]


def naive(*, once: bool = False) -> Contestant:
    """The script that all ratios are against."""
    return Contestant("naive aiohttp", partial(_script, "naive_aiohttp.py"), once=once)


def httpx(*, once: bool = False) -> list[Contestant]:
    """The same script with httpx, if that is installed."""
    if find_spec("httpx") is None:
        return []
    return [Contestant("httpx script", partial(_script, "httpx_script.py"), once=once)]


def slow_peers() -> list[Contestant]:
    """Those that are in the first round only: the vendor's client, a loop, the shell."""
    found = []
    if find_spec("novita_client") is not None:
        sdk = partial(_script, "sdk_threads.py")
        found += [
            Contestant("novita-client, threads", sdk, once=True),
            Contestant("cookbook loop", partial(_script, "cookbook.py"), once=True, share=0.4),
        ]
    if all(map(shutil.which, ("sh", "xargs", "curl", "jq", "base64"))):
        shell = partial(_script, "curl.sh")
        found.append(Contestant("xargs + curl + jq", shell, once=True, share=0.2))
    return found


def shortfall(job: Job, answer: Answer, seen: Seen) -> str | None:
    """What is missing of a job, by what is on disk and what the server saw; None: all is there.

    Each file must be a PNG to its end, of the answer's size or with a mark more; the first and
    the last hold the answer's own pixels.
    """
    files = sorted(path for path in job.out.rglob("*.png") if ".batch-reimagine" not in path.parts)
    bad = [path.name for path in files if not _is_whole(path, answer)]
    bad += [path.name for path in (*files[:1], *files[-1:]) if not _is_the_answer(path, answer)]
    if len(files) != job.calls or bad:
        return f"{len(files)} of {job.calls} pictures, bad: {bad[:_MOST_TOLD]}"
    if seen.posts != job.calls or seen.answered != job.calls:
        return f"the server saw {seen.posts} posts and answered {seen.answered}, not {job.calls}"
    return None


def _is_whole(path: Path, answer: Answer) -> bool:
    size, least = path.stat().st_size, len(answer.picture)
    if not least <= size <= least + _MARK_BYTES:
        return False
    with path.open("rb") as opened:
        head = opened.read(len(_HEAD))
        opened.seek(size - len(_TAIL))
        return head == _HEAD and opened.read() == _TAIL


def _is_the_answer(path: Path, answer: Answer) -> bool:
    return answer.heart in path.read_bytes()
