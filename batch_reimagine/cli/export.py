"""`batch-reimagine export`: the chosen pictures into the shop's folder, under the shop's names."""

import sys
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from cyclopts import Parameter

from batch_reimagine.catalogue import Catalogue
from batch_reimagine.cli import exits
from batch_reimagine.cli.places import Books, Output, StoreOption, open_output
from batch_reimagine.cli.screen import shown, write
from batch_reimagine.export import Exported, Options
from batch_reimagine.export import export as do_export
from batch_reimagine.picks import Picks
from batch_reimagine.places import local_path
from batch_reimagine.sharing import Sharing

_SAMPLE = 5  # names of a dry run
_FLAG = Parameter(negative="", show_default=False)


def export(
    output: Output,
    *,
    to: Annotated[str, Parameter(help="The folder that takes the files; made if missing.")],
    all_: Annotated[
        bool,
        Parameter(
            name="--all",
            negative="",
            show_default=False,
            help="Every picture, the picked ones first.",
        ),
    ] = False,
    name: Annotated[
        str | None,
        Parameter(
            help="Template of the names, such as '{folder}/{stem}_{rank:02}'. Fields: stem, name,"
            " folder, path, source, variation, rank, other (rank - 1), ext."
        ),
    ] = None,
    preset: Annotated[
        str, Parameter(help="plain, amazon, shopify, or the path of a TOML file.")
    ] = "plain",
    format_: Annotated[
        Literal["png", "jpeg", "webp"] | None,
        Parameter(name="--format", help="Convert what is of another type."),
    ] = None,
    max_side: Annotated[
        int | None, Parameter(help="Pixels; larger pictures are made smaller.")
    ] = None,
    quality: Annotated[
        int | None, Parameter(help="1 to 100, of what is converted to JPEG or WebP. [default: 92]")
    ] = None,
    zip_: Annotated[
        bool,
        Parameter(
            name="--zip", negative="", show_default=False, help="Also export.zip with all of it."
        ),
    ] = False,
    csv: Annotated[
        bool, Parameter(negative="", show_default=False, help="Also export.csv, a row a picture.")
    ] = False,
    url_prefix: Annotated[
        str | None, Parameter(help="Put before the file names in a shop's table.")
    ] = None,
    dry_run: Annotated[
        bool,
        Parameter(
            negative="", show_default=False, help="Tell what would be done; nothing written."
        ),
    ] = False,
    json: Annotated[
        bool, Parameter(negative="", show_default=False, help="One JSON object.")
    ] = False,
    store_option: StoreOption = (),
    books: Books = None,
) -> int:
    """Put the picked pictures into a folder; the same command again writes what is missing.

    Nothing is overwritten. Exit 3 if a picked picture is gone or damaged.
    """
    target = local_path(to, "to")
    options = Options(
        to=target,
        preset=preset,
        name=name,
        format=format_,
        max_side=max_side,
        quality=quality,
        all=all_,
        zip=zip_,
        csv=csv,
        url_prefix=url_prefix,
    )
    tree = open_output(output, store_option, books)
    catalogue, picks = Catalogue(tree), Picks(tree)
    catalogue.follow()
    for note in Sharing(tree, picks).sync():
        exits.say(note)
    picks.follow()
    done = do_export(tree, catalogue, picks, options, dry_run=dry_run)
    if json:
        write(sys.stdout, msgspec.json.encode(done).decode())
    else:
        _tell(done, target, dry_run=dry_run)
    return exits.SOME_FAILED if done.missing else exits.DONE


def _tell(done: Exported, to: Path, *, dry_run: bool) -> None:
    for warning in done.warnings:
        exits.say(f"warning: {shown(warning)}")
    if dry_run:
        for name in done.names[:_SAMPLE]:
            write(sys.stdout, f"  {shown(name)}")
        if len(done.names) > _SAMPLE:
            write(sys.stdout, f"  and {len(done.names) - _SAMPLE:,} more")
    verb = "would be written" if dry_run else "written"
    there = f", {done.there:,} there already" if done.there else ""
    size = f"{done.bytes / 1e6:,.1f} MB"
    write(sys.stdout, f"{done.files:,} pictures {verb} to {shown(str(to))}, {size}{there}")
