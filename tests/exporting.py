"""Outputs with pictures and picks, made through the real modules, for the tests of export."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_reimagine import manifest, marking
from batch_reimagine.catalogue import Catalogue
from batch_reimagine.export import Exported, Options, export
from batch_reimagine.mark import Mark
from batch_reimagine.naming import output_name
from batch_reimagine.output import Tree
from batch_reimagine.picks import Choice, Picks
from batch_reimagine.proof import prove
from batch_reimagine.work import Record, utc_now
from tests.pictures import encoded, noisy

MARK = Mark("shop tool 7", "Some AI System")


def picture(type_: str = "png", size: tuple[int, int] = (48, 36), **options: Any) -> bytes:
    return encoded(noisy(size), type_.upper(), **options)


@dataclass(slots=True)
class Output:
    """An output folder, without a run."""

    root: Path

    @property
    def tree(self) -> Tree:
        tree = Tree(self.root)
        tree.prepare(force=True)
        return tree

    def add(
        self,
        source: str,
        *pictures: bytes,
        picked: tuple[int, ...] = (),
        note: str = "",
        mark: Mark | None = MARK,
        base: str | None = None,
    ) -> list[str]:
        """Keep pictures as the variations 1 … of a source; return their names in the output."""
        tree = self.tree
        base = base or source.rpartition(".")[0]
        names = []
        with (self.root / "manifest.jsonl").open("ab") as rows:
            for number, data in enumerate(pictures, 1):
                found = prove(data)
                name = output_name(base, number, found.type)
                kept = marking.keep(tree, name, data, mark)
                row = Record(
                    run="r",
                    time=utc_now(),
                    status="done",
                    source=source,
                    source_sha256="0" * 64,
                    variation=number,
                    output=name,
                    output_sha256=kept.sha256,
                    width=found.width,
                    height=found.height,
                    bytes=kept.size,
                    type=found.type,
                    provider="novita",
                    request="",
                    mark=kept.mark,
                )
                rows.write(manifest.encode(row) + b"\n")
                names.append(name)
        if picked or note:
            self.pick(source, *picked, note=note)
        return names

    def pick(self, source: str, *picked: int, note: str = "") -> None:
        Picks(self.tree).decide(source, Choice(picked=picked, note=note))

    def export(self, to: Path, *, dry_run: bool = False, **options: Any) -> Exported:
        tree = self.tree
        catalogue, picks = Catalogue(tree), Picks(tree)
        catalogue.follow()
        picks.follow()
        return export(tree, catalogue, picks, Options(to, **options), dry_run=dry_run)


def files(folder: Path) -> list[str]:
    """All but our own books."""
    found = (path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    names = sorted(path.relative_to(folder).as_posix() for path in found)
    return [name for name in names if not name.startswith(".batch-reimagine")]
