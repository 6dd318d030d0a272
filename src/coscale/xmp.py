"""The note of an LR file as XMP: the metadata that every image format has a place for.

    <x:xmpmeta> <rdf:RDF> <rdf:Description coscale:channels="1"> <coscale:note>{JSON}</coscale:note>

Other tools write such a packet anew when they change their own part of it: a property may then be an attribute of the
description or an element in it, and prefixes and order are others. Nothing but the namespace and the names counts.
Source: XMP specification part 1 (ISO 16684-1), section 7.
"""

from dataclasses import dataclass
from xml.parsers import expat
from xml.sax.saxutils import escape

NOTE = "coscale"  # the key of the note among an image's texts, and in a PNG
CHUNK = "XML:com.adobe.xmp"  # the key of the packet among the texts of a PNG
NAMESPACE = "urn:coscale:ns:1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_META = "adobe:ns:meta/"
_DESCRIPTION = f"{_RDF} Description"  # as expat names it with a space between namespace and name
_COLOURS = 3  # channels of an image that has no more to say of them
_CHANNELS = {"1": 1, "2": 2, "4": 4}
_MOST = 2**20  # characters of a packet that can have a note: that is longer than any note


@dataclass(frozen=True)
class Told:
    """What a packet tells of an LR image: its ``note``, empty where that is damaged; and how many ``channels`` it has.

    Formats without grey store three channels for one, and some leave out an alpha that is opaque everywhere.
    """

    note: str | None = None
    channels: int = _COLOURS


def packet(note: str | None, channels: int = _COLOURS) -> str:
    """Give the packet for a note, or for an image without one."""
    kept = "" if note is None else f"<coscale:note>{escape(note)}</coscale:note>"
    more = "" if channels == _COLOURS else f' coscale:channels="{channels}"'
    return (
        f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{_RDF}">'
        f'<rdf:Description rdf:about="" xmlns:coscale="{NAMESPACE}"{more}>'
        f"{kept}</rdf:Description></rdf:RDF></x:xmpmeta>"
    )


def read(packet: str | bytes | None) -> Told:
    """Give what a packet tells; nothing where it is not ours.

    Entities are never expanded: what declares any is damaged.
    """
    if packet is None:
        return Told()
    if isinstance(packet, bytes):
        packet = packet.decode(errors="replace")
    packet = packet.strip("\0\ufeff \r\n\t")
    if NAMESPACE not in packet:
        return Told()
    found = _Found()
    try:
        if len(packet) > _MOST:
            raise ValueError
        found.parse(packet)
    except (expat.ExpatError, ValueError):
        return Told("")
    return Told(found.properties.get("note"), _CHANNELS.get(found.properties.get("channels", ""), _COLOURS))


class _Found:
    """Our properties in a packet, read without a tree: however deep or wide it is, no more is kept than they."""

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] | None = None

    def parse(self, packet: str) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(packet.encode(errors="replace"), True)

    def _refuse(self, *_: object) -> None:
        raise ValueError("it has a document type, which no packet needs")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        if name == _DESCRIPTION:
            for key, value in attributes.items():
                self._keep(key, value)
        is_ours = name.startswith(NAMESPACE) and self._path[-1:] == [_DESCRIPTION]
        self._text = [] if is_ours else None
        self._path.append(name)

    def _characters(self, text: str) -> None:
        if self._text is not None:
            self._text.append(text)

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._text is not None:
            self._keep(name, "".join(self._text))
            self._text = None

    def _keep(self, name: str, value: str) -> None:
        namespace, _, local = name.partition(" ")
        if namespace == NAMESPACE:
            self.properties[local] = value
