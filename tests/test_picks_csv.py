"""The table that people edit: whatever a name or a note holds comes back, and nothing runs."""

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batch_reimagine.choice import Choice
from batch_reimagine.errors import UsageError
from batch_reimagine.picks import from_csv, to_csv
from batch_reimagine.picks_csv import cell, text_of

CHOICES = {
    "a,b.jpg": Choice(picked=(2, 1)),
    'say "a".jpg': Choice(none=True),
    "two\nlines.jpg": Choice(picked=(1,), note="a\nb\r\nc\rd"),
    "=cmd|'/C calc'!A0.jpg": Choice(picked=(1,), note="=1+1"),
    "'quoted.jpg": Choice(picked=(1,), note="'"),
    "'=quoted.jpg": Choice(picked=(1,), note="''=x"),
    "@home/+1/-1.jpg": Choice(picked=(3,), rejected=(1, 2)),
    "-1.jpg": Choice(rejected=(4,), note="- one\n- two\n\n=three"),
    "\tx.jpg": Choice(note="\r\n"),
    "a;=1;b.jpg": Choice(note="x;=HYPERLINK(1);'=y"),
    "😀/é/e\u0301.jpg": Choice(picked=(1,), note="👍🏽"),
    "caf\\xe9\\\\.jpg": Choice(picked=(1,), note="\\xff"),
    " spaces .jpg ": Choice(picked=(1,), note=" x "),
    "\uff1d1.jpg": Choice(note="\uff201"),
}
TEXTS = st.text(
    st.one_of(
        st.sampled_from("=+-@';\t\r\n\0\uff1d,\" a"), st.characters(exclude_categories=["Cs"])
    )
)
NOTES = TEXTS.filter(lambda text: "\0" not in text)
RUN = "=+-@\uff1d\uff0b\uff0d\uff20\t\r\n\0"


def write(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def resaved(choices: Mapping[str, Choice], delimiter: str) -> str:
    """The table as a spreadsheet writes it that puts this between cells."""
    out = io.StringIO(newline="")
    rows = csv.reader(io.StringIO(to_csv(choices.items()), newline=""))
    csv.writer(out, delimiter=delimiter, lineterminator="\r\n").writerows(rows)
    return out.getvalue()


@pytest.mark.parametrize("source", CHOICES)
def test_a_decision_comes_back_whatever_its_source_is_called(tmp_path: Path, source: str) -> None:
    path = write(tmp_path / "picks.csv", to_csv([(source, CHOICES[source])]))

    assert from_csv(path) == {source: CHOICES[source]}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_the_table_comes_back_as_spreadsheets_save_it(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    path = write(tmp_path / "picks.csv", resaved(CHOICES, delimiter).encode(encoding))

    assert from_csv(path) == CHOICES


@given(
    st.dictionaries(TEXTS.filter(bool), st.builds(Choice, picked=st.just((1,)), note=NOTES)),
    st.sampled_from(",;\t"),
)
def test_any_table_comes_back(choices: dict[str, Choice], delimiter: str) -> None:
    with TemporaryDirectory() as folder:
        path = write(Path(folder) / "picks.csv", resaved(choices, delimiter))
        assert from_csv(path) == choices


@given(TEXTS)
@example("'=")
@example("\t=")
@example(";'")
def test_any_text_comes_back_from_its_cell(text: str) -> None:
    assert text_of(cell(text)) == text


@given(TEXTS)
@example("x;=1")
@example("x\n=1")
def test_no_cell_begins_with_what_a_spreadsheet_runs_whatever_parts_its_cells(text: str) -> None:
    safe = cell(text)

    assert not safe.startswith(tuple(RUN))
    for separator in ";\t\r\n":
        assert not any(part.startswith(tuple(RUN[:8])) for part in safe.split(separator))


def test_every_row_ends_as_excel_ends_it() -> None:
    assert to_csv([("a.jpg", Choice(picked=(2, 1), note="n"))]) == (
        "source,picks,rejected,none,note\r\na.jpg,2 1,,,n\r\n"
    )


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        pytest.param("source,picks\na.jpg,2\n", {"a.jpg": Choice(picked=(2,))}, id="two columns"),
        pytest.param(
            'Picks , SOURCE,x\n"2,1",a.jpg,y\n', {"a.jpg": Choice(picked=(2, 1))}, id="any order"
        ),
        pytest.param(
            "sep=;\r\nsource;picks\r\na,b.jpg;2,1\r\n",
            {"a,b.jpg": Choice(picked=(2, 1))},
            id="a hint to Excel",
        ),
        pytest.param(
            "source,picks,rejected,none,note\na.jpg,2\n\n,,,,\n",
            {"a.jpg": Choice(picked=(2,))},
            id="empty cells and rows left out",
        ),
        pytest.param(
            "source,picks\ra.jpg,2\r", {"a.jpg": Choice(picked=(2,))}, id="carriage returns alone"
        ),
        pytest.param(
            "source,picks,none\na.jpg,,YES\nb.jpg,1,no\n",
            {"a.jpg": Choice(none=True), "b.jpg": Choice(picked=(1,))},
            id="words for none",
        ),
        pytest.param("source,picks\n", {}, id="no rows"),
    ],
)
def test_a_table_of_ones_own_is_read(tmp_path: Path, text: str, choices: dict[str, Choice]) -> None:
    assert from_csv(write(tmp_path / "mine.csv", text)) == choices


def test_a_column_that_is_not_there_leaves_what_was_decided_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", "source,picks\na.jpg,2\n")
    before = Choice(picked=(1,), rejected=(2, 3), note="keep me")

    assert from_csv(path, lambda _: before) == {
        "a.jpg": Choice(picked=(2,), rejected=(3,), note="keep me")
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "must name the columns"),
        ("a.jpg,2\n", "must name the columns"),
        ("source,picks,picks\n", "two columns are called picks"),
        ("source,picks\na.jpg,2,1\n", "line 2: more cells than columns"),
        ("source,picks\na.jpg,x\n", "line 2: 'x' is no number"),
        ("source,picks\na.jpg,1 1\n", "line 2: a variation is picked twice"),
        ("source,picks,none\na.jpg,1,yes\n", "line 2: none is good"),
        ("source,picks,none\na.jpg,1,vielleicht\n", "line 2: none is 'vielleicht'"),
        ("source,picks\na.jpg,1\na.jpg,2\n", "line 3: 'a.jpg' is in line 2 already"),
        ("source,picks\n,2\n", "line 2: no source"),
        ('source,picks\n"a\nb",1\nc.jpg,x\n', "line 4: 'x' is no number"),
        ("sep=,\nsource,picks\na.jpg,x\n", "line 3: 'x' is no number"),
        ('source,picks\n"a.jpg,1\nb.jpg,2\n', "line 2: no table from here on"),
        ("source,picks\n" + "a" * 200_000 + ",1\n", "line 2: no table from here on"),
        (b"source,picks\ncaf\xe9.jpg,1\n", "not UTF-8"),
        (b"\xff\xfes", "not UTF-8"),
    ],
)
def test_what_is_no_decision_is_refused_with_its_line(
    tmp_path: Path, text: str | bytes, says: str
) -> None:
    path = write(tmp_path / "mine.csv", text)

    with pytest.raises(UsageError) as refused:
        from_csv(path)

    assert says in str(refused.value)


def test_ten_lines_at_fault_are_named_and_the_others_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "mine.csv", "source,picks\n" + "a.jpg,x\n" * 13)

    with pytest.raises(UsageError) as refused:
        from_csv(path)

    lines = str(refused.value).split("\n")
    assert len(lines) == 12
    assert "line 11: " in lines[10]
    assert lines[11].strip() == "and 3 more"


def test_a_file_too_large_for_picks_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.csv"
    with path.open("wb") as opened:
        opened.truncate(60_000_000)

    with pytest.raises(UsageError, match="too large"):
        from_csv(path)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        from_csv(tmp_path / "nowhere.csv")
