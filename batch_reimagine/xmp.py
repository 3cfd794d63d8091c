"""XMP packets: what one says of its picture, and how to say more without touching the rest.

Sources: ISO 16684-1 (XMP specification part 1), section 7; XML 1.0; Namespaces in XML 1.0.
Nothing is written anew from a parsed tree: text goes in, or comes out, at the byte
where a real parser saw its place, and every other byte stays as it was.
Every function works on bytes in memory; a packet that cannot be read is a ValueError.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from xml.parsers import expat

#: A packet from outside is read up to this size. Those of pictures have some thousand bytes.
MAX_BYTES = 1 << 20

_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"

#: A packet that says nothing yet. It is closed by "r" because it has no room to write in place.
EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>\n'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n'
    f'<rdf:RDF xmlns:rdf="{_RDF}">\n'
    "</rdf:RDF>\n"
    "</x:xmpmeta>\n"
    '<?xpacket end="r"?>'
).encode()

_OUTSIDE, _IN_RDF, _IN_DESCRIPTION, _IN_PROPERTY = range(4)  # levels of _Reader

_SEPARATOR = "\n"  # between namespace and name; expat refuses a namespace that holds it
_TAG_NAME = re.compile(rb"<([^\s/>]+)")
_ATTRIBUTE = re.compile(rb"""\s+([^\s=/>"']+)\s*=\s*("[^"]*"|'[^']*')""")
_TAG_END = re.compile(rb"\s*/?>")


@dataclass(frozen=True, slots=True)
class Property:
    """A property whose value is plain text."""

    uri: str  #: its namespace
    prefix: str  #: the usual prefix of that namespace
    name: str
    stands: Callable[[str], bool] = bool  #: whether a value found in a packet may stay

    @property
    def full_name(self) -> str:
        """The name that RDF knows it by."""
        return self.uri + self.name


@dataclass(frozen=True, slots=True)
class _Attribute:
    name: bytes  # as written, with its prefix
    quoted: bytes  # the value as written, with its quotes
    begin: int  # of the white space before it
    end: int


@dataclass(frozen=True, slots=True)
class _Tag:
    name: bytes  # as written, with its prefix
    attributes: list[_Attribute]  # without the declarations of namespaces
    end: int
    empty: bool  # <a/>


@dataclass(frozen=True, slots=True)
class _Found:
    value: str
    begin: int  # of the bytes without which it would not be said
    end: int


def read(packet: bytes, wanted: Collection[Property]) -> dict[Property, list[str]]:
    """Give the values that the packet states of the wanted properties; an empty list for none.

    Only the picture's own properties count, in any form (attribute, element, rdf:resource),
    not those within a structure. A value that is a structure or list shows as its text.
    Raises ValueError when the packet cannot be read: no well-formed XML in UTF-8, a DOCTYPE,
    more than MAX_BYTES, or not exactly one rdf:RDF.
    """
    found = _Reader(packet, wanted).found
    return {prop: [each.value for each in found[prop.full_name]] for prop in wanted}


def merge(packet: bytes, wanted: Mapping[Property, str]) -> bytes:
    """Give the packet that says what is wanted too; the same object when it did already.

    A wanted property that the packet has stays as it is when its value stands; a value
    that does not stand is taken out, in any form. What is then missing goes into an
    rdf:Description of its own, last in rdf:RDF, about the same resource. No other byte
    changes; padding stays as large as it was.
    values: text that may stand in XML; nothing here looks for control characters.
    Raises ValueError when the packet cannot be read, or would grow over MAX_BYTES.
    """
    seen = _Reader(packet, wanted)
    cuts: list[tuple[int, int]] = []
    missing: dict[Property, str] = {}
    for prop, value in wanted.items():
        said = seen.found[prop.full_name]
        wrong = [(found.begin, found.end) for found in said if not prop.stands(found.value)]
        if len(wrong) == len(said):
            missing[prop] = value
        cuts += wrong
    if not cuts and not missing:
        return packet
    parts, at = [], 0
    for begin, end in sorted(cuts):
        parts.append(packet[at:begin])
        at = end
    if missing:
        text = _description(missing, seen.about, declare_rdf=seen.rdf_name != b"rdf:RDF")
        if seen.rdf_empty:
            text = b">" + text + b"</" + seen.rdf_name + b">"
        parts += [packet[at : seen.hole[0]], text]
        at = seen.hole[1]
    merged = b"".join([*parts, packet[at:]])
    if len(merged) > MAX_BYTES:
        raise ValueError(f"an XMP packet of more than {MAX_BYTES} bytes")
    return merged


def _description(missing: Mapping[Property, str], about: bytes, *, declare_rdf: bool) -> bytes:
    spaces = {"rdf": _RDF} if declare_rdf else {}
    spaces.update((prop.prefix, prop.uri) for prop in missing)
    declared = "".join(f'\n  xmlns:{prefix}="{uri}"' for prefix, uri in spaces.items())
    lines = [
        f" <{prop.prefix}:{prop.name}>{escape(value, quote=False)}</{prop.prefix}:{prop.name}>\n"
        for prop, value in missing.items()
    ]
    text = b"<rdf:Description rdf:about=" + about + f"{declared}>\n".encode()
    return text + "".join(lines).encode() + b"</rdf:Description>\n"


class _Reader:
    """One pass over a packet: the wanted properties, each with its place, and the RDF's end.

    The level counts elements from rdf:RDF on; what is deeper than a property belongs to it.
    """

    def __init__(self, packet: bytes, wanted: Iterable[Property]) -> None:
        self.found: dict[str, list[_Found]] = {prop.full_name: [] for prop in wanted}
        self.about = b'""'
        self.rdf_name = b""  # as written; empty: none seen
        self.rdf_empty = False
        self.hole = (0, 0)  # the bytes that give way to a further description
        self._packet = packet
        self._level = _OUTSIDE
        self._property: str | None = None  # full name of the one that is open, if it is wanted
        self._tag = _Tag(b"", [], 0, empty=False)
        self._begin = 0
        self._text: list[str] = []
        self._parser = parser = expat.ParserCreate("utf-8", _SEPARATOR)
        parser.ordered_attributes = True
        parser.XmlDeclHandler = self._declaration
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        self._parse()

    def _parse(self) -> None:
        if len(self._packet) > MAX_BYTES:
            raise ValueError(f"an XMP packet of more than {MAX_BYTES} bytes")
        text = self._packet.rstrip(b"\0")  # some writers end the packet as a C string
        if b"\0" in text:  # as in all markup in UTF-16, whatever comes before it
            raise ValueError("an XMP packet in another encoding than UTF-8")
        # Also in a comment, where it would be harmless: expat would go on after an objection.
        if b"<!DOCTYPE" in text:
            raise ValueError("an XMP packet with a DOCTYPE")
        try:
            self._parser.Parse(text, True)  # noqa: FBT003 - "this is all", expat's own signature
        except expat.ExpatError as error:
            raise ValueError(f"malformed XMP: {error}") from None
        if not self.rdf_name:
            raise ValueError("an XMP packet without rdf:RDF")

    def _declaration(self, _version: str, encoding: str | None, _standalone: int) -> None:
        if encoding is not None and encoding.lower() != "utf-8":
            raise ValueError(f"an XMP packet in {encoding[:40]!r}, not in UTF-8")

    def _start(self, name: str, attributes: list[str]) -> None:
        at = self._parser.CurrentByteIndex
        if self._level == _OUTSIDE:
            if name != f"{_RDF}{_SEPARATOR}RDF":
                return
            if self.rdf_name:
                raise ValueError("an XMP packet with two rdf:RDF")
            self._tag = _tag(self._packet, at)
            self.rdf_name, self.rdf_empty = self._tag.name, self._tag.empty
            self.hole = (self._tag.end - 2, self._tag.end)  # "/>", if it is empty
        elif self._level == _IN_RDF:
            self._node(_tag(self._packet, at), attributes)
        elif self._level == _IN_DESCRIPTION:
            full_name = name.replace(_SEPARATOR, "")
            self._property = full_name if full_name in self.found else None
            if self._property is not None:
                values = dict(zip(attributes[::2], attributes[1::2], strict=True))
                self._text = [values.get(f"{_RDF}{_SEPARATOR}resource", "")]
                self._tag, self._begin = _tag(self._packet, at), at
        self._level += 1

    def _node(self, tag: _Tag, attributes: list[str]) -> None:
        pairs = zip(attributes[::2], attributes[1::2], tag.attributes, strict=True)
        for name, value, written in pairs:
            uri, _, local = name.rpartition(_SEPARATOR)
            if local == "about" and uri in ("", _RDF):  # without a prefix in old files
                if value and self.about == b'""':
                    self.about = written.quoted
            elif uri + local in self.found:
                found = _Found(value.strip(), written.begin, written.end)
                self.found[uri + local].append(found)

    def _characters(self, text: str) -> None:
        if self._level >= _IN_PROPERTY and self._property is not None:
            self._text.append(text)

    def _end(self, _name: str) -> None:
        if self._level == _OUTSIDE:
            return
        self._level -= 1
        at = self._parser.CurrentByteIndex
        if self._level == _IN_DESCRIPTION and self._property is not None:
            # What is deeper than the property leaves no tag, so this one is the property's own.
            end = self._tag.end if self._tag.empty else self._packet.index(b">", at) + 1
            value = "".join(self._text).strip()
            self.found[self._property].append(_Found(value, self._begin, end))
        elif self._level == _OUTSIDE and not self.rdf_empty:
            self.hole = (at, at)


def _tag(packet: bytes, at: int) -> _Tag:
    """The start tag at a byte where the parser saw one, so it is known to be well-formed."""
    name = _TAG_NAME.match(packet, at)
    end = name.end() if name else at
    attributes = []
    while match := _ATTRIBUTE.match(packet, end):
        if match[1] != b"xmlns" and not match[1].startswith(b"xmlns:"):
            attributes.append(_Attribute(match[1], match[2], end, match.end()))
        end = match.end()
    close = _TAG_END.match(packet, end)
    if name is None or close is None:
        raise ValueError(f"malformed XMP: a tag that is not clear, at byte {at}")
    return _Tag(name[1], attributes, close.end(), empty=close[0].endswith(b"/>"))
