"""Whatever happens to a file, `prepare` ends in an upload that decodes or in a refusal.

And in nothing else: no other exception, no warning, no word.
"""

import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import MAX_EDGE_PX, prepare
from tests.anatomy import assert_anonymous
from tests.pictures import opened
from tests.planting import SECRET, gif, isobmff, jp2, photoshop, tiff_tags, webp
from tests.stills import MOVING, SIZE, STILLS

REASONS = {"NOT_A_PICTURE", "UNSUPPORTED_FORMAT", "DAMAGED", "TOO_LARGE"}
MAX_PIXELS = 4_000_000  # a mutated size is not to cost the test its time


@contextmanager
def silence() -> Iterator[None]:
    """Nothing may be warned of, logged or printed.

    What libraries in C write past Python, the worker process sends to nowhere.
    """
    heard = io.StringIO()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        with redirect_stdout(heard), redirect_stderr(heard):
            yield
    assert heard.getvalue() == ""
    assert [str(each.message) for each in warned] == []


def judge(raw: bytes) -> None:
    """The only two ends that there are."""
    reason = message = None
    with silence():
        try:
            upload = prepare(raw, max_pixels=MAX_PIXELS)
        except Rejected as refused:
            reason, message = refused.reason, refused.message
    if reason is not None:
        assert reason in REASONS
        assert message
        assert len(message) < 400
        assert message.isprintable()
        return
    sent = opened(upload.data)
    assert sent.size == (upload.width, upload.height)
    assert max(sent.size) <= MAX_EDGE_PX
    assert_anonymous(upload.data)


def _rich() -> dict[str, bytes]:
    """Pictures with much metadata: its readers are to be fuzzed too."""
    picture = opened(STILLS["PNG"])
    return {
        "rich TIFF": tiff_tags(picture),
        "rich WebP": webp(picture),
        "rich GIF": gif(picture),
        "rich JPEG 2000": jp2(picture),
        "rich PSD": photoshop(picture),
        "rich HEIC": isobmff("HEIF")(picture),
        "rich AVIF": isobmff("AVIF")(picture),
    }


WHOLE = STILLS | MOVING | _rich()
MUTATIONS = st.lists(
    st.tuples(
        st.one_of(st.integers(0, 200), st.integers(0, 100_000)),  # heads matter most
        st.sampled_from(["set", "cut", "insert", "repeat"]),
        st.binary(min_size=1, max_size=9),
    ),
    min_size=1,
    max_size=4,
)


def mutated(raw: bytes, changes: list[tuple[int, str, bytes]]) -> bytes:
    for where, how, data in changes:
        at = where % (len(raw) + 1)
        if how == "set":
            raw = raw[:at] + data + raw[at + len(data) :]
        elif how == "cut":
            raw = raw[:at] + raw[at + data[0] :]
        elif how == "insert":
            raw = raw[:at] + data + raw[at:]
        else:
            raw = raw[:at] + raw[at : at + 40] * 2 + raw[at + 40 :]
    return raw


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(changes=MUTATIONS)
def test_a_mutated_picture_ends_in_an_upload_or_a_refusal(
    kind: str, changes: list[tuple[int, str, bytes]]
) -> None:
    judge(mutated(WHOLE[kind], changes))


@pytest.mark.parametrize("kind", WHOLE)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(length=st.integers(0, 100_000))
def test_a_truncated_picture_ends_in_an_upload_or_a_refusal(kind: str, length: int) -> None:
    raw = WHOLE[kind]
    judge(raw[: length % len(raw)])


@settings(max_examples=60, deadline=None)
@given(head=st.sampled_from(sorted(WHOLE)), kept=st.integers(4, 64), rest=st.binary(max_size=400))
def test_noise_behind_a_signature_ends_in_an_upload_or_a_refusal(
    head: str, kept: int, rest: bytes
) -> None:
    judge(WHOLE[head][:kept] + rest)


def test_the_silence_would_be_broken_by_a_warning_or_a_word() -> None:
    with pytest.raises(AssertionError), silence():
        warnings.warn("a word", stacklevel=1)
    with pytest.raises(AssertionError), silence():
        sys.stderr.write("a word")
    with pytest.raises(AssertionError), silence():
        logging.lastResort.handle(logging.makeLogRecord({"msg": "a word", "levelno": 40}))  # type: ignore[union-attr]


def test_what_is_fuzzed_is_whole_and_rich() -> None:
    assert all(prepare(raw).width <= SIZE[0] for raw in WHOLE.values())
    assert all(SECRET[:8] in WHOLE[kind] for kind in WHOLE if kind.startswith("rich"))
