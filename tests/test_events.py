"""`run --json`: every line is what the schema says, and the pages say the same."""

import asyncio
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from aiohttp import web

from batch_reimagine import events
from batch_reimagine.cli import exits
from batch_reimagine.work import Note, Plan, Progress, Record
from tests.support import KEY, error, good, make_photos, scripted
from tools import events_page

ROOT = Path(__file__).parent.parent


async def run_json(photos: Path, *arguments: object) -> tuple[int, list[dict[str, Any]], str]:
    """The command's lines, read by a validator that shares no code with us."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "batch_reimagine", "run", str(photos), "--json"),
        *map(str, arguments),
        env=os.environ | {"PYTHONPATH": str(ROOT), "NOVITA_API_KEY": KEY},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 50)
    lines = [json.loads(line) for line in out.splitlines()]
    validator = jsonschema.Draft202012Validator(events.schema())
    for line in lines:
        validator.validate(line)
        assert events.decode(json.dumps(line)), line
    return process.returncode or 0, lines, err.decode()


async def test_a_run_tells_its_plan_progress_items_and_summary_as_the_schema_says(
    tmp_path: Path,
) -> None:
    make_photos(tmp_path / "photos", 3)

    async def slow(_: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5.5)
        return web.json_response(good()[1])

    async with scripted(error(400, "INVALID_IMAGE_SIZE"), slow) as api:
        code, lines, err = await run_json(
            tmp_path / "photos", "-o", tmp_path / "out", "--base-url", api.url
        )

    names = [line["event"] for line in lines]
    assert code == 3, err
    assert names == ["plan", "item", "item", "progress", "item", "summary"]
    assert lines[0]["to_make"] == 3
    progress, summary = lines[3], lines[-1]
    assert (progress["made"], progress["in_flight"], progress["spent"]) == (1, 1, None)
    assert 4.5 < progress["seconds"] < 9
    assert progress["left_s"] > 0
    assert progress["limit"] == 8
    assert progress["outage"] is False
    assert (summary["made"], summary["rejected"], summary["exit"]) == (2, 1, 3)
    assert summary["next"].endswith("--retry-failed")
    assert sorted(line["status"] for line in lines if line["event"] == "item") == [
        "done",
        "done",
        "rejected",
    ]


async def test_a_refused_account_is_an_error_line_before_the_summary(tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", 1)
    async with scripted(error(403, "INVALID_API_KEY", f"no such key {KEY}")) as api:
        code, lines, err = await run_json(
            tmp_path / "photos", "-o", tmp_path / "out", "--base-url", api.url
        )

    assert [line["event"] for line in lines] == ["plan", "error", "summary"]
    assert code == lines[1]["exit"] == lines[2]["exit"] == 4
    assert "INVALID_API_KEY" in lines[1]["message"]
    assert KEY not in json.dumps(lines) + err


@pytest.mark.parametrize(
    "line",
    [
        pytest.param('{"event":"plan"}', id="fields are missing"),
        pytest.param('{"event":"else","time":"2026-11-23T05:00:00.000Z"}', id="no such event"),
        pytest.param(
            '{"event":"error","time":"2026-11-23T05:00:00.000Z","message":"x","exit":"4"}',
            id="a code that is a text",
        ),
    ],
)
def test_the_schema_refuses_what_no_run_writes(line: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(events.schema()).validate(json.loads(line))
    with pytest.raises(msgspec.ValidationError):
        events.decode(line)


def test_a_reader_takes_lines_with_fields_of_later_versions() -> None:
    line = json.loads(events.encode(events.line_of(Note("x")))) | {"later": 1}

    assert isinstance(events.decode(json.dumps(line)), events.NoteLine)
    jsonschema.Draft202012Validator(events.schema()).validate(line)


def test_no_count_of_a_run_is_left_out() -> None:
    for_the_screen = {"flying", "paused_until"}
    counted = {field.name for field in dataclasses.fields(Progress)} - for_the_screen
    planned = {field.name for field in dataclasses.fields(Plan)}

    assert counted <= set(events.ProgressLine.__struct_fields__)
    assert planned == set(events.PlanLine.__struct_fields__) - {"time"}
    assert set(Record.__struct_fields__) == set(events.ItemLine.__struct_fields__)


def test_every_field_is_described() -> None:
    for name, line in events.schema()["$defs"].items():
        if name == "ItemLine":
            continue  # the manifest's own page has its fields
        for field, facts in line["properties"].items():
            assert field == "event" or "description" in json.dumps(facts), (name, field)


def test_the_pages_are_as_the_code_has_it() -> None:
    for path, text in events_page.pages().items():
        why = f"{path.name} differs from the code: run `python -m tools.events_page`"
        assert path.read_text(encoding="utf-8") == text, why


def test_every_exit_code_is_on_its_page_and_in_the_help() -> None:
    from batch_reimagine import cli  # noqa: PLC0415

    page = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    codes = {exits.DONE, exits.UNEXPECTED, exits.SOME_FAILED, 129, 130, 143, *exits._CODES.values()}
    listed = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}

    assert {str(code) for code in codes} == listed - {"code", "---"}
    for code in codes:
        assert f"{code} " in cli._EPILOGUE.replace("/", " ")
