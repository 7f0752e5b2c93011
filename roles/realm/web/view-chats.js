// The conversations with people: the list, and the one that is open.

import { cardText, summary } from "./cards.js";
import { conversation } from "./conversation.js";
import { confirm, toast } from "./dialog.js";
import { arrows, button, el, empty, face, icon, keyed, setText, showUnread, soon, unreadBadge } from "./dom.js";
import { words } from "./fail.js";
import { short } from "./format.js";
import { fileName, fold, freeName, inside, typed, wrongWithUser } from "./names.js";
import { address, go } from "./router.js";
import { userTalk } from "./talks.js";
import { entriesOf, entriesOfInput } from "./transfers.js";

const MOST_FOUND = 40;

export function chatsView({ account }) {
  const { talks, people } = account;
  const search = el("input", { type: "search", placeholder: "Search or start a chat", "aria-label": "Search or start a chat by name", autocomplete: "off", spellcheck: "false" });
  const list = el("ul", { class: "items" });
  const found = el("p", { class: "unseen", role: "status" });
  const detail = el("div", { class: "detail" });
  const blank = el("div", { class: "blank" }, empty("talks", "Your conversations", "Choose one on the left, or search for somebody by name."));
  const none = el("div", { class: "none", hidden: true }, el("p", { text: "No conversations yet. Type the name of somebody above to write to them." }));
  const node = el("div", { class: "panes" },
    el("section", { class: "list", "aria-label": "Conversations" }, el("header", {}, el("h2", { class: "title", text: "Chats" })), el("div", { class: "search" }, icon("search"), search), found, none, list), detail);
  let open = null;
  let name = "";

  function rowsNow() {
    const query = fold(typed(search.value));
    const known = talks.sorted("user").filter((talk) => fold(talk.name).includes(query));
    const rows = known.map((talk) => ({ key: talk.id, name: people.user(talk.name)?.name ?? talk.name, talk }));
    if (query === "") return rows;
    const ids = new Set(known.map((talk) => talk.id));
    for (const user of people.users()) {
      if (rows.length >= known.length + MOST_FOUND) break;
      const { id } = userTalk(user.name);
      if (!ids.has(id) && fold(user.name).includes(query)) rows.push({ key: id, name: user.name, talk: null });
    }
    const exact = typed(search.value);
    if (!wrongWithUser(exact) && !rows.some((row) => fold(row.name) === query)) rows.push({ key: "new", name: exact, talk: null, unknown: true });
    return rows;
  }

  function make(row) {
    const dot = el("span", { class: "dot" });
    const parts = { dot, state: el("span", { class: "unseen" }), name: el("strong", {}), time: el("time", {}), last: el("span", { class: "last" }), badge: unreadBadge() };
    const link = el("a", { class: "item", href: "#" }, el("span", { class: "face-box" }, face(row.name), dot), el("span", { class: "item-words" }, el("span", { class: "line" }, parts.name, parts.state, parts.time), el("span", { class: "line" }, parts.last, parts.badge)));
    const item = el("li", {}, link);
    Object.assign(item, { parts, link });
    return item;
  }

  function update(item, { name: shown, talk, unknown }) {
    const { parts, link } = item;
    const online = people.online(shown);
    parts.dot.classList.toggle("online", online);
    setText(parts.state, online ? ", online" : "");
    setText(parts.name, shown);
    setText(parts.time, talk ? short(talk.at, Date.now()) : "");
    const status = people.user(shown)?.notes ?? "";
    setText(parts.last, talk?.last ? (talk.last.out ? "You: " : "") + summary(talk.last.text) : unknown ? "Start a chat with this name" : status || "Start a chat");
    const unread = talk?.unread ?? 0;
    showUnread(parts.badge, unread);
    link.setAttribute("href", address("chats", shown));
    if (open && fold(shown) === fold(name)) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
    link.classList.toggle("unread", unread > 0);
  }

  const draw = soon(() => {
    const rows = rowsNow();
    keyed(list, rows, (row) => row.key, make, update);
    none.hidden = rows.length > 0;
    setText(found, search.value ? `${rows.length} found` : "");
  });

  function show([wanted]) {
    if (wanted === undefined) {
      close();
      detail.replaceChildren(blank);
      draw();
      return;
    }
    const user = typed(wanted);
    if (open && fold(user) === fold(name)) return;
    close();
    if (wrongWithUser(user)) {
      detail.replaceChildren(empty("warn", "No such name", wrongWithUser(user)));
      return;
    }
    name = people.user(user)?.name ?? talks.list.get(userTalk(user).id)?.name ?? user;
    open = openTalk(account, name);
    detail.replaceChildren(open.node);
    search.value = "";
    draw();
    if (matchMedia("(hover: hover)").matches) open.focus();
  }

  function close() {
    open?.dispose();
    open = null;
    name = "";
  }

  search.addEventListener("input", draw);
  search.addEventListener("keydown", (event) => {
    // The list may not be drawn yet.
    if (event.key === "Enter" && rowsNow().length > 0) go("chats", rowsNow()[0].name);
    if (event.key === "ArrowDown") list.querySelector("a")?.focus();
    if (event.key === "Escape") { search.value = ""; draw(); }
  });
  arrows(list, "a.item");
  const ends = [talks.on("list", draw), people.on("change", draw)];
  draw();
  return { node, show, dispose: () => { close(); ends.forEach((end) => end()); } };
}

/** The conversation with one user. */
function openTalk(account, name) {
  const talk = userTalk(name);
  const dot = el("span", { class: "dot" });
  const status = el("span", { class: "quiet-words" });
  const forget = button("Forget this conversation", { icon: "trash", quiet: true, onclick: async () => {
    const sure = await confirm(`Forget the conversation with ${name}?`, "Its messages are removed from this browser. The other side keeps theirs.", "Forget");
    if (!sure) return;
    await account.talks.forget(talk.id);
    go("chats");
  } });
  const header = el("header", { class: "talk-head" }, el("a", { class: "back button quiet", href: address("chats"), "aria-label": "Back to the list" }, icon("back")),
    el("span", { class: "face-box" }, face(name), dot), el("div", { class: "head-words" }, el("h2", { text: name }), status), forget);

  function presence() {
    const user = account.people.user(name);
    const online = user?.status === "online";
    dot.classList.toggle("online", online);
    setText(status, online ? user.notes || "Online" : user ? "Away. Messages are kept until they are back." : "");
  }

  async function files(items) {
    const entries = "length" in items && items[0] instanceof File ? entriesOfInput(items) : await entriesOf(items);
    if (entries.length === 0) return;
    try {
      const folder = await account.sentFolder(name);
      const taken = new Set((await account.storage.list(folder)).map((entry) => entry.name));
      for (const { file } of entries) {
        const free = freeName(fileName(file.name), taken);
        taken.add(free);
        const path = inside(folder, free);
        account.transfers.upload(file, path).then(() => account.outbox.send(talk, cardText(path, file.size)), () => undefined);
      }
    } catch (error) {
      toast(words(error, { NOTFOUND: `There is nobody called ${name} to share a file with.` }), "wrong");
    }
  }

  const inner = conversation({ account, talk, header, label: `Conversation with ${name}`, files, hint: `Write to ${name}, or drag a file here.` });
  const end = account.people.on("change", presence);
  presence();
  return { ...inner, dispose: () => { end(); inner.dispose(); } };
}
