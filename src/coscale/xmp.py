"""XMP, the metadata that every image format has a place for: the note of an LR file, and what a photo says itself.

    <x:xmpmeta> <rdf:RDF> <rdf:Description coscale:channels="1"> <coscale:note>{JSON}</coscale:note>

Other tools write such a packet anew when they change their own part of it: a property may then be an attribute of the
description or an element in it, and prefixes and order are others. Nothing but the namespace and the names counts.
Source: XMP specification part 1 (ISO 16684-1), section 7.

A photo's own properties (title, keywords, author, edits) go into the packet of its LR file beside the note, and from
there into the restored photo. What describes the pixels of the file that they come from is left out, as ``metadata``
does with EXIF data; so is what points at other images in that file, which are not carried: gain maps, depth maps,
videos. Where a gain map is carried after all, it is told of anew.
"""

from base64 import b64decode, b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.parsers import expat
from xml.sax.saxutils import escape, quoteattr

NOTE = "coscale"  # the key of the note among an image's texts, and in a PNG
CHUNK = "XML:com.adobe.xmp"  # the key of the packet among the texts of a PNG
NAMESPACE = "urn:coscale:ns:1.0/"
_RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
_META = "adobe:ns:meta/"
_DESCRIPTION = f"{_RDF} Description"  # as expat names it with a space between namespace and name
_COLOURS = 3  # channels of an image that has no more to say of them
_CHANNELS = {"1": 1, "2": 2, "4": 4}
_MOST = 2**20  # characters of a packet that can have a note: that is longer than any note
_MOST_CARRIED = 2**18  # bytes of a photo's own packet
_DEEPEST = 100  # elements inside each other; what people write has some ten
MOST_IN_JPEG = 65_533 - len(b"http://ns.adobe.com/xap/1.0/\0")  # bytes: a segment's
_BEGIN, _END = f'<x:xmpmeta xmlns:x="{_META}"><rdf:RDF xmlns:rdf="{_RDF}"', "</rdf:RDF></x:xmpmeta>"
_ADOBE, _GOOGLE = "http://ns.adobe.com/", "http://ns.google.com/photos/1.0/"
DC, PHOTOSHOP = "http://purl.org/dc/elements/1.1/", f"{_ADOBE}photoshop/1.0/"
# What is left out of a photo's packet: these properties, and all of these namespaces.
_OF_PIXELS = {
    f"{namespace} {name}"
    for namespace, names in {
        f"{_ADOBE}tiff/1.0/": "Orientation ImageWidth ImageLength BitsPerSample Compression PhotometricInterpretation "
        "SamplesPerPixel PlanarConfiguration YCbCrSubSampling YCbCrPositioning YCbCrCoefficients WhitePoint "
        "PrimaryChromaticities TransferFunction ReferenceBlackWhite NativeDigest",
        f"{_ADOBE}exif/1.0/": "PixelXDimension PixelYDimension ColorSpace ComponentsConfiguration "
        "CompressedBitsPerPixel NativeDigest",
        f"{_ADOBE}xap/1.0/": "Thumbnails",
        DC: "format",
        PHOTOSHOP: "ColorMode ICCProfile LegacyIPTCDigest",
        f"{_ADOBE}xmp/note/": "HasExtendedXMP",
        f"{_GOOGLE}camera/": "MotionPhoto MotionPhotoVersion MotionPhotoPresentationTimestampUs MicroVideo "
        "MicroVideoVersion MicroVideoOffset MicroVideoPresentationTimestampUs",
    }.items()
    for name in names.split()
}
_OF_OTHER_IMAGES = {
    *(f"{_ADOBE}hdr-gain-map/1.0/", "http://ns.apple.com/HDRGainMap/1.0/", "http://ns.apple.com/pixeldatainfo/1.0/"),
    *(f"{_GOOGLE}{kind}/" for kind in ("container", "container/item", "depthmap", "image", "audio")),
}
_PREFIXES = {_RDF: "rdf", _META: "x", "http://www.w3.org/XML/1998/namespace": "xml"}
# Places in the picture, which are others once it is turned upright.
_PLACES = {
    "http://www.metadataworkinggroup.com/schemas/regions/ Regions",
    "http://ns.microsoft.com/photo/1.2/ RegionInfo",
}


@dataclass(frozen=True)
class Told:
    """What a packet tells of an LR image: its ``note``, empty where that is damaged; and how many ``channels`` it has.

    Formats without grey store three channels for one, and some leave out an alpha that is opaque everywhere. ``iptc``
    are the photo's IPTC data, and ``gain_map`` is its gain map, for which the formats of LR files have no place.
    """

    note: str | None = None
    channels: int = _COLOURS
    iptc: bytes = b""
    gain_map: bytes = b""


@dataclass(frozen=True)
class Property:
    """A property of one or several texts, and the kind of list that they are."""

    namespace: str
    prefix: str
    name: str
    kind: Literal["text", "Alt", "Bag", "Seq"]
    values: tuple[str, ...]

    def to_xml(self, name: str) -> str:
        """Give its element, of the ``name`` that it has where it goes."""
        values = map(escape, self.values)
        if self.kind == "text":
            body = next(values)
        else:
            language = ' xml:lang="x-default"' if self.kind == "Alt" else ""
            items = "".join(f"<rdf:li{language}>{value}</rdf:li>" for value in values)
            body = f"<rdf:{self.kind}>{items}</rdf:{self.kind}>"
        return f"<{name}>{body}</{name}>"


def packet(note: str | None, channels: int = _COLOURS, own: str = "", iptc: bytes = b"", gain_map: bytes = b"") -> str:
    """Give the packet of an LR image.

    Arguments:
        note: the note, where it has one.
        channels: how many it has.
        own: the photo's own packet, as ``carried`` gives it.
        iptc, gain_map: what else goes along with the photo.
    """
    kept = "" if note is None else f"<coscale:note>{escape(note)}</coscale:note>"
    data = {"iptc": iptc, "gainmap": gain_map}
    kept += "".join(f"<coscale:{k}>{b64encode(v).decode()}</coscale:{k}>" for k, v in data.items() if v)
    more = "" if channels == _COLOURS else f' coscale:channels="{channels}"'
    return joined(own, f'<rdf:Description rdf:about="" xmlns:coscale="{NAMESPACE}"{more}>{kept}</rdf:Description>')


def joined(packet: str, description: str) -> str:
    """Give a packet that is ours, empty for none, with one description more."""
    return f"{packet.removesuffix(_END) or f'{_BEGIN}>'}{description}{_END}"


def carried(packet: bytes, turned: bool = False, more: Sequence[Property] = ()) -> str:
    """Give the properties that go along with a photo, as a packet; empty where there are none.

    Arguments:
        packet: that of its file, empty for none.
        turned: whether the photo is not as it lies in its file.
        more: properties that it gets where it has none of the name.

    Raises ValueError, with the reason, for a packet that is damaged or has more than 256 KiB.
    """
    packet = packet.strip(b"\0 \r\n\t")
    if len(packet) > _MOST_CARRIED:
        raise ValueError(f"have more than {_MOST_CARRIED >> 10} KiB")
    copy = _Copy(_OF_PIXELS | _PLACES if turned else _OF_PIXELS)
    try:
        if packet:
            copy.parse(packet)
    except (expat.ExpatError, ValueError) as error:
        raise ValueError("are damaged") from error
    lacking = (one for one in more if f"{one.namespace} {one.name}" not in copy.names)
    added = "".join(one.to_xml(copy.written(f"{one.namespace} {one.name} {one.prefix}")) for one in lacking)
    if added:
        copy.descriptions.append(f'<rdf:Description rdf:about="">{added}</rdf:Description>')
    if not copy.descriptions:
        return ""
    spaces = "".join(f" xmlns:{prefix}={quoteattr(space)}" for space, prefix in copy.prefixes.items())
    return f"{_BEGIN}{spaces}>{''.join(copy.descriptions)}{_END}"


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
    channels = _CHANNELS.get(found.properties.get("channels", ""), _COLOURS)
    return Told(found.properties.get("note"), channels, found.decoded("iptc"), found.decoded("gainmap"))


def _refuse(*_: object) -> None:
    raise ValueError("it has a document type, which no packet needs")


class _Found:
    """Our properties in a packet, read without a tree: however deep or wide it is, no more is kept than they."""

    def __init__(self) -> None:
        self.properties: dict[str, str] = {}
        self._path: list[str] = []
        self._text: list[str] | None = None

    def parse(self, packet: str) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(packet.encode(errors="replace"), True)

    def decoded(self, name: str) -> bytes:
        """Give what a property has in base64, empty where that is damaged."""
        try:
            return b64decode(self.properties.get(name, ""))
        except ValueError:
            return b""

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


class _Copy:
    """A packet written anew while it is parsed, without what is left out, and with every namespace declared once."""

    def __init__(self, left_out: set[str]) -> None:
        self.names: set[str] = set()  # of the properties that are kept
        self.descriptions: list[str] = []  # those that have any
        self.prefixes: dict[str, str] = {}  # of namespaces
        self._taken = set(_PREFIXES.values())
        self._left_out = left_out
        self._names: set[str] = set()  # as above, of the description that is being read
        self._path: list[str] = []
        self._parts: list[str] = []  # of the description that is being read
        self._text = ""
        self._open = False  # whether the last of the parts is a tag whose element has had nothing in it yet
        self._dropping = 0  # how deep inside of what is left out
        self._inside = 0  # how deep inside of a description

    def parse(self, packet: bytes) -> None:
        parser = expat.ParserCreate(namespace_separator=" ")
        parser.namespace_prefixes = True
        parser.buffer_text = True
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.Parse(packet, True)

    def written(self, name: str) -> str:
        """Give a name of expat's as it is written here, under the prefix that its namespace has."""
        if " " not in name:
            return name
        space, local, *prefix = name.split(" ")
        if space in _PREFIXES:
            return f"{_PREFIXES[space]}:{local}"
        if space not in self.prefixes:
            usable = prefix and prefix[0] not in self._taken and not prefix[0].startswith("ns")
            self.prefixes[space] = prefix[0] if usable else f"ns{len(self.prefixes)}"
            self._taken.add(self.prefixes[space])
        return f"{self.prefixes[space]}:{local}"

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        known, parent = _known(name), self._path[-1] if self._path else ""
        self._path.append(known)
        if len(self._path) > _DEEPEST:
            raise ValueError("its elements are too deep inside each other")
        if self._dropping or self._drops(known):
            self._dropping += 1
            return
        if not self._inside and (known, parent) != (_DESCRIPTION, f"{_RDF} RDF"):
            return
        self._inside += 1
        kept = {key: value for key, value in attributes.items() if not self._drops(_known(key))}
        if self._inside <= 2:
            found = {known} if self._inside == 2 else {_known(key) for key in kept}
            self._names |= {name for name in found if " " in name and not name.startswith(_RDF)}
        self._text = ""  # between tags there is but white space
        written = "".join(f" {self.written(key)}={quoteattr(value)}" for key, value in kept.items())
        self._parts.append(f"<{self.written(name)}{written}>")
        self._open = True

    def _characters(self, text: str) -> None:
        if self._inside and not self._dropping:
            self._text += text

    def _end(self, name: str) -> None:
        self._path.pop()
        if self._dropping:
            self._dropping -= 1
            return
        if not self._inside:
            return
        if self._open:
            self._parts.append(escape(self._text))
        self._parts.append(f"</{self.written(name)}>")
        self._text, self._open = "", False
        self._inside -= 1
        if not self._inside:
            self.descriptions += ["".join(self._parts)] if self._names else []
            self.names |= self._names
            self._parts, self._names = [], set()

    def _drops(self, known: str) -> bool:
        space = known.rpartition(" ")[0]
        return space == NAMESPACE or space in _OF_OTHER_IMAGES or known in self._left_out


def _known(name: str) -> str:
    """A name of expat's without the prefix that it has in the file."""
    return " ".join(name.split(" ")[:2])
