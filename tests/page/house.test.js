// Rules of the page that a program can check by reading its files.
import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import test from "node:test";
import { gzipSync } from "node:zlib";

const folder = new URL("../../roles/realm/web/", import.meta.url);
const files = readdirSync(folder);
const text = (name) => readFileSync(new URL(name, folder), "utf8");
const modules = files.filter((name) => name.endsWith(".js"));

test("what others write never becomes markup or code", () => {
  for (const name of modules) {
    for (const bad of ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "createContextualFragment", "eval(", "new Function", "srcdoc"]) {
      assert.ok(!text(name).includes(bad), `${name}: ${bad}`);
    }
    assert.ok(!/setAttribute\("style"|style: ["`]/u.test(text(name)), `${name}: a style that the policy of the page refuses`);
  }
});

test("nothing inline, nothing from elsewhere", () => {
  const page = text("index.html");
  assert.ok(!/<script(?![^>]*\bsrc=)/u.test(page) && !/<style|\son\w+=|\sstyle=/u.test(page));
  for (const name of files.filter((one) => /\.(html|css|js|webmanifest)$/u.test(one))) {
    const addresses = text(name).match(/(?:src|href)="[^"]*"|url\([^)]*\)|from "[^"]*"/gu) ?? [];
    for (const address of addresses) assert.ok(!/https?:|\/\//u.test(address), `${name}: ${address}`);
  }
});

test("every file that is named is there, and every module is named in the page", () => {
  const page = text("index.html");
  for (const [, name] of page.matchAll(/(?:src|href)="([^"#]+)"/gu)) assert.ok(files.includes(name), name);
  for (const name of modules) {
    // What runs in the audio thread is loaded when somebody joins voice, and imports nothing.
    if (!name.endsWith("-worklet.js")) assert.ok(page.includes(`"${name}"`), `${name} is not preloaded`);
    else assert.ok(modules.some((other) => text(other).includes(`addModule("${name}")`)) && !text(name).includes("import "), name);
  }
  for (const name of modules) {
    for (const [, other] of text(name).matchAll(/from "\.\/([^"]+)"/gu)) assert.ok(files.includes(other), `${name} imports ${other}`);
  }
});

test("every import is used, and every export too", () => {
  const all = modules.map((name) => [name, text(name)]);
  const tests = new URL("./", import.meta.url);
  const tested = readdirSync(tests).map((name) => [`test ${name}`, readFileSync(new URL(name, tests), "utf8")]);
  for (const [name, source] of all) {
    for (const [, list] of source.matchAll(/import \{([^}]+)\} from/gu)) {
      for (const one of list.split(",").map((word) => word.trim()).filter(Boolean)) {
        assert.ok(source.split(new RegExp(`\\b${one}\\b`, "u")).length > 2, `${name} does not use ${one}`);
      }
    }
    for (const [, one] of source.matchAll(/export (?:async )?(?:function|const|class) (\w+)/gu)) {
      assert.ok([...all, ...tested].some(([other, words]) => other !== name && new RegExp(`\\b${one}\\b`, "u").test(words)), `nobody uses ${one} of ${name}`);
    }
  }
});

test("short files, and little to load", () => {
  let sum = 0;
  for (const name of files) {
    const lines = text(name).split("\n").length;
    assert.ok(lines <= 300, `${name}: ${lines} lines`);
    sum += gzipSync(readFileSync(new URL(name, folder)), { level: 9 }).length;
  }
  assert.ok(sum < 120_000, `${sum} bytes with gzip`);
});
