"""A Containerfile read as its builder reads it, as far as ours goes; and its steps, done here."""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.packaging.places import ran

_ABSOLUTE = ("/opt", "/src", "/data")  #: the folders of the image that its steps name


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction: RUN, COPY, …, and what follows it."""

    word: str
    rest: str


def steps(text: str) -> list[Step]:
    """All instructions in order; comments are gone, lines that go on are joined."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    parts = [line.split(maxsplit=1) for line in joined.splitlines() if line.strip()]
    return [Step(word.upper(), rest) for word, rest in parts]


@dataclass(slots=True)
class Build:
    """Does the steps below a folder that stands for the image's root; stages share it."""

    root: Path
    context: Path
    arguments: Mapping[str, str]
    env: dict[str, str]
    workdir: str = "/"
    known: dict[str, str] = field(default_factory=dict)  #: ARG and ENV
    command: list[str] = field(default_factory=list)  #: ENTRYPOINT and CMD
    stages: int = 0

    def here(self, text: str) -> str:
        """The text with the image's folders put below our root."""
        named = "|".join(map(re.escape, _ABSOLUTE))
        return re.sub(rf"(?<![\w.])({named})(?=[/:\s]|$)", lambda m: f"{self.root}{m[1]}", text)

    def do(self, step: Step) -> None:
        """One step; an instruction that is not known is a mistake."""
        match step.word:
            case "FROM":
                self._stage()
            case "ARG":
                name, _, default = step.rest.partition("=")
                self.known[name] = self.arguments.get(name, default)
            case "WORKDIR":
                self.workdir = step.rest
                Path(self.here(step.rest)).mkdir(parents=True, exist_ok=True)
            case "ENV":
                for word in step.rest.split():
                    name, _, value = word.partition("=")
                    self.env[name] = self.here(value).replace("$PATH", self.env["PATH"])
            case "COPY":
                self._copy(step.rest.split())
            case "RUN":
                cwd = Path(self.here(self.workdir))
                ran(["sh", "-c", self.here(step.rest)], cwd=cwd, env=self.env | self.known)
            case "ENTRYPOINT" | "CMD":
                self.command += re.findall(r'"(.*?)"', step.rest)
            case "USER" | "STOPSIGNAL":
                pass
            case _:
                raise AssertionError(f"what is {step.word}?")

    def _stage(self) -> None:
        """A later stage begins with nothing but what it copies from the ones before."""
        self.stages += 1
        self.workdir = "/"
        if (sources := Path(self.here("/src"))).exists():
            shutil.rmtree(sources)

    def _copy(self, words: list[str]) -> None:
        if words[0].startswith("--from="):
            assert words[1] == words[2], "stages share one root here"
            assert Path(self.here(words[1])).exists()
            return
        *sources, to = words
        into = Path(self.here(os.path.join(self.workdir, to)))  # noqa: PTH118 - to may be absolute
        for name in sources:
            source = self.context / name
            if source.is_dir():
                shutil.copytree(source, into, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, into / source.name)
