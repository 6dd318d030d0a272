// The note in an XMP packet, read as coscale reads it.

const NAMESPACE = "urn:coscale:ns:1.0/";
const RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#";
const MOST = 2 ** 20; // characters of a packet that can have a note
const COLOURS = 3; // channels of an image that has no more to say of them
const DAMAGED = { note: "", told: COLOURS };

/** What a packet tells of an LR image: its note, null for none and empty for one that is damaged, and how many channels. */
export function told(packet) {
  if (packet === "") return DAMAGED;
  const text = packet?.replace(/^[\0\ufeff\s]+|[\0\s]+$/g, "") ?? "";
  if (!text.includes(NAMESPACE)) return { note: null, told: COLOURS };
  if (text.length > MOST || text.includes("<!DOCTYPE")) return DAMAGED; // which could expand without end
  const document = new DOMParser().parseFromString(text, "application/xml");
  if (document.querySelector("parsererror")) return DAMAGED;
  const found = {};
  for (const description of document.getElementsByTagNameNS(RDF, "Description")) {
    const parts = [...description.attributes, ...description.children].filter((one) => one.namespaceURI === NAMESPACE);
    for (const one of parts) if (!one.children?.length) found[one.localName] = one.value ?? one.textContent;
  }
  return { note: found.note ?? null, told: ["1", "2", "4"].includes(found.channels) ? Number(found.channels) : COLOURS };
}
