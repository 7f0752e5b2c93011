// Names, formats, links, cards, repeats.
import assert from "node:assert/strict";
import test from "node:test";
import * as cards from "../../roles/realm/web/cards.js";
import * as format from "../../roles/realm/web/format.js";
import { parts } from "../../roles/realm/web/linkify.js";
import * as names from "../../roles/realm/web/names.js";
import { Counter } from "../../roles/realm/web/repeats.js";

const bytes = (text) => new TextEncoder().encode(text);

test("as often as before is a repeat, once more is not", () => {
  const known = new Set();
  const counter = new Counter();
  const isNew = (body, at = "1") => {
    const key = counter.keyOf("alice", at, bytes(body));
    const fresh = !known.has(key);
    known.add(key);
    return fresh;
  };
  // Alike to the millisecond and the byte, and still two.
  assert.ok(isNew("hi") && isNew("hi"));
  counter.newConnection();
  assert.ok(!isNew("hi"));
  assert.ok(isNew("hi", "2") && isNew("ho"));
  assert.ok(!isNew("hi"));
  assert.ok(isNew("hi"), "one more than ever came on one connection");
});

test("one bit makes another key", () => {
  const seen = new Set();
  for (let n = 0; n < 4096; n++) {
    const counter = new Counter();
    seen.add(counter.keyOf("a", "1", Uint8Array.of(n & 255, n >> 8, 0)));
  }
  assert.equal(seen.size, 4096);
});

test("links are http and https, and nothing else", () => {
  const links = (text) => parts(text).filter((part) => part.href).map((part) => part.text);
  assert.deepEqual(links("see https://a.example/b?c=d#e, or (http://x.example/y_(z))."), ["https://a.example/b?c=d#e", "http://x.example/y_(z)"]);
  for (const bad of ["javascript:alert(1)", "data:text/html,x", "file:///etc", "xhttps://a.example", "https://", "https://bank.example@evil.example/", "ftp://a.example"]) {
    assert.deepEqual(links(bad), [], bad);
  }
  assert.deepEqual(links('<img src="https://a.example/x">'), ["https://a.example/x"]);
  assert.deepEqual(links("https://a.example/\u202egpj"), ["https://a.example/"]);
  for (const text of ["", "a", "https://a.example. https://b.example!", "x https://a.example/ y"]) {
    assert.equal(parts(text).map((part) => part.text).join(""), text);
  }
});

test("names", () => {
  assert.equal(names.wrongWith("plan.pdf"), "");
  for (const bad of ["", ".", "..", "a/b", "a|b", "a:b", "a\nb", "a\u202eb", "x".repeat(65), "ä".repeat(33)]) assert.notEqual(names.wrongWith(bad), "", bad);
  assert.notEqual(names.wrongWithUser("a b"), "");
  assert.equal(names.fold("Straße"), names.fold("STRASSE"));
  assert.equal(names.fold("ΣΑΣ"), names.fold("σας"));
  assert.notEqual(names.fold("alice"), names.fold("bob"));
});

test("names of local files become names", () => {
  for (const local of ["plan.pdf", "a/b:c|d.txt", "..", "", "ä".repeat(80) + ".tar.gz", "x".repeat(300), ".hidden", "e\u0301.txt"]) {
    const name = names.fileName(local);
    assert.equal(names.wrongWith(name), "", JSON.stringify(local));
    assert.equal(name, name.normalize("NFC"));
  }
  assert.ok(names.fileName("ä".repeat(80) + ".gz").endsWith(".gz"));
  assert.equal(names.freeName("a.txt", new Set(["a.txt", "a (2).txt"])), "a (3).txt");
  assert.equal(names.wrongWith(names.freeName("x".repeat(64), new Set(["x".repeat(64)]))), "");
});

test("paths", () => {
  assert.equal(names.lastOf("/users/alice/a b"), "a b");
  assert.equal(names.folderOf("/users/alice/a"), "/users/alice");
  assert.equal(names.folderOf("/users"), "/");
  assert.equal(names.inside("/", "users"), "/users");
});

test("a card goes there and back, and nothing else is one", () => {
  for (const name of ["plan.pdf", "a b?c#d%.txt", "ä&<x>\"'.png"]) {
    const path = `/users/alice/sent/bob/${name}`;
    assert.deepEqual(cards.cardOf(cards.cardText(path, 123)), { path, name, size: 123 });
  }
  for (const none of ["hi", "a\nconvergia-file:/etc/x/y?size=1", "a\nconvergia-file:/users/a?size=1", "a\nconvergia-file:/users/a/%ff?size=1", "a\nconvergia-file:/users/a/b?size=1\nmore", "a\nconvergia-file:/users/a/%0A?size=1"]) {
    assert.equal(cards.cardOf(none), null, none);
  }
});

test("changes of files in words", () => {
  assert.equal(cards.fileChange("file\nwritten\n/workspaces/team/plan.txt").words, "changed plan.txt");
  assert.equal(cards.fileChange("file\nmoved\n/workspaces/t/a\n/workspaces/t/b").words, "renamed a to b");
  assert.equal(cards.fileChange("file\nmoved\n/workspaces/t/a\n/workspaces/t/x/a").words, "moved a to x/a");
  for (const none of ["hello", "file", "file\nwritten", "file\nwritten\n/users/a/b", "file\nburnt\n/workspaces/t/a"]) assert.equal(cards.fileChange(none), null);
});

test("sizes and times", () => {
  const plain = (text) => text.replaceAll("\u00a0", " ");
  assert.equal(plain(format.bytes(0, "en")), "0 B");
  assert.equal(plain(format.bytes(999, "en")), "999 B");
  assert.equal(plain(format.bytes(1000, "en")), "1 kB");
  assert.equal(plain(format.bytes(999_960, "en")), "1 MB");
  assert.equal(plain(format.bytes(1_234_567, "en")), "1.2 MB");
  assert.equal(plain(format.bytes(123_456_789, "en")), "123 MB");
  assert.equal(plain(format.rate(2000, "en")), "2 kB/s");
  const noon = Date.parse("2026-03-03T12:00:00Z");
  const hour = 3_600_000;
  assert.equal(format.day(noon, noon + hour, "en", "UTC"), "Today");
  assert.equal(format.day(noon, noon + 13 * hour, "en", "UTC"), "Yesterday");
  assert.equal(format.day(noon, noon + 72 * hour, "en", "UTC"), "Tuesday");
  assert.equal(format.day(noon, noon + 720 * hour, "en", "UTC"), "March 3, 2026");
  assert.equal(format.day(noon + 48 * hour, noon, "en", "UTC"), "March 5, 2026", "a clock that is ahead");
  assert.equal(format.span(59_000), "59 s");
  assert.equal(format.span(3_900_000), "1 h 5 min");
  assert.equal(format.count(1, "file"), "1 file");
});
