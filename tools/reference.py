"""Write the reference pages that the code itself knows best: `python tools/reference.py`.

With --check nothing is written; the exit code is 1 if a page differs from the code.
"""

import ast
import dataclasses
import os
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from batch_reimagine import cli
from batch_reimagine.loading import ENV_PREFIX
from batch_reimagine.settings import FIELDS, Settings, describe
from batch_reimagine.work import Record

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
_MADE = "<!-- Made from the code by tools/reference.py; a test compares. -->\n"

#: What rows' fields mean that their names and types do not say.
_MEANINGS = {
    "v": "version of the row's form",
    "status": "what became of it, see below",
    "bytes": "size of the output",
    "provider": "as `--provider` has it",
    "reason": "why there is none: a word to group by; see [troubleshooting](../troubleshooting.md)",
    "message": "the same as a sentence for people, or what is worth knowing of a picture",
}

_MANIFEST = """\
# The manifest

`OUT/manifest.jsonl`: UTF-8, one JSON object a line, appended and never rewritten. Rows of shards
and of other machines lie in `OUT/manifest/*.jsonl`, in the same form. A row is written when its
picture is durable, so a row never claims more than is on disk. A variation may have several rows;
the last one counts. Lines that are no rows are ignored, and counted by `status`.

Readers ignore fields that they do not know: new ones may come without a new `v`. No row ever holds
a key or an absolute path.

| field | type | meaning |
|---|---|---|
{rows}

| status | meaning | a later run |
|---|---|---|
| `done` | `output` is a complete picture | leaves it |
| `rejected` | no, to the photo; one row for all that it misses | waits for `--retry-failed` |
| `exhausted` | still failing after bounded attempts | tries again |
| `unknown` | sent, no outcome seen: may have been paid | as `--on-unknown` says |

How to open it in DuckDB, pandas and a spreadsheet: [Analyse the results](../how-to/analyse.md).
"""

_SETTINGS = """\
# Settings

Flag > environment > `--config` file > default. Unknown names and wrong values are refused, not
ignored. In a file the name is the key (`rpm = 60`), in the environment it follows `{prefix}`;
lists are separated by commas there. The key is no setting: see [Keys](../how-to/keys.md).

Commented examples: {examples}.

| setting | default | environment | meaning |
|---|---|---|---|
{rows}

`provider`, `provider_option`, `type` and `enterprise` decide what is made, and are part of a
variation's [identity](../explanation/identity.md). All others decide only how: change them as you
like.
"""

_ROOMS = """\
# The rooms

From the top of the house to its ground: a room imports only from floors below its own. Rooms on
one floor do not know each other.

| floor | room | what it is for |
|---|---|---|
{rows}

`simulator` stands beside the house: a second reading of the contracts, which shares no code with
the rooms that speak to a service.
"""


def commands() -> str:
    """All commands with their flags, as the command line itself tells them."""
    _, _, told = cli.application().generate_docs().partition("**Commands**:")
    listed, _, each = told.strip().partition("\n## ")
    each = each.replace("```console", "```")  # no snippet to be run
    text = f"# Commands\n\n{listed.strip()}\n\n## {each.rstrip()}"
    return "".join(line.replace("<", "&lt;") + "\n" for line in text.splitlines())


def settings() -> str:
    """Every setting: default, environment variable, meaning."""
    rows = []
    for field in dataclasses.fields(Settings):
        default = "" if field.default in (None, ()) else f"`{str(field.default).lower()}`"
        variable = f"`{ENV_PREFIX}{field.name.upper()}`"
        rows.append(f"| `{field.name}` | {default} | {variable} | {describe(field.name)} |")
    assert len(rows) == len(FIELDS)  # noqa: S101
    examples = ", ".join(
        f"[{path.stem}](../../configs/{path.name})"
        for path in sorted((ROOT / "configs").glob("*.toml"))
    )
    return _SETTINGS.format(prefix=ENV_PREFIX, examples=examples, rows="\n".join(rows))


def manifest() -> str:
    """Every field of a row: JSON type, meaning."""
    (schema,) = msgspec.json.schema(Record)["$defs"].values()
    told = _told_of("Record", (ROOT / "batch_reimagine" / "work.py").read_text("utf-8"))
    rows = [
        f"| `{name}` | {_type(form)} | {told.get(name) or _MEANINGS[name]} |"
        for name, form in schema["properties"].items()
    ]
    return _MANIFEST.format(rows="\n".join(rows))


def rooms() -> str:
    """Every room by its floor, with the first sentence of its docstring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    layers = next(
        contract["layers"]
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    rows = [
        f"| {floor} | `{name.removeprefix('batch_reimagine.')}` | {_purpose(name)} |"
        for floor, layer in zip(range(len(layers), 0, -1), layers, strict=True)
        for name in sorted(layer.split(" : "))
    ]
    return _ROOMS.format(rows="\n".join(rows))


#: Page, below docs/ → what makes it.
PAGES: dict[str, Callable[[], str]] = {
    "reference/commands.md": commands,
    "reference/settings.md": settings,
    "reference/manifest.md": manifest,
    "contributing/rooms.md": rooms,
}


def text_of(page: str) -> str:
    """What a page should hold."""
    return _MADE + PAGES[page]()


def _told_of(name: str, source: str) -> dict[str, str]:
    """The comments behind a class' fields (`#: …`), by field."""
    (found,) = (
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    lines = source.splitlines()
    return {
        node.target.id: lines[node.lineno - 1].partition("#:")[2].strip().replace("None", "null")
        for node in found.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }


def _type(form: dict[str, Any]) -> str:
    """A JSON schema's type in words."""
    if "anyOf" in form:
        return " or ".join(_type(one) for one in form["anyOf"])
    if "enum" in form:
        return ", ".join(f"`{word}`" for word in form["enum"])
    if form["type"] == "array":
        return f"list of {_type(form['items'])}"
    return str(form["type"])


def _purpose(module: str) -> str:
    """The first sentence of a module's docstring."""
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    told = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return told.split("\n\n", 1)[0].replace("\n", " ").replace("|", "\\|")


def main() -> int:
    """Write what differs; or, with --check, only name it."""
    os.environ["COLUMNS"] = "200"
    differs = False
    for page in PAGES:
        path, text = DOCS / page, text_of(page)
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        differs = True
        if "--check" in sys.argv:
            print(f"{page} differs from the code")  # noqa: T201
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return 1 if differs and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())
