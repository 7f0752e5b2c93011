// Addresses in a text that somebody else wrote. Pure: it finds them, and says which are safe to follow.

// http and https alone; no other scheme is ever made a link.
const ADDRESS = /\bhttps?:\/\/[^\s<>"'`\u0000-\u0020\u007f-\u00a0\u2028-\u202e\u2066-\u2069]+/giu;
const CLOSERS = { ")": "(", "]": "[", "}": "{" };

/** The text as parts `{ text }` and `{ text, href }`, in order; all texts together are the text. */
export function parts(text) {
  const found = [];
  let from = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const shown = trimmed(match[0]);
    const href = safe(shown);
    if (href === "") continue;
    if (match.index > from) found.push({ text: text.slice(from, match.index) });
    found.push({ text: shown, href });
    from = match.index + shown.length;
  }
  if (from < text.length) found.push({ text: text.slice(from) });
  return found;
}

/** Without the punctuation of the sentence around it. */
function trimmed(address) {
  let end = address.length;
  while (end > 0) {
    const last = address[end - 1];
    const opener = CLOSERS[last];
    if (opener && countOf(address.slice(0, end), last) <= countOf(address.slice(0, end), opener)) break;
    if (!opener && !/[.,;:!?*_~…]/u.test(last)) break;
    end--;
  }
  return address.slice(0, end);
}

const countOf = (text, character) => text.split(character).length - 1;

/** What a link to it may point to; empty when it is no address, or one that shows another host than it has. */
function safe(address) {
  try {
    const url = new URL(address);
    if ((url.protocol !== "http:" && url.protocol !== "https:") || url.hostname === "") return "";
    // `https://bank.example@evil.example` reads like the bank.
    return url.username === "" && url.password === "" ? url.href : "";
  } catch {
    return "";
  }
}
