"""A Retry-After header is seconds, or a date, or nothing; it is never an error."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.retry_after import retry_after_s


def at(text: str) -> float | None:
    return retry_after_s({"Retry-After": text})


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0), ("7", 7), (" 7 ", 7), ("1.5", 1.5), ("86400", 86400)]
)
def test_seconds_are_taken(text: str, seconds: float) -> None:
    assert at(text) == seconds


def test_an_absent_header_is_none() -> None:
    assert retry_after_s({}) is None


@pytest.mark.parametrize(
    "form",
    ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"],
    ids=["IMF-fixdate", "RFC 850", "asctime"],
)
def test_the_three_forms_of_a_date_are_taken(form: str) -> None:
    then = datetime.now(UTC) + timedelta(seconds=100)

    seconds = at(then.strftime(form))

    assert seconds is not None
    assert 95 <= seconds <= 100


def test_a_date_in_another_zone_is_taken_for_what_it_is() -> None:
    then = datetime.now(UTC) + timedelta(seconds=100)

    seconds = at(format_datetime(then.astimezone()))

    assert seconds is not None
    assert 95 <= seconds <= 100


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="empty"),
        pytest.param("  ", id="blank"),
        pytest.param("soon", id="a word"),
        pytest.param("-5", id="negative"),
        pytest.param("nan", id="no number"),
        pytest.param("inf", id="for ever"),
        pytest.param("1e999", id="for ever, as a number"),
        pytest.param("9" * 5000, id="five thousand digits"),
        pytest.param("Wed, 21 Oct 2015 07:28:00 GMT", id="in the past"),
        pytest.param("Wed, 99 Foo 2015 99:99:99 GMT", id="a date that does not exist"),
        pytest.param("Wed, 21 Oct 99999 07:28:00 GMT", id="a year of five digits"),
        pytest.param("Wed, 21 Oct 99999999999999999999 07:28:00 GMT", id="a year without end"),
        pytest.param("Wed, 21 Oct 2090 99999999999999999999:28:00 GMT", id="an endless hour"),
        pytest.param("Wed, 21 Oct 2090 07:28:00 +9999", id="a zone beyond the day"),
        pytest.param("Wed, 21 Oct 2090 07:28:00 +99999999999999999999", id="an endless zone"),
        pytest.param("1 2 3 4 5 6 7", id="numbers"),
        pytest.param(",", id="a comma"),
    ],
)
def test_what_cannot_be_waited_for_is_none(text: str) -> None:
    assert at(text) is None


DATE_LIKE = st.lists(
    st.sampled_from(["Wed,", "21", "Oct", "2090", "07:28:00", "GMT", "+0000", "-2500", "99:99"])
    | st.integers().map(str)
    | st.text(max_size=4),
    max_size=8,
).map(" ".join)


@given(st.text() | DATE_LIKE)
def test_any_text_is_seconds_or_none(text: str) -> None:
    seconds = at(text)

    assert seconds is None or 0 <= seconds < float("inf")
