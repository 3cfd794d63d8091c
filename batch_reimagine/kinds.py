"""Which format a file is, told by its first bytes; a suffix is only a claim."""

HEAD_BYTES = 64  #: how much of a file `kind_of` wants to see

#: Suffixes by which people mean a picture: such a file is refused with a reason, never passed over.
PICTURE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".dib",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".ico",
        ".j2k",
        ".jfif",
        ".jp2",
        ".jpf",
        ".jpx",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jxl",
        ".mpo",
        ".png",
        ".apng",
        ".psd",
        ".tif",
        ".tiff",
        ".webp",
    }
)

#: Camera raw: a photographer keeps it beside the picture that he developed from it.
RAW_SUFFIXES = frozenset(
    {
        ".3fr", ".arw", ".cr2", ".cr3", ".dng", ".erf", ".fff", ".iiq",
        ".kdc", ".mef", ".mos", ".mrw", ".nef", ".nrw", ".orf", ".pef",
        ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f",
    }
)  # fmt: skip

#: What `prepare` decodes, as Pillow calls it; HEIC besides, with the extra.
ACCEPTED = frozenset(
    {"JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF", "ICO", "JPEG2000", "PSD"}
)

_SIGNATURES = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
    (b"8BPS", "PSD"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (b"\xff\x4f\xff\x51", "JPEG2000"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "JXL"),
    (b"\xff\x0a", "JXL"),
)
_DOCUMENTS = (
    (b"%PDF-", "PDF"),
    (b"%!PS", "EPS"),
    (b"\xc5\xd0\xd3\xc6", "EPS"),
    (b"<svg", "SVG"),
    (b"<?xml", "SVG"),
)
_DIB_HEADER_SIZES = {12, 40, 52, 56, 64, 108, 124}
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}


def kind_of(head: bytes) -> str | None:
    """Name the picture format that begins with head, or None if it is no picture.

    Knows more formats than `prepare` decodes, so that a refusal can name the format.
    """
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _DIB_HEADER_SIZES:
        return "BMP"
    if head[4:8] == b"ftyp":
        return _kind_by_brand(head)
    return "ICO" if _is_icon(head) else None


def document_of(head: bytes) -> str | None:
    """Name what is no photo but often lies beside photos: "PDF", "EPS", "SVG"."""
    begin = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((kind for signature, kind in _DOCUMENTS if begin.startswith(signature)), None)


def _kind_by_brand(head: bytes) -> str | None:
    size = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}
    if brands & {b"avif", b"avis"}:
        return "AVIF"
    return "HEIC" if brands & _HEIF_BRANDS else None


def _is_icon(head: bytes) -> bool:
    """Whether the first entry of what may be an icon's directory can be one."""
    count = int.from_bytes(head[4:6], "little")
    begin = int.from_bytes(head[18:22], "little")
    told = head[:4] == b"\0\0\1\0"
    return told and 0 < count < 256 and head[9:10] == b"\0" and begin >= 6 + 16 * count  # noqa: PLR2004
