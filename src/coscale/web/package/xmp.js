// The note in an XMP packet, read as coscale reads it.

const NAMESPACE = "urn:coscale:ns:1.0/";
const RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
export const MOST = 2 ** 20; // characters of a packet that can have a note
const BLANK = "\0\ufeff \r\n\t"; // what may stand around a packet
const COLOURS = 3; // channels of an image that has no more to say of them
const DAMAGED = { note: "", channels: COLOURS };

/** What a packet tells of an LR image: its note, null for none and empty for one that is damaged, and how many channels. */
export function readPacket(packet) {
  if (packet === "") return DAMAGED;
  if (!packet?.includes(NAMESPACE)) return { note: null, channels: COLOURS };
  const text = trimmed(packet);
  if (text.length > MOST || text.includes("<!DOCTYPE")) return DAMAGED; // which could expand without end
  const document = new DOMParser().parseFromString(text, "application/xml");
  if (document.querySelector("parsererror")) return DAMAGED;
  const found = {};
  for (const description of document.getElementsByTagNameNS(RDF, "Description")) {
    const parts = [...description.attributes, ...description.children].filter((one) => one.namespaceURI === NAMESPACE);
    for (const one of parts) if (!one.children?.length) found[one.localName] = one.value ?? one.textContent;
  }
  const channels = ["1", "2", "4"].includes(found.channels) ? Number(found.channels) : COLOURS;
  return { note: found.note ?? null, channels };
}

/** A text without what is blank around it: each character is looked at once, whatever the text. */
function trimmed(text) {
  let [start, end] = [0, text.length];
  while (start < end && BLANK.includes(text[start])) start++;
  while (end > start && BLANK.includes(text[end - 1])) end--;
  return text.slice(start, end);
}
