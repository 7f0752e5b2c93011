// The grammar of packets: every byte value, there and back.
import assert from "node:assert/strict";
import test from "node:test";
import * as wire from "../../roles/realm/web/wire.js";

const all = Uint8Array.from({ length: 256 }, (_, n) => n);
const text = (bytes) => new TextDecoder().decode(bytes);

test("every byte value goes there and back, alone and beside every other", () => {
  for (let a = 0; a < 256; a++) {
    for (let b = 0; b < 256; b++) {
      const data = Uint8Array.of(a, b);
      const packet = wire.encode("7", "WRITEFILE", data);
      assert.deepEqual(wire.decode(packet), { id: "7", command: "WRITEFILE", data });
    }
  }
  assert.deepEqual(wire.decode(wire.encode("-3", "X", all)).data, all);
});

test("what is on the wire has no bare end of line", () => {
  const body = wire.escape(all);
  body.forEach((byte, n) => {
    if (byte === 10 || byte === 13) assert.equal(body[n - 1], 0x7e);
  });
  assert.equal(text(wire.encode("1", "SENDMESSAGE", wire.join("bob", "a ~ b\nc"))), "1 SENDMESSAGE bob~\na ~~ b~\nc");
});

test("an end of line at the end of a frame is fine, an escaped one belongs to it", () => {
  const bytes = (words) => wire.bytesOf(words);
  for (const end of ["", "\n", "\r", "\r\n"]) assert.equal(text(wire.decode(bytes(`1 PING hi${end}`)).data), "hi");
  assert.equal(text(wire.decode(bytes("1 X hi~\n")).data), "hi\n");
  assert.equal(text(wire.decode(bytes("1 X hi~~\n")).data), "hi~");
  assert.equal(text(wire.decode(bytes("1 X hi~~~\n\n")).data), "hi~\n");
});

test("no packet is no packet", () => {
  for (const bad of ["", "1", " ", "1 ", " PING", "ä PING", "1 PI\nNG", "1 X a\nb", "1 X a~", `${"a".repeat(33)} PING`]) {
    assert.equal(wire.decode(wire.bytesOf(bad)), null, JSON.stringify(bad));
  }
  assert.deepEqual(wire.decode(wire.bytesOf("1 PING")).data.length, 0);
  assert.deepEqual(wire.decode(wire.bytesOf("1 PING ")).data.length, 0);
});

test("anything may be escaped", () => {
  assert.equal(text(wire.decode(wire.bytesOf("1 X ~a~b~ c")).data), "ab c");
});

test("the last field takes the rest", () => {
  const [sender, at, body] = wire.split(wire.bytesOf("alice\n5\nhi\nthere"), 3);
  assert.deepEqual([text(sender), text(at), text(body)], ["alice", "5", "hi\nthere"]);
  assert.equal(wire.split(wire.bytesOf("alice"), 2), null);
  assert.equal(text(wire.join("a", 5, wire.bytesOf("b"), "")), "a\n5\nb\n");
});

test("answers", () => {
  const of = (words) => wire.answer(wire.bytesOf(words));
  assert.equal(text(of("OK").data), "");
  assert.equal(text(of("OK ").data), "");
  assert.equal(text(of("OK a b").data), "a b");
  assert.deepEqual(of("FAIL BUSY not now"), { ok: false, code: "BUSY", text: "not now" });
  assert.deepEqual(of("FAIL BUSY"), { ok: false, code: "BUSY", text: "" });
  for (const none of ["", "OKAY", "FAIL", "no"]) assert.equal(of(none), null);
});

test("lists and pairs", () => {
  assert.deepEqual(wire.rows(new Uint8Array()), []);
  assert.deepEqual(wire.rows(wire.bytesOf("a|1||\nb|2||x")), [["a", "1", "", ""], ["b", "2", "", "x"]]);
  assert.equal(wire.pairs(wire.bytesOf("type|file\npermissions|alice rwa|bob r")).get("permissions"), "alice rwa|bob r");
});
