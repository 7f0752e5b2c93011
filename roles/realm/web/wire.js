// The grammar of packets (docs/protocol.md, section 1): bytes to packets and back. Pure.

const TILDE = 0x7e;
const LF = 0x0a;
const CR = 0x0d;
const SPACE = 0x20;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** A field as bytes: text is UTF-8, numbers are decimal, bytes are taken as they are. */
export function bytesOf(field) {
  return field instanceof Uint8Array ? field : encoder.encode(String(field));
}

/** Bytes as text; what is no UTF-8 becomes U+FFFD. */
export function textOf(bytes) {
  return decoder.decode(bytes);
}

/** The fields of a command as its DATA: an LF between them. */
export function join(...fields) {
  const parts = fields.map(bytesOf);
  const size = parts.reduce((sum, part) => sum + part.length + 1, -1);
  const data = new Uint8Array(Math.max(size, 0));
  let at = 0;
  parts.forEach((part, n) => {
    if (n > 0) data[at++] = LF;
    data.set(part, at);
    at += part.length;
  });
  return data;
}

/** DATA as `count` fields; the last one takes the rest. Null when there are fewer. */
export function split(data, count) {
  const fields = [];
  let from = 0;
  while (fields.length < count - 1) {
    const end = data.indexOf(LF, from);
    if (end < 0) return null;
    fields.push(data.subarray(from, end));
    from = end + 1;
  }
  fields.push(data.subarray(from));
  return fields;
}

/** A list: lines of `|`-separated columns. An empty list is empty DATA. */
export function rows(data) {
  const text = textOf(data);
  return text === "" ? [] : text.split("\n").map((line) => line.split("|"));
}

/** Lines `key|value` as a map; a value may have `|` in it. */
export function pairs(data) {
  const found = new Map();
  for (const [key, ...value] of rows(data)) found.set(key, value.join("|"));
  return found;
}

const special = (byte) => byte === TILDE || byte === LF || byte === CR;

/** DATA as it stands on the wire. */
export function escape(data) {
  let extra = 0;
  for (let n = 0; n < data.length; n++) if (special(data[n])) extra++;
  if (extra === 0) return data;
  const out = new Uint8Array(data.length + extra);
  let at = 0;
  for (let n = 0; n < data.length; n++) {
    if (special(data[n])) out[at++] = TILDE;
    out[at++] = data[n];
  }
  return out;
}

/** What stands on the wire as DATA. Null when there is a bare end of line in it, or a `~` with nothing behind it. */
function unescape(wire) {
  if (wire.indexOf(TILDE) < 0 && wire.indexOf(LF) < 0 && wire.indexOf(CR) < 0) return wire;
  const out = new Uint8Array(wire.length);
  let length = 0;
  for (let n = 0; n < wire.length; n++) {
    let byte = wire[n];
    if (byte === TILDE) {
      if (++n === wire.length) return null;
      byte = wire[n];
    } else if (byte === LF || byte === CR) {
      return null;
    }
    out[length++] = byte;
  }
  return out.subarray(0, length);
}

/** One packet, without its end of line: what one frame of the web socket holds. */
export function encode(id, command, data = new Uint8Array()) {
  const head = encoder.encode(data.length > 0 ? `${id} ${command} ` : `${id} ${command}`);
  const body = escape(data);
  const packet = new Uint8Array(head.length + body.length);
  packet.set(head);
  packet.set(body, head.length);
  return packet;
}

const ID = /^[A-Za-z0-9_.-]{1,32}$/;
const COMMAND = /^[A-Za-z0-9_.-]+$/;

/** A frame as `{ id, command, data }`; one end of line at its end is fine. Null when it is no packet. */
export function decode(frame) {
  const bytes = withoutEnd(frame);
  const idEnd = bytes.indexOf(SPACE);
  if (idEnd < 0 || idEnd > 32) return null;
  const commandEnd = bytes.indexOf(SPACE, idEnd + 1);
  const id = textOf(bytes.subarray(0, idEnd));
  const command = textOf(bytes.subarray(idEnd + 1, commandEnd < 0 ? bytes.length : commandEnd));
  if (!ID.test(id) || !COMMAND.test(command)) return null;
  const data = commandEnd < 0 ? new Uint8Array() : unescape(bytes.subarray(commandEnd + 1));
  return data && { id, command, data };
}

/** The frame without an LF, CR or CR LF that ends it; an escaped one does not. */
function withoutEnd(frame) {
  let end = frame.length;
  while (end > 0 && (frame[end - 1] === LF || frame[end - 1] === CR)) {
    let tildes = 0;
    while (end - 2 - tildes >= 0 && frame[end - 2 - tildes] === TILDE) tildes++;
    if (tildes % 2 === 1) break;
    end--;
  }
  return frame.subarray(0, end);
}

/** The DATA of an answer: `{ ok: true, data }` or `{ ok: false, code, text }`. Null when it is none. */
export function answer(data) {
  const head = textOf(data.subarray(0, 5));
  if (head === "OK" || head.startsWith("OK ")) return { ok: true, data: data.subarray(Math.min(3, data.length)) };
  if (!head.startsWith("FAIL ")) return null;
  const words = textOf(data.subarray(5));
  const end = words.indexOf(" ");
  return end < 0 ? { ok: false, code: words, text: "" } : { ok: false, code: words.slice(0, end), text: words.slice(end + 1) };
}
