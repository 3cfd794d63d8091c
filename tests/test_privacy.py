"""Nothing of the owner is sent: no name, place, comment, thumbnail or second picture."""

import pytest
from PIL import Image

from batch_reimagine.errors import Rejected
from batch_reimagine.prepare import prepare
from tests import gallery
from tests.anatomy import assert_anonymous, jpeg_parts
from tests.pictures import encoded, jpeg_segment, noisy, opened, with_segments
from tests.planting import ENCODED, NAME, SECRET, Plant, assert_absent, plants
from tests.readings import upload_of
from tests.samples_fetch import Sample

PLANTS = dict(plants())
# The planted profile is Adobe RGB, so it changes colours; GIF and icons are no exact copies.
RECOLOURED = ("ICC", "iCCP", "webp", "tiff", "photoshop", "boxes", "gif", "GIF", "ico")


@pytest.fixture(scope="module", autouse=True)
def _heif() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()


@pytest.fixture(scope="module")
def photos() -> dict[str, Image.Image]:
    return {"small": noisy((120, 80)), "large": noisy((1100, 720))}


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_secret_is_not_sent(
    plant: str, size: str, photos: dict[str, Image.Image]
) -> None:
    make: Plant = PLANTS[plant]
    raw = make(photos[size])
    packed = "zTXt" in plant or "zipped" in plant or "iCCP" in plant
    assert packed or any(text in raw for text in ENCODED) or SECRET[:7] in raw, "it was planted"

    upload = prepare(raw)

    assert_anonymous(upload.data)
    assert_absent(upload.data)
    assert upload.note is None or NAME not in upload.note
    shown, plain = (
        picture.convert("RGB").resize((24, 16)).tobytes()
        for picture in (opened(upload.data), photos[size])
    )
    worst = max(abs(a - b) for a, b in zip(shown, plain, strict=True))
    assert worst <= (60 if any(word in plant for word in RECOLOURED) else 12), (
        "the picture is whole"
    )


def test_a_secret_that_is_kept_would_be_seen() -> None:
    kept = with_segments(encoded(noisy(), "JPEG"), jpeg_segment(0xFE, SECRET))

    with pytest.raises(AssertionError):
        assert_absent(kept)
    with pytest.raises(AssertionError):
        assert_anonymous(kept)
    with pytest.raises(AssertionError):
        assert_anonymous(encoded(noisy(), "JPEG") + b"x")


def test_a_refusal_tells_nothing_of_the_owner() -> None:
    broken = PLANTS["JPEG EXIF"](noisy())[:-40]

    with pytest.raises(Rejected) as refused:
        prepare(broken)

    assert NAME not in str(refused.value)


@pytest.mark.parametrize("sample", gallery.SENT, ids=gallery.name_of)
def test_no_sample_tells_of_its_camera(sample: Sample) -> None:
    upload = upload_of(sample.name)

    assert_anonymous(upload.data)
    for word in TELLING:
        assert word not in upload.data
    size = sum(len(part.payload) for part in jpeg_parts(upload.data)) if _is_jpeg(upload) else 0
    assert size < 4000, "tables and headers are small; more would be something else"


# What the samples say of their makers: in EXIF, XMP, profiles, comments.
TELLING = (
    b"Exif",
    b"http://",
    b"Apple",
    b"SONY",
    b"NIKON",
    b"Xiaomi",
    b"Adobe Photoshop",
    b"acspAPPL",
    b"ICC_PROFILE",
    b"Copyright",
    b"8BIM",
    b"MPF\0",
)


def _is_jpeg(upload: object) -> bool:
    return bytes(getattr(upload, "data", b"")).startswith(b"\xff\xd8")


def test_the_samples_have_much_to_tell() -> None:
    """Were they silent, the test above would prove nothing."""
    raws = [gallery.read(sample.name) for sample in gallery.SENT]

    assert [word for word in TELLING if not any(word in raw for raw in raws)] == []
    assert sum(any(word in raw for word in TELLING) for raw in raws) > 50
