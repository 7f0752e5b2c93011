// One datagram's data in a voice channel (docs/voice.md): eight bytes of head, and a packet of Opus. Pure.

const HEAD = 8;
/** An Opus packet is so long at most: with its head, it fits in a datagram of a signed channel. */
export const LONGEST = 472;

/** A frame as bytes. `timestamp` counts samples at 48 kHz; it and `sequence` begin anew behind their largest values. */
export function write(sequence, timestamp, opus) {
  const bytes = new Uint8Array(HEAD + opus.length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, opus.length, true);
  view.setUint16(2, sequence & 0xffff, true);
  view.setUint32(4, timestamp >>> 0, true);
  bytes.set(opus, HEAD);
  return bytes;
}

/** Bytes as `{ sequence, timestamp, opus }`; what is behind the packet is padding. Null: another program's format. */
export function read(bytes) {
  if (bytes.length <= HEAD) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint16(0, true);
  if (length === 0 || length > LONGEST + 24 || HEAD + length > bytes.length) return null;
  return { sequence: view.getUint16(2, true), timestamp: view.getUint32(4, true), opus: bytes.slice(HEAD, HEAD + length) };
}
