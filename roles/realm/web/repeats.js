// A server gives again what was not proven read when a connection broke (docs/protocol.md, RECEIVEMESSAGE). What is the
// same byte for byte is the same message, as often as it came on an earlier connection. So each message has a key: a
// hash of its bytes, and the how-manieth of its kind it is on this connection. A key that the history has is a repeat.
// Pure.

// More than a server keeps unproven.
const REMEMBERED = 100_000;

/** A hash of bytes, 64 bits in hexadecimal: two lanes of FNV-1a with different beginnings, stirred at the end. */
export function hash(bytes) {
  let a = 0x811c9dc5;
  let b = 0x9747b28c ^ bytes.length;
  for (let n = 0; n < bytes.length; n++) {
    a = Math.imul(a ^ bytes[n], 0x01000193);
    b = Math.imul(b ^ bytes[n], 0x5bd1e995);
    b ^= b >>> 15;
  }
  return stirred(a) + stirred(b);
}

function stirred(lane) {
  let z = lane;
  z = Math.imul(z ^ (z >>> 16), 0x85ebca6b);
  z = Math.imul(z ^ (z >>> 13), 0xc2b2ae35);
  return ((z ^ (z >>> 16)) >>> 0).toString(16).padStart(8, "0");
}

/** Counts what came on one connection. */
export class Counter {
  #seen = new Map();

  /** What comes from now on comes on another connection. */
  newConnection() {
    this.#seen.clear();
  }

  /** The key of a message: the same for each repeat of it, another for one that is only alike. */
  keyOf(sender, sentAt, body) {
    const what = `${sender}|${sentAt}|${hash(body)}`;
    const count = (this.#seen.get(what) ?? 0) + 1;
    this.#seen.delete(what);
    this.#seen.set(what, count);
    if (this.#seen.size > REMEMBERED) this.#seen.delete(this.#seen.keys().next().value);
    return `m|${what}|${count}`;
  }
}
