"""The page on tables: what it tells to type gives what it says, by the tools' own reading."""

import csv
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from batch_reimagine import Settings, reimagine_sync
from batch_reimagine.manifest import decode, encode
from tests.pages import ROOT, blocks
from tests.support import make_photos, png, rows

PAGE = blocks(ROOT / "docs" / "how-to" / "analyse.md")
SQL = [block.text for block in PAGE if block.language == "sql"]


def python(word: str) -> str:
    (found,) = [b.text for b in PAGE if b.language == "python" and word in b.text]
    return found


def run(script: str, folder: Path) -> str:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "HOME": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `out` has four pictures of two folders and a photo that is none; one row is old."""
    folder = tmp_path_factory.mktemp("analysed")
    make_photos(folder / "photos" / "hats", 1)
    make_photos(folder / "photos" / "größe", 1, first=1)
    (folder / "photos" / "=cmd.png").write_bytes(png()[:60])
    settings = Settings(provider="simulator", variations=2, price="0.01")  # type: ignore[arg-type]
    list(reimagine_sync(folder / "photos", folder / "out", settings))
    manifest = folder / "out" / "manifest.jsonl"
    lines = manifest.read_bytes().splitlines(keepends=True)
    row = next(filter(None, (decode(line) for line in lines if b'"done"' in line)))
    fields = {name: getattr(row, name) for name in ("run", "source", "source_sha256", "variation")}
    old = type(row)(
        **fields,
        time="2020-01-01T00:00:00.000Z",
        status="exhausted",
        provider=row.provider,
        request=row.request,
        reason="TIMED_OUT",
    )
    manifest.write_bytes(encode(old) + b"\n" + b"".join(lines))
    return folder


def test_duckdb_reads_the_manifest_and_counts_each_variation_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    view, figures = SQL
    by_folder, reasons = [text for text in figures.split(";") if text.strip()]
    with duckdb.connect() as database:
        database.execute(view)
        made = database.execute(by_folder).fetchall()
        failed = database.execute(reasons).fetchall()

    assert len(rows(folder / "out")) == 6
    assert [(row[0], row[1], row[2]) for row in made] == [
        ("", 0, 1),
        ("größe", 2, 0),
        ("hats", 2, 0),
    ]
    assert [str(row[3]) for row in made] == ["None", "0.020000", "0.020000"]
    assert [(row[0], row[1]) for row in failed] == [("DAMAGED", 1)]


def test_pandas_counts_each_variation_once_and_keeps_the_cents(folder: Path) -> None:
    told, rows_told = run(
        f"{python('pd.read_json')}\nprint('---')\n{python('structs.asdict')}", folder
    ).split("---")

    assert "spent: 0.04\n" in told
    assert told.count("größe") == told.count("hats") == 1
    assert (rows_told.count("done"), rows_told.count("rejected")) == (4, 1)
    assert "exhausted" not in rows_told


def test_the_table_opens_in_a_spreadsheet_and_no_name_is_a_formula(folder: Path) -> None:
    run(python("utf-8-sig"), folder)

    data = (folder / "variations.csv").read_bytes()
    table = list(csv.DictReader(data.decode("utf-8-sig").splitlines()))
    assert data.startswith(b"\xef\xbb\xbf")
    assert len(table) == 5
    assert {row["source"] for row in table} == {
        "'=cmd.png",
        "größe/photo-001.jpg",
        "hats/photo-000.jpg",
    }
    assert sorted(row["cost"] for row in table) == ["", "0.01", "0.01", "0.01", "0.01"]
