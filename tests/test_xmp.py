"""A packet is merged at a place that a parser found, and keeps all else that it said."""

from xml.etree import ElementTree as ET

import pytest

from batch_reimagine import xmp
from tests.marked import IPTC_EXT, PACKET, TRAINED, taken_out

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XMP = "http://ns.adobe.com/xap/1.0/"
TYPE = xmp.Property(IPTC_EXT, "Iptc4xmpExt", "DigitalSourceType", {TRAINED}.__contains__)
TOOL = xmp.Property(XMP, "xmp", "CreatorTool")
WANTED = {TYPE: TRAINED, TOOL: "Tool <1> & more"}


def rdf(inside: str, declared: str = "") -> bytes:
    """A packet with this inside of its rdf:RDF."""
    head = f'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="{RDF}"{declared}>'
    return f"{head}{inside}</rdf:RDF></x:xmpmeta>".encode()


def node(inside: str, attributes: str = "") -> bytes:
    """A packet of one description, with this inside; e: is IPTC's namespace."""
    declared = f'rdf:about="" xmlns:e="{IPTC_EXT}" xmlns:dc="http://purl.org/dc/elements/1.1/"'
    return rdf(f"<rdf:Description {declared} {attributes}>{inside}</rdf:Description>")


def said(packet: bytes) -> set[tuple[str, str]]:
    """What an RDF reader of a dozen lines takes from a packet: (about, property = value)."""
    facts = set()
    for one in ET.fromstring(packet.rstrip(b"\0")).iter(f"{{{RDF}}}RDF"):  # noqa: S314 - ours
        for each in one:
            about = each.get(f"{{{RDF}}}about") or each.get("about") or ""
            for name, value in each.attrib.items():
                if RDF not in name and name != "about":
                    facts.add((about, f"{name} = {value}"))
            for item in each:
                value = item.get(f"{{{RDF}}}resource") or "".join(item.itertext()).strip()
                facts.add((about, f"{item.tag} = {value}"))
    return facts


def ours(about: str = "") -> set[tuple[str, str]]:
    return {
        (about, f"{{{IPTC_EXT}}}DigitalSourceType = {TRAINED}"),
        (about, f"{{{XMP}}}CreatorTool = Tool <1> & more"),
    }


PACKETS = {
    "an editor's": (PACKET, "uuid:1234"),
    "nothing said yet": (xmp.EMPTY, ""),
    "an RDF without anything": (rdf(""), ""),
    "a self-closed RDF": (f'<rdf:RDF xmlns:rdf="{RDF}"/>'.encode(), ""),
    "a self-closed RDF with a space": (f'<rdf:RDF xmlns:rdf="{RDF}"  />'.encode(), ""),
    "RDF under another prefix": (
        f'<q:RDF xmlns:q="{RDF}"><q:Description q:about="a:1"/></q:RDF>'.encode(),
        "a:1",
    ),
    "a self-closed RDF under another prefix": (f'<q:RDF xmlns:q="{RDF}"/>'.encode(), ""),
    "RDF without a prefix": (
        f'<RDF xmlns="{RDF}"><Description xmlns:d="d:" d:a="b"/></RDF>'.encode(),
        "",
    ),
    "another thing under the prefix rdf": (
        f'<x xmlns:rdf="other:"><q:RDF xmlns:q="{RDF}" rdf:a="b"></q:RDF></x>'.encode(),
        "",
    ),
    "our prefixes bound to other namespaces": (
        rdf(
            '<rdf:Description rdf:about="" xmp:CreatorTool="no tool"/>',
            ' xmlns:xmp="other:1" xmlns:Iptc4xmpExt="other:2"',
        ),
        "",
    ),
    "single quotes and signs that end tags": (
        node("<dc:a>1</dc:a>", "dc:b='/> \"quoted\" >' \n dc:c = '&lt;/rdf:RDF>'"),
        "",
    ),
    "an end in a comment": (node("<!-- </rdf:RDF> <a b='c'/> --><dc:a>1</dc:a>"), ""),
    "an end in CDATA": (node("<dc:a><![CDATA[</rdf:RDF></x:xmpmeta>]]></dc:a>"), ""),
    "an end in an instruction": (node("<?app </rdf:RDF>?><dc:a>1</dc:a>"), ""),
    "a byte order mark": (b"\xef\xbb\xbf" + PACKET, "uuid:1234"),
    "an XML declaration": (b'<?xml version="1.0" encoding="UTF-8"?>\n' + PACKET, "uuid:1234"),
    "a zero at the end": (PACKET + b"\0", "uuid:1234"),
    "no about": (rdf('<rdf:Description xmlns:d="d:" d:a="b"/>'), ""),
    "an about without a prefix": (rdf('<rdf:Description about="a:1"/>'), "a:1"),
    "an about with references": (rdf("<rdf:Description rdf:about='a&amp;\"&#233;'/>"), 'a&"é'),
    "an empty and a full about": (
        rdf("<rdf:Description rdf:about=''/><rdf:Description rdf:about='a:1'/>"),
        "a:1",
    ),
    "two descriptions": (
        rdf(
            '<rdf:Description rdf:about="a:1" xmlns:d="d:" d:a="b"/>'
            '<rdf:Description rdf:about="a:1" xmlns:d="d:"><d:c>4</d:c></rdf:Description>'
        ),
        "a:1",
    ),
    "a source type within a structure": (
        node(f"<dc:a rdf:parseType='Resource'><e:DigitalSourceType>{TRAINED}</e:DigitalSourceType>"
             "</dc:a>"),
        "",
    ),
    "a source type of another namespace": (
        node(f"<dc:DigitalSourceType>{TRAINED}</dc:DigitalSourceType>"),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("packet", "about"), PACKETS.values(), ids=PACKETS)
def test_what_is_missing_goes_in_about_the_same_and_all_else_stays(
    packet: bytes, about: str
) -> None:
    merged = xmp.merge(packet, WANTED)

    assert said(merged) == said(packet) | ours(about)
    assert xmp.merge(merged, WANTED) is merged
    if not packet.rstrip().endswith(b"/>"):
        assert b"Tool" in taken_out(merged, packet)


@pytest.mark.parametrize(("packet", "about"), PACKETS.values(), ids=PACKETS)
def test_what_is_read_is_what_an_rdf_reader_reads(packet: bytes, about: str) -> None:
    merged = xmp.merge(packet, WANTED)
    facts = {fact for _, fact in said(merged)}
    assert about in {about for about, _ in said(merged)}

    names = [fact.split(" = ")[0].removeprefix("{").partition("}") for fact in facts]
    read = xmp.read(merged, [xmp.Property(uri, "", name) for uri, _, name in names])
    assert facts == {
        f"{{{prop.uri}}}{prop.name} = {value}" for prop, values in read.items() for value in values
    }


KEPT = {
    "attribute": node("", f'e:DigitalSourceType="{TRAINED}"'),
    "attribute in single quotes": node("", f"e:DigitalSourceType = '{TRAINED}'"),
    "attribute with space in it": node("", f'e:DigitalSourceType=" {TRAINED}\n"'),
    "element": node(f"<e:DigitalSourceType> {TRAINED}\n</e:DigitalSourceType>"),
    "rdf:resource": node(f'<e:DigitalSourceType rdf:resource="{TRAINED}"/>'),
    "rdf:resource, two tags": node(
        f'<e:DigitalSourceType rdf:resource="{TRAINED}"></e:DigitalSourceType>'
    ),
    "CDATA": node(f"<e:DigitalSourceType><![CDATA[{TRAINED}]]></e:DigitalSourceType>"),
    "a reference": node(
        f"<e:DigitalSourceType>{TRAINED.replace('M', '&#x4D;')}</e:DigitalSourceType>"
    ),
    "a value with a qualifier": node(
        f"<e:DigitalSourceType rdf:parseType='Resource'><rdf:value>{TRAINED}</rdf:value>"
        "</e:DigitalSourceType>"
    ),
    "without a prefix": rdf(
        f'<rdf:Description><DigitalSourceType xmlns="{IPTC_EXT}">{TRAINED}</DigitalSourceType>'
        "</rdf:Description>"
    ),
}


@pytest.mark.parametrize("packet", KEPT.values(), ids=KEPT)
def test_a_value_that_stands_is_seen_in_every_form_and_kept(packet: bytes) -> None:
    assert xmp.merge(packet, {TYPE: TRAINED}) is packet
    assert xmp.read(packet, [TYPE])[TYPE] == [TRAINED]


CAMERA = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
BESIDE = '<dc:a b:c="d" xmlns:b="b:">1</dc:a>'
REPLACED = {
    "attribute": node(BESIDE, f'dc:x="1" e:DigitalSourceType="{CAMERA}" dc:y="2"'),
    "attribute, last": node(BESIDE, f"dc:x='1'\n  e:DigitalSourceType = '{CAMERA}'"),
    "attribute that says nothing": node(BESIDE, 'dc:x="1" e:DigitalSourceType=""'),
    "element": node(f"{BESIDE}<e:DigitalSourceType>{CAMERA}</e:DigitalSourceType>{BESIDE}"),
    "element, the end tag spaced": node(
        f"<e:DigitalSourceType\n>{CAMERA}</e:DigitalSourceType  >{BESIDE}"
    ),
    "element that says nothing": node(f"<e:DigitalSourceType/>{BESIDE}"),
    "rdf:resource": node(f"<e:DigitalSourceType rdf:resource='{CAMERA}' />{BESIDE}"),
    "both forms": node(
        f"{BESIDE}<e:DigitalSourceType>{CAMERA}</e:DigitalSourceType>",
        f'e:DigitalSourceType="{CAMERA}"',
    ),
    "a list": node(
        f"<e:DigitalSourceType><rdf:Bag><rdf:li>{CAMERA}</rdf:li><rdf:li>{TRAINED}</rdf:li>"
        f"</rdf:Bag></e:DigitalSourceType>{BESIDE}"
    ),
    "one that tricks": node(
        f'<e:DigitalSourceType q="/>" xml:lang="en"><!-- </e:DigitalSourceType> -->{CAMERA}'
        f"</e:DigitalSourceType>{BESIDE}"
    ),
}


@pytest.mark.parametrize("packet", REPLACED.values(), ids=REPLACED)
def test_a_value_that_does_not_stand_goes_in_every_form_and_all_else_stays(packet: bytes) -> None:
    merged = xmp.merge(packet, WANTED)

    beside = {fact for fact in said(packet) if "DigitalSourceType" not in fact[1]}
    assert beside
    assert said(merged) == beside | ours()
    assert CAMERA.encode() not in merged
    assert xmp.merge(merged, WANTED) is merged


def test_a_true_value_beside_an_untrue_one_is_kept_alone() -> None:
    packet = node(
        f"<e:DigitalSourceType>{TRAINED}</e:DigitalSourceType>", f'e:DigitalSourceType="{CAMERA}"'
    )

    merged = xmp.merge(packet, {TYPE: TRAINED})

    assert taken_out(packet, merged) == f' e:DigitalSourceType="{CAMERA}"'.encode()


def test_a_text_that_is_there_already_is_kept() -> None:
    packet = xmp.merge(PACKET, {TOOL: "Another tool"})

    assert xmp.merge(packet, WANTED).count(b"CreatorTool>") == 2
    assert xmp.read(xmp.merge(packet, WANTED), [TOOL])[TOOL] == ["Another tool"]


REFUSED = {
    "nothing": b"",
    "no XML": b"plain text",
    "no RDF": b'<x:xmpmeta xmlns:x="adobe:ns:meta/"/>',
    "two RDF": f'<x xmlns:r="{RDF}"><r:RDF/><r:RDF/></x>'.encode(),
    "not closed": PACKET.replace(b"</rdf:RDF>", b""),
    "cut": PACKET[:250],
    "bytes after the end": PACKET + b"more",
    "a prefix that is not declared": rdf('<rdf:Description a:b="c"/>'),
    "an attribute twice": rdf('<rdf:Description rdf:about="" rdf:about=""/>'),
    "UTF-16 with a mark": PACKET.decode().encode("utf-16"),
    "UTF-16 without a mark": PACKET.decode().replace("\ufeff", "").encode("utf-16-be"),
    "a UTF-16 mark alone": b"\xff\xfe" + PACKET,
    "Latin-1 that says so": b'<?xml version="1.0" encoding="ISO-8859-1"?>' + rdf(""),
    "Latin-1": rdf("<a>ö</a>").decode().encode("latin-1"),
    "a DOCTYPE": b"<!DOCTYPE x>" + rdf(""),
    "an entity": b'<!DOCTYPE x [<!ENTITY e "t">]>' + rdf("<rdf:Description>&e;</rdf:Description>"),
    "an unknown entity": rdf("<rdf:Description>&e;</rdf:Description>"),
    "more than is read": PACKET + b" " * xmp.MAX_BYTES,
}  # fmt: skip


@pytest.mark.parametrize("packet", REFUSED.values(), ids=REFUSED)
def test_a_packet_that_cannot_be_read_is_a_value_error(packet: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        xmp.read(packet, [TYPE])
    with pytest.raises(ValueError, match=r"\w"):
        xmp.merge(packet, WANTED)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_a_packet_in_a_wider_encoding_is_refused_for_that(encoding: str) -> None:
    with pytest.raises(ValueError, match="another encoding"):
        xmp.merge(PACKET.decode().encode(encoding), WANTED)
