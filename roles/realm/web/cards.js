// A message that tells of a file: a line for people, and a line that a page makes a card of. Pure.
//
//   plan.pdf (1.2 MB)
//   convergia-file:/users/alice/sent/bob/plan.pdf?size=1234567
//
// Each segment of the path is percent-encoded, so that the second line has no spaces.

import { bytes } from "./format.js";
import { lastOf, segments } from "./names.js";

const LINE = /^convergia-file:(\/[^\s?]+)\?size=(\d{1,15})$/u;

/** The text of such a message. */
export function cardText(path, size) {
  const coded = segments(path).map(encodeURIComponent).join("/");
  return `${lastOf(path)} (${bytes(size, "en")})\nconvergia-file:/${coded}?size=${size}`;
}

/** `{ path, name, size }` when a text is such a message, else null. */
export function cardOf(text) {
  const lines = text.split("\n");
  const match = lines.length === 2 && LINE.exec(lines[1]);
  if (!match) return null;
  try {
    const path = "/" + match[1].split("/").filter(Boolean).map(decodeURIComponent).join("/");
    const parts = segments(path);
    const good = parts.length > 2 && (parts[0] === "users" || parts[0] === "workspaces") && !/[\n\r]/u.test(path);
    return good ? { path, name: lastOf(path), size: Number(match[2]) } : null;
  } catch {
    return null;
  }
}

/** One line for a list of conversations. */
export function summary(text) {
  const card = cardOf(text);
  return card ? `File: ${card.name}` : text.replace(/\s+/gu, " ").trim();
}

/** What a change of a workspace says that the server posts when a file inside changes; null for what people write. */
export function fileChange(text) {
  const [word, what, path, target] = text.split("\n");
  if (word !== "file" || path === undefined || !path.startsWith("/workspaces/")) return null;
  const name = lastOf(path);
  switch (what) {
    case "created": return { path, words: `added ${name}` };
    case "written": return { path, words: `changed ${name}` };
    case "truncated": return { path, words: `shortened ${name}` };
    case "deleted": return { path, words: `deleted ${name}` };
    case "moved": return target ? { path: target, words: moveWords(path, target) } : null;
    default: return null;
  }
}

function moveWords(from, to) {
  const sameFolder = segments(from).slice(0, -1).join("/") === segments(to).slice(0, -1).join("/");
  return sameFolder ? `renamed ${lastOf(from)} to ${lastOf(to)}` : `moved ${lastOf(from)} to ${segments(to).slice(2).join("/")}`;
}
