"""The key is nowhere: not in a repr, not in what a server sends back."""

import base64
import pickle
import traceback
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batch_reimagine.errors import UsageError
from batch_reimagine.secret import Secret

KEY = "sk_test/0123+456789=abcdefghij"
KEYS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=4, max_size=80)


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(KEY, id="raw"),
        pytest.param(f"Bearer {KEY}", id="with its scheme"),
        pytest.param(quote(KEY, safe=""), id="quoted for a URL"),
        pytest.param(quote(KEY, safe="").replace("%2F", "%2f"), id="quoted in lower case"),
        pytest.param(base64.b64encode(KEY.encode()).decode(), id="base64"),
        pytest.param(base64.b64encode(KEY.encode()).decode().rstrip("="), id="base64, unpadded"),
        pytest.param(KEY[:12] + "…", id="its first 12 characters"),
        pytest.param(f"{KEY}{KEY}", id="twice"),
    ],
)
def test_no_form_of_the_key_passes(echo: str) -> None:
    safe = Secret(KEY).redact(f"invalid key {echo} given")

    assert KEY[:12] not in safe
    assert KEY[8:] not in safe
    assert KEY[12:] not in safe
    assert base64.b64encode(KEY.encode()).decode()[:16] not in safe
    assert safe.startswith("invalid key ")
    assert safe.endswith(" given")


@given(KEYS, st.text(max_size=50), st.text(max_size=50))
def test_the_key_never_survives_whatever_surrounds_it(key: str, left: str, right: str) -> None:
    safe = Secret(key).redact(left + key + right)

    assert key not in safe.replace("[key]", "")


def test_the_rest_of_a_message_stays() -> None:
    assert Secret(KEY).redact("image too large (width: 9)") == "image too large (width: 9)"


@pytest.mark.parametrize(
    "text",
    [
        "a\nb",
        "a\r\nb",
        "a\0b",
        "a\x1b[31mb",
        "a\x7fb",
        "a\x9bb",
        "a\u2028b",
        "a\u202eb",
        "a\u2066b",
    ],
    ids=lambda text: repr(text[1:-1]),
)
def test_a_servers_text_stays_on_one_line_and_steers_no_terminal(text: str) -> None:
    safe = Secret(KEY).redact(text)

    assert len(safe.splitlines()) == 1
    assert not set(safe) & set("\0\x1b\x7f\x9b\u2028\u202e\u2066\n\r")
    assert safe[0] == "a"
    assert safe[-1] == "b"


@given(st.text())
def test_any_text_becomes_one_bounded_line(text: str) -> None:
    safe = Secret(KEY).redact(text)

    assert len(safe) <= 300
    assert len(safe.splitlines()) <= 1


@pytest.mark.parametrize("length", [299, 300, 301, 1_000_000])
def test_a_long_text_is_cut(length: int) -> None:
    safe = Secret(KEY).redact("x" * length)

    assert len(safe) == min(length, 300)
    assert safe.endswith("…") is (length > 300)


@pytest.mark.parametrize("before", [*range(270, 302), 99_960, 99_990, 99_999])
def test_a_key_at_the_cut_is_not_shown_in_part(before: int) -> None:
    safe = Secret(KEY).redact("x" * before + KEY)

    assert KEY[:4] not in safe


def test_no_text_of_an_object_shows_the_key() -> None:
    secret = Secret(KEY)

    assert KEY not in f"{secret!r} {secret!s} {secret} {[secret]} {(secret,)!r}"


def test_no_traceback_shows_the_key() -> None:
    with pytest.raises(UsageError) as refused:
        Secret(f"{KEY} {KEY}")

    assert KEY not in "".join(traceback.format_exception(refused.value))
    assert KEY not in str(refused.value)


@pytest.mark.parametrize("value", ["a b", "a\nb", "a\r\nX: y", "ä" * 9, "a\0b", "k\u200bk"])
def test_a_key_that_cannot_stand_in_a_header_is_refused(value: str) -> None:
    with pytest.raises(UsageError):
        Secret(value)


def test_white_space_around_a_key_is_not_part_of_it() -> None:
    assert Secret(f"  {KEY}\n").reveal() == KEY


@pytest.mark.parametrize("value", ["", "  "])
def test_no_key_is_false_and_redacts_nothing(value: str) -> None:
    secret = Secret(value)

    assert not secret
    assert secret.redact("a key is missing") == "a key is missing"


def test_a_key_is_true() -> None:
    assert Secret(KEY)


def test_a_key_travels_between_processes() -> None:
    assert pickle.loads(pickle.dumps(Secret(KEY))).reveal() == KEY  # noqa: S301 - our own bytes
