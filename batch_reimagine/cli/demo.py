"""`batch-reimagine demo`: the main job on sample photos, and a picture to look at."""

import asyncio
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from batch_reimagine import batch
from batch_reimagine.cli import exits
from batch_reimagine.cli.reporter import Reporter
from batch_reimagine.cli.screen import write
from batch_reimagine.durable import no_write
from batch_reimagine.errors import UsageError
from batch_reimagine.settings import Settings
from batch_reimagine.sheet import SheetRow, write_sheet
from batch_reimagine.tally import require_output, rows_that_count

_PACKAGE = Path(__file__).parent.parent
_NOTE = "Made by the built-in simulator, which is no AI; nothing was sent anywhere."


def demo(
    output: Annotated[Path, Parameter(help="Folder for the results.")] = Path("demo-out"),
    *,
    variations: Annotated[int, Parameter(name=["--variations", "-n"], help="Of each photo.")] = 4,
) -> int:
    """Run sample photos through the simulator, resume once, and lay out a contact sheet.

    Needs no key and no network. Run again, it finds everything there.
    """
    samples = next(
        (path for path in (_PACKAGE / "samples", _PACKAGE.parent / "samples") if path.is_dir()),
        None,
    )
    if samples is None:
        raise UsageError("the sample photos are not installed; run photos of your own instead")
    settings = Settings(provider="simulator", variations=variations, concurrency=4)
    for title in ("first run", "the same once more: nothing is sent"):
        write(sys.stdout, f"-- {title}")
        code = asyncio.run(_run(samples, output, settings))
        if code != exits.DONE:
            return code
    sheet, page = _sheet(samples, output)
    write(sys.stdout, f"-- look at {sheet}\n--      or {page}")
    return exits.DONE


async def _run(samples: Path, output: Path, settings: Settings) -> int:
    reporter = Reporter(json=False, quiet=False, verbose=False, settings=settings)
    with reporter:
        await batch.run(
            [samples], output, settings, key="", emit=reporter.emit, progress=reporter.progress
        )
    reporter.end(exits.DONE, None)
    reporter.close()
    return exits.SOME_FAILED if reporter.progress.failed else exits.DONE


def _sheet(samples: Path, output: Path) -> tuple[Path, Path]:
    """Lay the originals beside their variations; return the picture and the page."""
    tree = require_output(output)
    made: dict[str, list[Path]] = {}
    rows_done = [row for row in rows_that_count(tree, []) if row.status == "done"]
    for row in sorted(rows_done, key=lambda row: (row.source, row.variation)):
        made.setdefault(row.source, []).append(tree.path(row.output or ""))
    rows = [
        SheetRow(source=source, original=samples / source, variations=tuple(paths))
        for source, paths in made.items()
    ]
    png, html = tree.root / "contact-sheet.png", tree.root / "contact-sheet.html"
    try:
        write_sheet(rows, png, html, title="batch_reimagine", note=_NOTE)
    except OSError as error:
        raise no_write(png, error) from None
    return png, html
