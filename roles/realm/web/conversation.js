// A conversation: what was said, and the place to write. The same for two people and for a workspace.

import { bubble, look } from "./bubble.js";
import { composer } from "./composer.js";
import { toast } from "./dialog.js";
import { button, el, empty, icon, keyed, soon } from "./dom.js";
import { words } from "./fail.js";
import { bytes, day, dayOf } from "./format.js";
import { canShow, preview, Thumbnails } from "./preview.js";
import { save } from "./transfers.js";

const PAGE = 60;
// So many are shown at most while new ones come in; earlier ones are a click away.
const SHOWN = 400;
// Messages of one person within this time stand together.
const TOGETHER = 5 * 60_000;

/** `header` is what stands above; `files(entries)` takes what was dropped or chosen. */
export function conversation({ account, talk, header, label, files, hint }) {
  const { talks, outbox, mail } = account;
  const shown = new Map();
  const thumbnails = new Thumbnails(account);
  const list = el("div", { class: "messages" });
  const older = el("button", { type: "button", class: "link older", text: "Earlier messages", hidden: true, onclick: () => earlier() });
  const nothing = empty("talks", "Nothing here yet", hint);
  nothing.hidden = true;
  const log = el("div", { class: "log", role: "log", "aria-label": label, "aria-live": "off", tabindex: "0" }, older, nothing, list);
  const down = el("button", { type: "button", class: "button down", hidden: true, "aria-label": "To the newest message", onclick: () => toEnd() }, icon("download"));
  const write = composer({ label: `Message to ${talk.name}`, send: (text) => outbox.send(talk, text), files });
  const node = el("section", { class: "conversation", "aria-label": label }, header, el("div", { class: "log-box" }, log, down), write.node);
  const ends = [];
  let messages = [];
  let more = false;
  let alive = true;

  const act = {
    card: (card) => fileCard(card),
    retry: (message) => outbox.retry(talk, message),
    settle: (message) => (message.state === "unsure" ? talks.put({ ...message, state: "left", why: "" }, talk) : talks.remove(message)),
    saveMail: (message) => mail.pieces(message.mail.id, message.mail.size).then((pieces) => save(new Blob(pieces), `message from ${message.from}.txt`)).catch((error) => toast(words(error), "wrong")),
    dropMail: (message) => mail.drop(message.mail.id).then(() => talks.remove(message)).catch((error) => toast(words(error), "wrong")),
  };

  function fileCard(card) {
    const look = canShow(card.name, card.size);
    const thumbnail = thumbnails.of(card);
    const get = () => account.transfers.download(card.path, card.size).catch((error) => toast(`${card.name}: ${words(error, { NOTFOUND: "it is not there any more.", DENIED: "it is not shared with you any more." })}`, "wrong"));
    const open = () => preview(account, card.path, card.size);
    return el("div", { class: "card", "data-path": card.path },
      thumbnail ? el("button", { type: "button", class: "thumbnail-box", "aria-label": `Look at ${card.name}`, onclick: open }, thumbnail) : icon("file", 28),
      el("div", { class: "card-words" }, el("strong", { text: card.name }), el("span", { text: bytes(card.size) })),
      el("div", { class: "row" }, look && !thumbnail ? button("Look", { onclick: open }) : null, button("Save", { icon: "download", onclick: get, "aria-label": `Save ${card.name}` })));
  }

  const atEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 80;
  const toEnd = () => log.scrollTo({ top: log.scrollHeight });

  function items() {
    const found = [];
    let before = null;
    for (const [n, message] of messages.entries()) {
      if (message.event && follows(message, messages.slice(Math.max(0, n - 12), n))) continue;
      const otherDay = !before || dayOf(before.at) !== dayOf(message.at);
      if (otherDay) found.push({ key: `day-${dayOf(message.at)}`, day: message.at });
      const together = !otherDay && before.from === message.from && !before.event && message.at - before.at < TOGETHER;
      found.push({ key: `${message.key} ${look(message)}`, message, together });
      before = message;
    }
    return found;
  }

  function draw(stay = false) {
    if (!alive) return;
    const end = atEnd();
    arrange(end && !stay);
    const height = log.scrollHeight;
    keyed(list, items(), (item) => item.key, (item) => item.day ? el("div", { class: "day" }, el("span", { text: day(item.day, Date.now()) })) : bubble(item.message, { talk, names: talk.kind === "workspace", act }),
      (element, item) => element.classList.toggle("together", Boolean(item.together)));
    nothing.hidden = messages.length > 0;
    older.hidden = !more;
    if (stay) log.scrollTop += log.scrollHeight - height;
    else if (end) toEnd();
    down.hidden = atEnd();
  }
  const drawSoon = soon(draw);

  function take(message) {
    if (message.talk !== talk.id) return;
    shown.set(message.key, message);
    drawSoon();
    if (message.out && message.state === "waiting") requestAnimationFrame(toEnd);
    seen();
  }

  function arrange(trim) {
    messages = [...shown.values()].sort((a, b) => a.at - b.at || a.n - b.n);
    if (!trim || messages.length <= SHOWN) return;
    for (const message of messages.slice(0, -SHOWN / 2)) shown.delete(message.key);
    messages = messages.slice(-SHOWN / 2);
    more = true;
  }

  async function earlier() {
    const page = await talks.page(talk.id, messages[0] ?? null, PAGE);
    more = page.length === PAGE;
    const first = shown.size === 0;
    for (const message of page) shown.set(message.key, message);
    draw(!first);
  }

  async function reload() {
    const size = Math.max(PAGE, shown.size);
    const page = await talks.page(talk.id, null, size);
    shown.clear();
    for (const message of page) shown.set(message.key, message);
    more = page.length === size;
    drawSoon();
    seen();
  }

  function seen() {
    if (alive && !document.hidden && talks.open === talk.id) talks.read(talk.id);
  }

  talks.open = talk.id;
  const visible = () => seen();
  document.addEventListener("visibilitychange", visible);
  log.addEventListener("scroll", () => (down.hidden = atEnd()), { passive: true });
  ends.push(() => document.removeEventListener("visibilitychange", visible),
    talks.on("message", take),
    talks.on("gone", (message) => shown.delete(message.key) && drawSoon()),
    talks.on("reload", (id) => id === talk.id && reload()));
  // The keyboard of a phone makes the log smaller: its end stays in view.
  const sizes = new ResizeObserver(() => wasAtEnd && toEnd());
  let wasAtEnd = true;
  log.addEventListener("scroll", () => (wasAtEnd = atEnd()), { passive: true });
  sizes.observe(log);
  dropping(node, files);
  earlier().then(() => {
    toEnd();
    seen();
  });

  return {
    node,
    focus: () => write.focus(),
    dispose() {
      alive = false;
      if (talks.open === talk.id) talks.open = "";
      sizes.disconnect();
      thumbnails.dispose();
      for (const end of ends) end();
    },
  };
}

/** A file that was just made is written, too: one line is enough for both. */
function follows(message, before) {
  const [, what, path] = message.text.split("\n");
  return what === "written" && before.some((other) => other.event && other.from === message.from && other.text === `file\ncreated\n${path}` && message.at - other.at < 15_000);
}

/** Takes files that are dragged over `node`. */
export function dropping(node, files) {
  let depth = 0;
  const has = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const mark = (on) => node.classList.toggle("dropping", on);
  node.addEventListener("dragenter", (event) => has(event) && (event.preventDefault(), depth++, mark(true)));
  node.addEventListener("dragover", (event) => has(event) && event.preventDefault());
  node.addEventListener("dragleave", () => --depth <= 0 && ((depth = 0), mark(false)));
  node.addEventListener("drop", (event) => {
    if (!has(event)) return;
    event.preventDefault();
    event.stopPropagation();
    depth = 0;
    mark(false);
    files(event.dataTransfer.items);
  });
}

