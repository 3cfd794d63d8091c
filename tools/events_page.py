"""Writes docs/reference/events.md and its schema from `batch_reimagine.events`.

Run from the project's root: python -m tools.events_page
"""

import json
from pathlib import Path
from typing import Any

from batch_reimagine import events

_HOME = Path(__file__).parent.parent / "docs/reference"

_HEAD = """\
# Events: the lines of `run --json`

<!-- made by `python -m tools.events_page`; a test fails where it differs from the code -->

`batch-reimagine run … --json` writes one JSON object a line to standard output, and nothing else
there; people's messages do not come. `event` tells what a line is. Each line is flushed as it is
written.

- The `plan` comes before any `item`, the `summary` is the last line. A run that is refused before
  it begins (wrong settings, an output in use) writes an `error`, or nothing but a message on
  standard error, and no `summary`; the [exit code](exit-codes.md) is there always.
- An `item` is written once its row is on disk. A reader that is slow holds the run up; once it is
  stopping, what the reader does not take is left out, and so is a `progress` at any time.
- Fields and events are only ever added. Ignore what you do not know.
- Money is a decimal in a string, in your own currency, so that no rounding comes in.

[events.schema.json](events.schema.json) is the JSON Schema (2020-12) of one line. From Python:
`batch_reimagine.events.decode(line)` reads a line, `batch_reimagine.events.schema()` is the schema.

```sh
batch-reimagine run photos -o out --json | grep '"event":"item"'
```
"""


def pages() -> dict[Path, str]:
    """What each file is to hold."""
    schema = events.schema()
    parts = [_HEAD]
    for name, reference in schema["discriminator"]["mapping"].items():
        line = schema["$defs"][reference.rpartition("/")[2]]
        parts.append(f"## `{name}`\n\n{line['description']}\n")
        if name == "item":
            parts.append("Its fields beside `event` are [the manifest's](manifest.md).\n")
            continue
        rows = [
            f"| `{field}` | {_type(facts)} | {_described(facts)} |"
            for field, facts in line["properties"].items()
            if field != "event"
        ]
        parts.append("\n".join(["| field | type | meaning |", "|---|---|---|", *rows]) + "\n")
    return {
        _HOME / "events.md": "\n".join(parts),
        _HOME / "events.schema.json": json.dumps(schema, indent=2) + "\n",
    }


def _type(facts: dict[str, Any]) -> str:
    if "anyOf" in facts:
        return " or ".join(_type(option) for option in facts["anyOf"])
    if "additionalProperties" in facts:
        return f"object of {_type(facts['additionalProperties'])}s"
    return str(facts["type"])


def _described(facts: dict[str, Any]) -> str:
    """The meaning, wherever msgspec put it."""
    found = [facts, *facts.get("anyOf", [])]
    return next(str(part["description"]) for part in found if "description" in part)


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
