"""Which pictures are exported, under which names, and what has to be done with each."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from batch_reimagine.catalogue import Catalogue, Product, Variation
from batch_reimagine.errors import UsageError
from batch_reimagine.export import names
from batch_reimagine.export.names import check_template
from batch_reimagine.export.options import Options
from batch_reimagine.export.presets import Preset
from batch_reimagine.kinds import HEAD_BYTES, kind_of
from batch_reimagine.naming import SUFFIXES
from batch_reimagine.output import Tree
from batch_reimagine.picks import Picks

_TYPES = {"PNG": "png", "JPEG": "jpeg", "WEBP": "webp"}
_MOST_NAMED = 10  # in one warning


@dataclass(frozen=True, slots=True)
class Look:
    """A picture by its head, as it lies there now."""

    type: str  #: "png", "jpeg" or "webp", by its first bytes
    width: int  #: pixels
    height: int  #: pixels
    size: int  #: bytes


@dataclass(frozen=True, slots=True)
class Wish:
    """What a picture is to become."""

    type: str
    max_side: int | None
    quality: int

    @property
    def words(self) -> str:
        return f"{self.type} {self.max_side} {self.quality}"

    def fits(self, look: Look) -> bool:
        """Whether the file may be copied as it is."""
        small = self.max_side is None or max(look.width, look.height) <= self.max_side
        return look.type == self.type and small


@dataclass(frozen=True, slots=True)
class Item:
    """One picture and what it will be called."""

    source: str
    variation: int
    rank: int  #: 1: the product's main picture
    output: str  #: its name in the output
    file: str  #: its name in the target: relative, with "/"
    sidecar: str  #: the name of a .xmp file that goes with it
    wish: Wish
    copied: bool  #: nothing of it has to change
    size: int  #: bytes, as it lies in the output
    sha256: str | None  #: of the picture as it was kept
    mark: str | None  #: where its AI mark was put
    note: str
    handle: str  #: of its product, for addresses


@dataclass(slots=True)
class Plan:
    """All pictures of an export, in order of their sources and ranks."""

    items: list[Item] = field(default_factory=list)
    missing: int = 0  #: pictures wanted that are not there, or are none
    warnings: list[str] = field(default_factory=list)

    def warn(self, what: str, of: list[str]) -> None:
        """Say something once, of some; nothing if there are none."""
        if of:
            more = f" and {len(of) - _MOST_NAMED:,} more" if len(of) > _MOST_NAMED else ""
            self.warnings.append(f"{what}: {', '.join(of[:_MOST_NAMED])}{more}")


@dataclass(frozen=True, slots=True)
class _Chosen:
    product: Product
    variation: Variation
    rank: int
    note: str
    look: Look

    @property
    def label(self) -> str:
        return f"{self.product.source} ({self.variation.number})"


def plan_of(catalogue: Catalogue, picks: Picks, options: Options, preset: Preset) -> Plan:
    """Decide what goes where; nothing is written, and of the pictures only heads are read.

    Raises UsageError for a bad template, and when there is nothing to export.
    """
    main = check_template(options.name or preset.main)
    others = check_template(options.name or preset.others or preset.main)
    plan = Plan()
    chosen = list(_there(catalogue, picks, options, plan))
    handles = _handles([each.product for each in chosen])
    wishes = [_wish(options, preset, each.look) for each in chosen]
    wanted = [
        (main if each.rank == 1 else others).file_name(
            names.values_of(
                each.product.source, each.variation.number, each.rank, SUFFIXES[wish.type][1:]
            )
        )
        for each, wish in zip(chosen, wishes, strict=True)
    ]
    keys = [f"{each.product.source}\0{each.variation.number}" for each in chosen]
    told, met = names.apart(wanted, keys)
    plan.warn(f"{len(met):,} names were wanted by more than one picture and told apart", met)
    for each, wish, base in zip(chosen, wishes, told, strict=True):
        plan.items.append(
            Item(
                each.product.source,
                each.variation.number,
                each.rank,
                each.variation.output or "",
                base + SUFFIXES[wish.type],
                f"{base}.xmp",
                wish,
                wish.fits(each.look),
                each.look.size,
                each.variation.sha256,
                each.variation.mark,
                each.note,
                handles[each.product.source],
            )
        )
    _warn_of_the_shop(plan, preset, options)
    return plan


def _wish(options: Options, preset: Preset, look: Look) -> Wish:
    return Wish(
        options.format or preset.format or look.type,
        options.max_side or preset.max_side,
        options.quality or preset.quality,
    )


def _there(catalogue: Catalogue, picks: Picks, options: Options, plan: Plan) -> Iterator[_Chosen]:
    """Every wanted picture that is there; what is not is counted and named."""
    wanted, gone, damaged = 0, [], []
    for product in catalogue:
        choice = picks.of(product.source).choice
        done = {variation.number: variation for variation in product.done}
        numbers = list(choice.picked)
        if options.all:
            numbers += [number for number in done if number not in numbers]
        for rank, number in enumerate(numbers, 1):
            wanted += 1
            label = f"{product.source} ({number})"
            variation = done.get(number)
            path = catalogue.path_of(variation) if variation else None
            if variation is None or path is None:
                gone.append(label)
            elif (look := _look(catalogue.tree, variation, path)) is None:
                damaged.append(label)
            else:
                yield _Chosen(product, variation, rank, choice.note, look)
    if not wanted and not options.all:
        raise UsageError(
            "nothing is picked: choose with `batch-reimagine review OUT` or"
            " `batch-reimagine pick OUT SOURCE=2,1`, or add --all for every picture"
        )
    if not wanted:
        raise UsageError("there is no picture to export yet")
    plan.missing = len(gone) + len(damaged)
    plan.warn(f"{len(gone):,} wanted pictures are not there, and were left out", gone)
    plan.warn(f"{len(damaged):,} wanted pictures are damaged, and were left out", damaged)


def _look(tree: Tree, variation: Variation, path: Path) -> Look | None:
    if not tree.remote:
        return look_at(path)
    name, kind = variation.output or "", variation.type
    width, height, size = variation.width, variation.height, variation.bytes
    try:
        if kind and width and height and tree.size(name) == size:
            return Look(kind, width, height, size)  # as its row tells: a transfer less
        return look_at(tree.root / tree.bring(name))
    except OSError:  # gone this moment
        return None


def look_at(path: Path) -> Look | None:
    """Type and size by the head alone; None for what is no picture that this tool makes."""
    try:
        with path.open("rb") as opened:
            kind = kind_of(opened.read(HEAD_BYTES))
            if kind not in _TYPES:
                return None
            opened.seek(0)
            with Image.open(opened, formats=[kind]) as picture:
                size = os.fstat(opened.fileno()).st_size
                return Look(_TYPES[kind], *picture.size, size)
    except Exception:  # noqa: BLE001 - decoders fail with anything: all mean "no picture"
        return None


def _handles(products: list[Product]) -> dict[str, str]:
    """A handle for each source, each different: of its stem, its path, or with a hash."""
    sources = {product.source: names.plain(product.source) for product in products}
    by_stem = {
        source: names.handle(names.split(text.rpartition("/")[2])[0])
        for source, text in sources.items()
    }
    by_path = _instead(by_stem, {source: names.handle(text) for source, text in sources.items()})
    hashed = {
        source: f"{by_stem[source][:150] or 'product'}-{names.tag(text, 16)}"
        for source, text in sources.items()
    }
    return _instead(by_path, hashed)


def _instead(handles: dict[str, str], others: dict[str, str]) -> dict[str, str]:
    """The same, but for those that are empty or meet another."""
    count = Counter(handles.values())
    return {
        source: handle if handle and count[handle] == 1 else others[source]
        for source, handle in handles.items()
    }


def _warn_of_the_shop(plan: Plan, preset: Preset, options: Options) -> None:
    table = preset.table
    if table is not None and table.has_addresses and options.url_prefix is None:
        plan.warnings.append(
            f"{table.file} holds file names where the shop fetches from addresses: upload the"
            " pictures, and give the address of their folder with --url-prefix"
        )
    if preset.most:
        more = sorted({item.source for item in plan.items if item.rank > preset.most})
        plan.warn(f"{preset.name} shows {preset.most} pictures of a product; more have", more)
    if preset.plain_stems:
        stems = sorted({names.split(item.source.rpartition("/")[2])[0] for item in plan.items})
        odd = [stem for stem in stems if not (stem.isascii() and stem.isalnum())]
        plan.warn(f"{preset.name} takes names of letters and digits only, and not", odd)
