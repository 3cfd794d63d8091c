"""The export: look at everything first, write what is missing, then the lists. Blocks."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, TypeVar

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.cores import CORES
from batch_reimagine.errors import UsageError
from batch_reimagine.export.lists import CSV_FILE, ZIP_FILE, as_csv, as_table, pack, words_of
from batch_reimagine.export.options import Options
from batch_reimagine.export.pictures import Pictures, Seen, sha256_of
from batch_reimagine.export.plan import Plan, plan_of
from batch_reimagine.export.presets import Preset, preset_of
from batch_reimagine.export.target import Target
from batch_reimagine.output import Tree
from batch_reimagine.picks import Picks

_TRANSFERS = 8  # at once, from a store
_MOST_NAMED = 3  # in an error
_In = TypeVar("_In")
_Out = TypeVar("_Out")


@dataclass(slots=True)
class Exported:
    """What an export did, or, of a dry run, would do."""

    files: int = 0  #: pictures written
    there: int = 0  #: pictures that were there already
    bytes: int = 0  #: of those written; in a dry run as they are before a conversion
    missing: int = 0  #: pictures wanted that are gone or damaged, and were left out
    warnings: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)  #: of all pictures, relative to the target


def export(
    tree: Tree,
    catalogue: Catalogue,
    picks: Picks,
    options: Options,
    *,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Exported:
    """Put the picked pictures of an output into a folder, under a shop's names.

    The same call after a kill writes what is missing. catalogue, picks: read before (`follow`).
    dry_run: nothing is written, the folder is not made. progress: called with how many pictures
    are handled, and how many are to be. Raises UsageError before anything is written,
    LocalResource, OutputBusy.
    """
    preset = preset_of(options.preset)
    target = Target(options.to, tree.root)
    plan = plan_of(catalogue, picks, options, preset)
    job = _Job(tree, target, plan, options, preset)
    if dry_run:
        return job.would()
    with target.held():
        return job.do(progress or (lambda _done, _total: None))


class _Job:
    def __init__(
        self, tree: Tree, target: Target, plan: Plan, options: Options, preset: Preset
    ) -> None:
        self.target, self.plan, self.options = target, plan, options
        self.table = preset.table
        self.pictures = Pictures(tree, target)
        self.threads = max(CORES, _TRANSFERS) if tree.remote else CORES
        self.seen: list[Seen] = []  # in order

    def would(self) -> Exported:
        todo = self._look()
        return self._told(len(todo), sum(seen.item.size for seen in todo))

    def do(self, progress: Callable[[int, int], None]) -> Exported:
        """Write what is missing, then the lists."""
        todo = self._look()
        for seen in self.seen:
            if seen.kept:  # by an export that wrote nothing down
                self.pictures.note(seen.item.file, seen.kept.sha256)
        files = size = 0
        for number, seen in enumerate(_each(self.pictures.write, todo, self.threads), 1):
            if seen.kept and not seen.there:
                files += 1
                size += seen.kept.size
            progress(number, len(todo))
        self._write_lists()
        return self._told(files, size)

    def _look(self) -> list[Seen]:
        """Return what is still to be done.

        Raises UsageError if a file would have to be overwritten.
        """
        self.pictures.read_records()
        self.seen = list(_each(self.pictures.look, self.plan.items, self.threads))
        clashes = [seen.clash for seen in self.seen if seen.clash]
        clashes += [
            name
            for name in self._lists()
            if self.target.lies_there(name) and not self.pictures.is_ours(name)
        ]
        if clashes:
            rest = len(clashes) - _MOST_NAMED
            more = f" and {rest:,} more" if rest > 0 else ""
            raise UsageError(
                f"{self.target.root} holds other files of the same names:"
                f" {', '.join(clashes[:_MOST_NAMED])}{more}. Nothing is overwritten: remove them,"
                " or choose another --to or --name"
            )
        return [seen for seen in self.seen if not (seen.kept or seen.damaged)]

    def _lists(self) -> list[str]:
        wanted = {CSV_FILE: self.options.csv, ZIP_FILE: self.options.zip}
        names = [name for name, yes in wanted.items() if yes]
        return [*names, self.table.file] if self.table else names

    def _write_lists(self) -> None:
        kept = [seen.kept for seen in self.seen if seen.kept]
        texts: dict[str, bytes] = {}
        if self.options.csv:
            texts[CSV_FILE] = as_csv(kept)
        if self.table:
            texts[self.table.file] = as_table(kept, self.table, self.options.url_prefix)
        files = [(each.item.file, each.sha256) for each in kept]
        files += [(each.item.sidecar, each.sidecar) for each in kept if each.sidecar]
        for name, text in texts.items():
            made_of = (name, sha256_of(text))
            files.append(made_of)
            self._write_list(name, [made_of], partial(_put, text))
        if self.options.zip:
            self._write_list(ZIP_FILE, files, partial(pack, self.target, files))

    def _write_list(
        self, name: str, made_of: list[tuple[str, str]], fill: Callable[[BinaryIO], object]
    ) -> None:
        words = words_of(name, made_of)
        if not (self.target.lies_there(name) and self.pictures.is_ours(name, words)):
            self.target.write_list(name, words, fill)

    def _told(self, files: int, size: int) -> Exported:
        plan, seen = self.plan, self.seen
        damaged = [each.item.output for each in seen if each.damaged]
        plan.warn(
            f"{len(damaged):,} wanted pictures are damaged or cannot be converted, and were left"
            " out",
            damaged,
        )
        plan.warn(
            "Content Credentials do not outlast a conversion; they go from",
            [each.item.file for each in seen if each.lost],
        )
        plan.warn(
            "clear parts become white in JPEG", [each.item.file for each in seen if each.clear]
        )
        plan.warn("only the first frame is kept", [each.item.file for each in seen if each.moved])
        plan.warn(
            "earlier exports left pictures that are not asked for now",
            self.pictures.left(plan.items),
        )
        return Exported(
            files,
            sum(each.there and not each.damaged for each in seen),
            size,
            plan.missing + len(damaged),
            plan.warnings,
            [each.item.file for each in seen if not each.damaged],
        )


def _each(work: Callable[[_In], _Out], of: list[_In], threads: int) -> Iterator[_Out]:
    """Do it to all, one picture in memory a thread. In order."""
    with ThreadPoolExecutor(threads, "export") as pool:
        yield from pool.map(work, of)


def _put(text: bytes, into: BinaryIO) -> None:
    into.write(text)
