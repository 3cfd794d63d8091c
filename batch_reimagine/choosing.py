"""Decisions by name, as a command or a table has them: checked whole, then made whole. Blocks."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

import msgspec

from batch_reimagine.catalogue import Catalogue, Product, Variation
from batch_reimagine.choice import Choice, variation_numbers
from batch_reimagine.errors import OutputBusy, RunError, UsageError
from batch_reimagine.naming import source_name
from batch_reimagine.output import Tree
from batch_reimagine.picks import CSV_FILE, Picks, StaleError
from batch_reimagine.picks_csv import MOST_NAMED, read_rows, refuse
from batch_reimagine.sharing import Sharing
from batch_reimagine.tally import require_output

_TRIES = 5
_MOST_COMPARED = 5000  # sources that a mistyped one is compared with: 10 lines at fault take 1 s
_NEAR, _ALIKE = 3, 0.7


class Counts(msgspec.Struct, kw_only=True, omit_defaults=True):
    """How far the choosing has come."""

    products: int
    decided: int
    none_good: int  #: of those decided
    undecided: int
    gone: int  #: decided, but the output holds no such product any more
    changed: int  #: by this command
    csv: str  #: path of picks.csv
    set_aside: str | None  #: where picks.csv went that somebody had edited
    notes: list[str] = []  #: what else people should know


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked about one source; picked empty and not none: to be cleared."""

    picked: tuple[int, ...] = ()
    none: bool = False

    def on(self, before: Choice) -> Choice:
        """The decision that follows: its note stays; what is cleared loses its rejections too."""
        if not (self.picked or self.none):
            return Choice(note=before.note)
        rejected = tuple(number for number in before.rejected if number not in self.picked)
        return Choice(picked=self.picked, rejected=rejected, none=self.none, note=before.note)


def parse(choices: Sequence[str], none: Sequence[str], clear: Sequence[str]) -> dict[str, Asked]:
    """What the words of a command ask for: "SOURCE=2,1" each, and bare sources.

    Raises UsageError.
    """
    asked: list[tuple[str, Asked]] = []
    for words in choices:
        source, equals, text = words.rpartition("=")  # a source may hold "=" too
        if not (equals and source):
            raise UsageError(f"{words!r}: write SOURCE=2,1, or --none SOURCE, or --clear SOURCE")
        try:
            picked = Choice(picked=variation_numbers(text)).picked
        except ValueError as error:
            raise UsageError(f"{words!r}: {error}: write SOURCE=2,1") from None
        if not picked:
            raise UsageError(f"{words!r} names no variation: to undo a decision, --clear SOURCE")
        asked.append((source, Asked(picked)))
    asked += [(source, Asked(none=True)) for source in none]
    asked += [(source, Asked()) for source in clear]
    by_source = dict(asked)
    if len(by_source) < len(asked):
        sources = [source for source, _ in asked]
        twice = next(source for source in sources if sources.count(source) > 1)
        raise UsageError(f"{twice!r} is named twice")
    return by_source


def choose(output: Path | Tree, asked: Mapping[str, Asked], table: Path | None = None) -> Counts:
    """Check everything, write it down, and write picks.csv anew; in its store too, if it is in one.

    table: a picks.csv; empty rows clear.
    Raises OutputMismatch, LocalResource, OutputBusy, and UsageError for what cannot be: of a
    source that the output has not, or a variation without a picture. Then nothing is written.
    """
    tree = output if isinstance(output, Tree) else require_output(output)
    catalogue, picks = Catalogue(tree), Picks(tree)
    sharing = Sharing(tree, picks)
    catalogue.follow()
    sharing.sync()
    for _ in range(_TRIES):
        picks.follow()
        before = {source: picks.of(source) for source, _ in picks.items()}
        choices = _wanted(catalogue, picks, asked, table)
        revisions = {source: picks.of(source).revision for source in choices}
        try:
            picks.decide_all(choices, revisions)
        except StaleError:  # a note, say, was written meanwhile: it is not to be lost
            continue
        own = tree.root / CSV_FILE
        path = picks.write_csv(taken_in=table is not None and _is_same(table, own))
        changed = sum(
            source not in before or before[source].choice != choice
            for source, choice in choices.items()
        )
        counts = _count(catalogue, picks, changed, path)
        counts.notes = _shared(sharing, tree)
        return counts
    raise OutputBusy(f"{tree.place}: others decide about the same products: try again")


def _shared(sharing: Sharing, tree: Tree) -> list[str]:
    try:
        return sharing.sync(table=True)
    except RunError as error:
        raise type(error)(
            f"{error}. What was decided is kept in {tree.root}, and goes to the store with the"
            " next review or pick"
        ) from None


def _wanted(
    catalogue: Catalogue, picks: Picks, asked: Mapping[str, Asked], table: Path | None
) -> dict[str, Choice]:
    """What is to change. Raises UsageError."""
    faults: list[str] = []
    choices: dict[str, Choice] = {}
    for words, what in asked.items():
        source = _as_named(catalogue, picks, words)
        before = picks.of(source).choice
        after = what.on(before)
        known = picks.of(source).revision > 0
        if fault := _fault(catalogue, source, after, known=known):
            faults.append(fault)
        elif after != before:
            choices[source] = after
    _refuse(faults)
    if table is not None:
        rows, wrong = read_rows(table, lambda source: picks.of(source).choice)
        for row in rows:
            if row.choice == picks.of(row.source).choice:
                continue  # nothing is asked: its picture may have gone meanwhile
            if row.source in choices:
                wrong.append((row.line, f"{row.source!r} is named in the command too"))
            elif fault := _fault(catalogue, row.source, row.choice, known=True):
                wrong.append((row.line, fault))
            choices[row.source] = row.choice
        refuse(table, wrong)
    return choices


def _refuse(faults: Sequence[str]) -> None:
    if not faults:
        return
    more = len(faults) - MOST_NAMED
    tail = [f"and {more:,} more"] if more > 0 else []
    raise UsageError("\n  ".join(["nothing was changed", *faults[:MOST_NAMED], *tail]))


def _as_named(catalogue: Catalogue, picks: Picks, words: str) -> str:
    """The source as the manifest spells it; the shell completes names as the disk has them."""
    known = catalogue.of(words) or picks.of(words).revision
    return words if known else source_name(words)


def _fault(catalogue: Catalogue, source: str, choice: Choice, *, known: bool) -> str | None:
    """Why a decision cannot be, in words.

    known: somebody has decided about this source before, so that it can be cleared at least.
    """
    product = catalogue.of(source)
    if product is None and known and not (choice.decided or choice.rejected):
        return None
    if product is None:
        near = _near(catalogue, source)
        hint = f"; near: {', '.join(near)}" if near else ""
        return f"{source[:200]}: the output has no such source{hint}"
    why = (_lacks(catalogue, product, number) for number in choice.picked)
    unknown = (n for n in choice.rejected if n not in product.variations)
    return next(
        (f"{source[:200]}: {text}" for text in why if text),
        next((f"{source[:200]}: there is no variation {number}" for number in unknown), None),
    )


def _lacks(catalogue: Catalogue, product: Product, number: int) -> str | None:
    """Why a variation cannot be picked; names those that can."""
    variation = product.variations.get(number)
    if variation is not None and catalogue.path_of(variation) is not None:
        return None
    there = [v.number for v in product.done if catalogue.path_of(v) is not None]
    has = f"it has {', '.join(map(str, there))}" if there else "it has none"
    return f"variation {number} {_state(variation)}; of pictures {has}"


def _state(variation: Variation | None) -> str:
    if variation is None:
        return "does not exist"
    if variation.status == "done":
        return "was made, but its file is gone"
    reason = f": {variation.reason[:80]}" if variation.reason else ""
    return f"has no picture ({variation.status}{reason})"


def _near(catalogue: Catalogue, source: str) -> list[str]:
    """Sources that may have been meant: same name or stem elsewhere, or spelled alike."""
    name = PurePosixPath(source).name.casefold()
    stem = PurePosixPath(name).stem
    sources = [product.source for product in catalogue]
    same = (
        known
        for known in sources
        if PurePosixPath(known.casefold()).name == name
        or PurePosixPath(known.casefold()).stem == stem
    )
    near = list(islice(same, _NEAR))
    by_name = {s if "/" in source else PurePosixPath(s).name: s for s in sources[:_MOST_COMPARED]}
    alike = difflib.get_close_matches(source[:200], by_name, n=_NEAR, cutoff=_ALIKE)
    near += [by_name[name] for name in alike if by_name[name] not in near]
    return [s[:200] for s in near[:_NEAR]]


def _is_same(one: Path, other: Path) -> bool:
    return other.exists() and one.samefile(other)


def _count(catalogue: Catalogue, picks: Picks, changed: int, csv: Path) -> Counts:
    choices = [picks.of(product.source).choice for product in catalogue]
    decided = sum(choice.decided for choice in choices)
    return Counts(
        products=len(choices),
        decided=decided,
        none_good=sum(choice.none for choice in choices),
        undecided=len(choices) - decided,
        gone=sum(choice.decided for source, choice in picks.items() if not catalogue.of(source)),
        changed=changed,
        csv=str(csv),
        set_aside=None if picks.set_aside is None else str(picks.set_aside),
    )
