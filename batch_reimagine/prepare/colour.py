"""Whatever colour space a picture is in → sRGB.

By its embedded ICC profile; without one CMYK is taken for coated offset print,
and RGB for sRGB unless its EXIF says Adobe RGB. Relative colorimetric with
black point compensation, as Photoshop converts by default.
"""

import io
from functools import lru_cache
from importlib.resources import files

from PIL import Image, ImageCms

_SPACES = {"RGB": "RGB ", "L": "GRAY", "CMYK": "CMYK"}  # as ICC.1 names what a mode holds
_MARGIN = 2  # of 255: a profile that moves no colour further than this is sRGB
_GRID = 9  # steps a channel at which that is looked at
_INTEROP_IFD, _INTEROP_INDEX = 0xA005, 1
_ADOBE_RGB = "R03"  # EXIF 2.32, 4.6.7: DCF option file


def profile_of(im: Image.Image) -> bytes | None:
    """The ICC profile by which im is to be read; None: it is sRGB, or nothing better is known."""
    embedded = im.info.get("icc_profile")
    if embedded and _transform(embedded, "RGB" if im.mode in {"P", "PA"} else im.mode):
        return bytes(embedded)
    if im.mode == "CMYK":
        return _ours("fogra39.icc")
    return _ours("adobe_rgb_compatible.icc") if im.mode == "RGB" and _says_adobe(im) else None


def is_srgb(profile: bytes | None, mode: str) -> bool:
    """Whether reading by this profile would leave all colours of a picture as they are."""
    if profile is None:
        return mode != "CMYK"
    return _moves_nothing(profile, "L" if mode in {"1", "L", "LA"} else "RGB")


def to_srgb(im: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert L, LA, RGB, RGBA, CMYK or LAB by a profile; the result is RGB or RGBA."""
    alpha = im.getchannel("A") if im.mode in {"RGBA", "LA"} else None
    colours = im.convert(im.mode.removesuffix("A")) if alpha else im
    if im.mode == "LAB":
        lab = ImageCms.createProfile("LAB")
        converted = ImageCms.profileToProfile(im, lab, _srgb(), outputMode="RGB")
    else:
        converted = _by_profile(colours, profile)
    if converted is None:
        converted = colours.convert("RGB")
    if alpha:
        converted.putalpha(alpha)
    return converted


def _by_profile(im: Image.Image, profile: bytes | None) -> Image.Image | None:
    transform = profile and _transform(profile, im.mode)
    if not transform:
        return None
    if im.mode != transform.input_mode:  # grey that lies in an RGB space
        im = im.convert(transform.input_mode)
    return ImageCms.applyTransform(im, transform)


@lru_cache(maxsize=8)
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """How to get from a profile to sRGB; None if it is damaged or of another kind of picture."""
    mode = {"LA": "L", "RGBA": "RGB", "1": "L"}.get(mode, mode)
    try:
        opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = opened.profile.xcolor_space
        if mode == "L" and space == _SPACES["RGB"]:
            mode = "RGB"
        if space != _SPACES.get(mode):
            return None
        return ImageCms.buildTransform(
            opened,
            _srgb(),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


@lru_cache(maxsize=8)
def _moves_nothing(profile: bytes, mode: str) -> bool:
    transform = _transform(profile, mode)
    if transform is None:
        return True  # of no use: the picture is read without it
    steps = [round(255 * n / (_GRID - 1)) for n in range(_GRID)]
    if mode == "L":
        colours = [(value,) * 3 for value in range(256)]
    else:
        colours = [(r, g, b) for r in steps for g in steps for b in steps]
    flat = bytes(value for colour in colours for value in colour)
    before = Image.frombytes("RGB", (len(colours), 1), flat)
    after = _by_profile(before.convert(mode), profile)
    moved = zip(flat, after.tobytes() if after else b"", strict=True)
    return all(abs(old - new) <= _MARGIN for old, new in moved)


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=2)
def _ours(name: str) -> bytes:
    return files(__package__).joinpath(name).read_bytes()


def _says_adobe(im: Image.Image) -> bool:
    try:
        index = im.getexif().get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX, "")
        return str(index).rstrip("\0") == _ADOBE_RGB
    except Exception:  # noqa: BLE001 - broken metadata never loses a good picture
        return False
