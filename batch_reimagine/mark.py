"""The AI mark: a picture says of itself, for machines, that a trained model made it.

What is written: the IPTC's digital source type, the tool and the AI system, as XMP.
Sources: IPTC Photo Metadata Standard 2025.1 (DigitalSourceType: URI; AISystemUsed: text, at
most one); IPTC NewsCodes, scheme digitalsourcetype, as of 2024-09-17; ISO 16684-1 (CreatorTool).
Pure functions on bytes: pixels are never decoded, and no byte changes but the packet's own
and what the container's rules demand.
"""

import re
from dataclasses import dataclass
from functools import cache

from batch_reimagine import xmp
from batch_reimagine.carriers import carrier_of

_CODES = "cv.iptc.org/newscodes/digitalsourcetype/"
SOURCE_TYPE = f"http://{_CODES}trainedAlgorithmicMedia"  #: made by a model trained on samples

#: Source types that already tell of generative AI: made by it, or edited with it. The scheme's
#: identifiers begin with http, but some writers use https.
AI_SOURCE_TYPES = frozenset(
    f"{scheme}://{_CODES}{code}"
    for scheme in ("http", "https")
    for code in ("trainedAlgorithmicMedia", "compositeWithTrainedAlgorithmicMedia")
)

_IPTC_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_DIGITAL_SOURCE_TYPE = xmp.Property(
    _IPTC_EXT, "Iptc4xmpExt", "DigitalSourceType", AI_SOURCE_TYPES.__contains__
)
_AI_SYSTEM_USED = xmp.Property(_IPTC_EXT, "Iptc4xmpExt", "AISystemUsed")
_CREATOR_TOOL = xmp.Property("http://ns.adobe.com/xap/1.0/", "xmp", "CreatorTool")

# Content Credentials may lie elsewhere, at an address that the XMP gives (C2PA 2.4, "Embedding
# a Reference to an External Manifest"); they cover the file's bytes all the same.
_MANIFEST_ELSEWHERE = xmp.Property("http://purl.org/dc/terms/", "dcterms", "provenance")

_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")  # controls, and no characters


@dataclass(frozen=True, slots=True)
class Mark:
    """What to say beside the source type. Raises ValueError for a text that is no single line."""

    creator_tool: str  #: xmp:CreatorTool, the tool that made the file
    system: str | None  #: Iptc4xmpExt:AISystemUsed, the AI engine or model; None: not known

    def __post_init__(self) -> None:
        for text in (self.creator_tool, self.system):
            if text is None:
                continue
            if not text.strip() or _UNFIT.search(text):
                raise ValueError(f"not fit for a mark: {text[:80]!r}")


@dataclass(frozen=True, slots=True)
class Declared:
    """What a packet says of its picture; None where it says nothing."""

    source_type: str | None = None
    creator_tool: str | None = None
    system: str | None = None

    @property
    def by_ai(self) -> bool:
        """Whether the source type tells of generative AI."""
        return self.source_type in AI_SOURCE_TYPES


def embed(data: bytes, mark: Mark) -> bytes:
    """Give the same PNG, JPEG or WebP with the mark in it; the same object if it is marked.

    Lossless: taking the packet out again gives the same bytes (a WebP keeps its new header).
    An AI source type, tool or system that the picture names already is kept; another source
    type is replaced, for it would be untrue. The same input gives the same bytes.
    Raises ValueError for another format, a broken structure, existing XMP that cannot be
    read or is there twice, a packet too long for the format, and Content Credentials,
    whose signature the change would break.
    """
    carrier = carrier_of(data)
    packet = carrier.take()
    if carrier.credentials or _names_manifest(packet):
        raise ValueError("it carries Content Credentials, which a change would break")
    new = _first_packet(mark) if packet is None else xmp.merge(packet, _statements(mark))
    return data if new is packet and carrier.seen else carrier.put(new)


def read(data: bytes) -> Declared:
    """Give what a PNG, JPEG or WebP declares by its XMP.

    Raises ValueError for another format, a broken structure, and XMP that cannot be read
    or is there twice.
    """
    packet = carrier_of(data).take()
    return Declared() if packet is None else _declared(packet)


def is_marked(data: bytes) -> bool:
    """Whether a picture declares an AI source type. False for what `read` cannot read."""
    try:
        return read(data).by_ai
    except ValueError:
        return False


def has_credentials(data: bytes) -> bool:
    """Whether a picture has C2PA Content Credentials, inside or at an address that it names.

    Whether they are valid is not asked. False for what is no whole PNG, JPEG or WebP;
    `embed` refuses that too.
    """
    try:
        carrier = carrier_of(data)
        return carrier.credentials or _names_manifest(carrier.take())
    except ValueError:
        return False


def sidecar(mark: Mark, old: bytes | None = None) -> bytes:
    """Give a whole .xmp file, for a picture that must stay untouched.

    old: what such a file says already, and goes on to say. Raises ValueError if that
    cannot be read.
    """
    if old is not None:
        return xmp.merge(old, _statements(mark))
    return _first_packet(mark) + b"\n"


def reads_marked(packet: bytes) -> bool:
    """Whether a .xmp file declares an AI source type. False for what cannot be read."""
    try:
        return _declared(packet).by_ai
    except ValueError:
        return False


@cache
def _first_packet(mark: Mark) -> bytes:
    """What a picture without XMP gets; a run has one mark for all of them."""
    return xmp.merge(xmp.EMPTY, _statements(mark))


def _statements(mark: Mark) -> dict[xmp.Property, str]:
    said = {_CREATOR_TOOL: mark.creator_tool, _DIGITAL_SOURCE_TYPE: SOURCE_TYPE}
    return said if mark.system is None else said | {_AI_SYSTEM_USED: mark.system}


def _declared(packet: bytes) -> Declared:
    asked = (_DIGITAL_SOURCE_TYPE, _CREATOR_TOOL, _AI_SYSTEM_USED)
    # Of several values, one that stands speaks for the picture, as it does in a merge.
    said = {
        prop: next(filter(prop.stands, values), values[0] if values else None)
        for prop, values in xmp.read(packet, asked).items()
    }
    return Declared(*(said[prop] for prop in asked))


def _names_manifest(packet: bytes | None) -> bool:
    try:
        said = xmp.read(packet or b"", [_MANIFEST_ELSEWHERE])
    except ValueError:
        return False  # what no one can read names no address
    return any(each.startswith(("http://", "https://")) for each in said[_MANIFEST_ELSEWHERE])
