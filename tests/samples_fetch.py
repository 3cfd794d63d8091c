"""Get the sample pictures that tests/samples.toml lists: the tests' own install step.

    python -m tests.samples_fetch DIR

They lie in source distributions on the registry that pip is set up for; pip checks each archive
against its sha256 before it looks inside, and every picture is checked against its own.
What is there and whole is not fetched again.
Exit 0: all are there; 1: some are not, named on stderr.
"""

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LIST = Path(__file__).with_name("samples.toml")
DOWNLOAD_TIMEOUT_S = 300
MAX_FILE_BYTES = 20_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """A picture of another project, and what `prepare` owes it."""

    package: str
    name: str  #: below DIR, and below the package's folder of pictures
    sha256: str
    covers: str
    refused: str | None  #: the reason of the refusal; None: it is sent
    orientation: int  #: which way is up by metadata that libvips does not know of; 1: none such
    like: str | None  #: another sample that shows the same; None: libvips can read it itself
    differs: float | None  #: the most that it may differ from the oracle's reading, of 255


@dataclass(frozen=True, slots=True)
class Package:
    """A source distribution that holds samples."""

    name: str
    version: str
    sha256: str  #: of the .tar.gz
    folder: str  #: where its pictures lie
    samples: tuple[Sample, ...]


def packages() -> tuple[Package, ...]:
    """All that tests/samples.toml lists."""
    return tuple(
        Package(
            name,
            table["version"],
            table["sha256"],
            table["folder"],
            tuple(_sample(name, *entry) for entry in table["files"].items()),
        )
        for name, table in tomllib.loads(LIST.read_text("utf-8")).items()
    )


def _sample(package: str, name: str, entry: dict[str, Any]) -> Sample:
    return Sample(
        package,
        name,
        entry["sha256"],
        entry["covers"],
        entry.get("refused"),
        entry.get("orientation", 1),
        entry.get("like"),
        entry.get("differs"),
    )


def whole(folder: Path, sample: Sample) -> bool:
    """Whether the sample is in the folder, byte by byte as listed."""
    try:
        return hashlib.sha256((folder / sample.name).read_bytes()).hexdigest() == sample.sha256
    except OSError:
        return False


def download(package: Package, into: Path) -> Path:
    """Have pip get a source distribution; OSError with pip's last words when it cannot."""
    wanted = into / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--disable-pip-version-check", "--no-binary", package.name]
    command += ["--require-hashes", "--requirement", str(wanted), "--dest", str(into)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise OSError(f"pip did not end in {DOWNLOAD_TIMEOUT_S} s") from None
    archives = sorted(into.glob("*.tar.gz"))
    if done.returncode or not archives:
        words = (done.stderr or done.stdout).strip().splitlines()
        raise OSError(words[-1] if words else f"pip ended with {done.returncode}")
    return archives[0]


def take(package: Package, archive: Path, folder: Path) -> Iterator[str]:
    """Write the samples that the archive holds; yields a sentence for each that it does not."""
    wanted = {f"{package.folder}/{sample.name}": sample for sample in package.samples}
    with tarfile.open(archive) as opened:
        for member in opened:
            sample = wanted.get(member.name.partition("/")[2])
            if sample is None or not member.isfile() or member.size > MAX_FILE_BYTES:
                continue
            reader = opened.extractfile(member)
            data = reader.read() if reader else b""
            if hashlib.sha256(data).hexdigest() != sample.sha256:
                yield f"{sample.name}: the one in {package.name} {package.version} is another"
            else:
                target = folder / sample.name
                target.parent.mkdir(parents=True, exist_ok=True)
                part = target.with_name(target.name + ".part")
                part.write_bytes(data)
                part.replace(target)
            del wanted[f"{package.folder}/{sample.name}"]
    for sample in wanted.values():
        yield f"{sample.name}: not in {package.name} {package.version}"


def fetch(folder: Path, listed: Iterable[Package]) -> list[str]:
    """Make the folder complete; gives a sentence for each thing that failed."""
    failures: list[str] = []
    for package in listed:
        if all(whole(folder, sample) for sample in package.samples):
            continue
        with tempfile.TemporaryDirectory() as scratch:
            try:
                archive = download(package, Path(scratch))
                failures += take(package, archive, folder)
            except (OSError, tarfile.TarError) as error:
                failures.append(f"{package.name} {package.version}: {error}")
    return failures


def main() -> int:
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m tests.samples_fetch DIR", file=sys.stderr)  # noqa: T201 - a command
        return 2
    folder = Path(sys.argv[1])
    for failure in (failures := fetch(folder, packages())):
        print(f"samples: {failure}", file=sys.stderr)  # noqa: T201
    total = sum(len(package.samples) for package in packages())
    here = sum(whole(folder, sample) for package in packages() for sample in package.samples)
    print(f"samples: {here} of {total} are in {folder}")  # noqa: T201
    return 1 if failures or here < total else 0


if __name__ == "__main__":
    sys.exit(main())
