// Workspaces: what a team talks about, and its files beside it.

import { browser } from "./browser.js";
import { summary, fileChange } from "./cards.js";
import { conversation } from "./conversation.js";
import { Complaint, confirm, form, toast } from "./dialog.js";
import { arrows, button, el, empty, face, field, icon, keyed, loading, setText, showUnread, soon, unreadBadge } from "./dom.js";
import { words } from "./fail.js";
import { count, short } from "./format.js";
import { fold, segments, typed, wrongWith, wrongWithUser } from "./names.js";
import { address, go } from "./router.js";
import { entriesOf, entriesOfInput } from "./transfers.js";
import { voiceBar } from "./voice-bar.js";
import { voiceChannels } from "./voice-channels.js";
import { channelOf } from "./voice.js";

export function workspacesView({ account }) {
  const { workspaces, talks } = account;
  const list = el("ul", { class: "items" });
  const none = el("div", { class: "none" });
  const detail = el("div", { class: "detail" });
  const node = el("div", { class: "panes" }, el("section", { class: "list", "aria-label": "Workspaces" },
    el("header", {}, el("h2", { class: "title", text: "Workspaces" }), el("span", { class: "grow" }), button("Voice channels", { icon: "voice", quiet: true, onclick: () => voiceChannels(account) }), button("New workspace", { icon: "plus", quiet: true, onclick: () => create(account) })), none, list), detail);
  let open = null;
  let name = null;

  function make(workspace) {
    const parts = { name: el("strong", {}), time: el("time", {}), last: el("span", { class: "last" }), badge: unreadBadge() };
    const link = el("a", { class: "item", href: address("workspaces", workspace.name) }, face(workspace.name, "square"), el("span", { class: "item-words" }, el("span", { class: "line" }, parts.name, parts.time), el("span", { class: "line" }, parts.last, parts.badge)));
    return Object.assign(el("li", {}, link), { parts, link });
  }

  function update({ parts, link }, workspace) {
    const talk = talks.list.get(workspace.talk.id);
    setText(parts.name, workspace.name);
    setText(parts.time, talk?.at ? short(talk.at, Date.now()) : "");
    const last = talk?.last;
    const file = last && fileChange(last.text);
    setText(parts.last, last ? `${fold(last.from) === fold(account.user) ? "You" : last.from}${file ? " " : ": "}${file ? file.words : summary(last.text)}` : count(workspace.count, "participant"));
    const unread = talk?.unread ?? 0;
    showUnread(parts.badge, unread);
    link.classList.toggle("unread", unread > 0);
    if (workspace.name === name) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }

  const draw = soon(() => {
    const sorted = [...workspaces.list.values()].sort((a, b) => (talks.list.get(b.talk.id)?.at ?? 0) - (talks.list.get(a.talk.id)?.at ?? 0) || a.name.localeCompare(b.name));
    keyed(list, sorted, (workspace) => workspace.talk.id, make, update);
    none.hidden = sorted.length > 0;
    if (sorted.length === 0) {
      if (workspaces.loaded) none.replaceChildren(el("p", { text: "A workspace is a conversation of several people, with files that all of them share." }), button("Create one", { icon: "plus", kind: "primary", onclick: () => create(account) }));
      else none.replaceChildren(...(workspaces.error ? [el("p", { class: "error", text: words(workspaces.error) }), button("Try again", { icon: "refresh", onclick: () => again() })] : [loading()]));
    }
    if (name !== null && open?.id !== workspaces.list.get(name)?.talk.id) openNow();
  });

  function again() {
    workspaces.failed(null);
    workspaces.refresh().catch((error) => workspaces.failed(error));
  }

  function openNow() {
    open?.dispose();
    open = null;
    const workspace = workspaces.list.get(name);
    if (workspace) {
      open = openWorkspace(account, workspace);
      detail.replaceChildren(open.node);
      if (matchMedia("(hover: hover)").matches) open.focus();
    } else if (workspaces.loaded) {
      detail.replaceChildren(empty("workspaces", "Not your workspace", `There is no workspace “${name}”, or you do not take part in it.`));
    } else {
      detail.replaceChildren(loading());
    }
  }

  function show([wanted]) {
    if (wanted !== undefined && wanted === name && open) return;
    name = wanted ?? null;
    if (name === null) {
      open?.dispose();
      open = null;
      detail.replaceChildren(el("div", { class: "blank" }, empty("workspaces", "Workspaces", "Choose one on the left, or create one for your team.", button("New workspace", { icon: "plus", onclick: () => create(account) }))));
    } else {
      openNow();
    }
    draw();
  }

  arrows(list, "a.item");
  const ends = [workspaces.on("list", draw), talks.on("list", draw)];
  draw();
  return { node, show, dispose: () => { open?.dispose(); ends.forEach((end) => end()); } };
}

/** One workspace: conversation and files. */
function openWorkspace(account, workspace) {
  const { talk, name, creator } = workspace;
  const root = `/workspaces/${name}`;
  const who = el("button", { type: "button", class: "link people", text: count(workspace.count, "participant"), onclick: () => participants(account, workspace) });
  const toggle = button("Files", { icon: "files", "aria-label": "Files", "aria-pressed": "false", onclick: () => {
    const on = node.classList.toggle("with-files");
    toggle.setAttribute("aria-pressed", String(on));
    if (on) files.refresh();
  } });
  const mine = fold(creator) === fold(account.user);
  const end = button(mine ? "Delete this workspace" : "Leave this workspace", { icon: mine ? "trash" : "out", quiet: true, onclick: () => leave(account, workspace, mine) });
  const header = el("header", { class: "talk-head" }, el("a", { class: "back button quiet", href: address("workspaces"), "aria-label": "Back to the list" }, icon("back")),
    face(name, "square"), el("div", { class: "head-words" }, el("h2", { text: name }), who), toggle, end);

  async function put(items) {
    const found = items[0] instanceof File ? entriesOfInput(items) : await entriesOf(items);
    account.transfers.uploadAll(found, root, () => "both").catch((error) => toast(words(error), "wrong"));
  }

  const voice = voiceBar(account, channelOf(name), name);
  const inner = conversation({ account, talk, header: el("div", {}, header, voice.node), label: `Workspace ${name}`, files: put, hint: "Write to all participants, or drag files here to share them." });
  const files = browser({ account, root, rootName: name, hrefOf: (path) => address("files", ...segments(path)), compact: true });
  const node = el("div", { class: "workspace" }, inner.node, files.node);
  if (matchMedia("(min-width: 1150px)").matches) {
    node.classList.add("with-files");
    toggle.setAttribute("aria-pressed", "true");
  }
  files.show(root);
  const refresh = soon(() => node.isConnected && node.classList.contains("with-files") && files.refresh());
  const ends = [account.talks.on("message", (message) => message.talk === talk.id && message.event && refresh()),
    account.workspaces.on("list", () => setText(who, count(account.workspaces.list.get(name)?.count ?? workspace.count, "participant")))];
  return { id: talk.id, node, focus: inner.focus, dispose: () => { inner.dispose(); voice.dispose(); ends.forEach((stop) => stop()); } };
}

async function create(account) {
  const name = el("input", { autocomplete: "off", spellcheck: "false" });
  const people = el("textarea", { rows: "2", spellcheck: "false", autocomplete: "off" });
  let made = "";
  const done = await form("New workspace", [field("Name", name), field("Who takes part", people, "Names, with spaces or commas between. You take part in any case.")], "Create", async () => {
    made = typed(name.value);
    const wrong = wrongWith(made);
    if (wrong) throw new Complaint(wrong);
    await account.workspaces.create(made, namesIn(people.value, account.user));
  }, (error) => said(error, { EXISTS: "There is a workspace with this name already, perhaps of others. Choose another name.", NOTFOUND: "One of these names is not the name of a user. Look at the spelling." }));
  if (done) go("workspaces", made);
}

async function participants(account, workspace) {
  const mine = fold(workspace.creator) === fold(account.user);
  const place = el("div", {}, loading());
  const people = el("textarea", { rows: "2", spellcheck: "false", autocomplete: "off" });
  let now = [];
  account.workspaces.participants(workspace.name).then((list) => {
    now = list;
    people.value = list.filter((name) => fold(name) !== fold(workspace.creator)).join(", ");
    place.replaceChildren(el("ul", { class: "chips" }, ...list.map((name) => el("li", {}, face(name, "small"), el("span", { text: fold(name) === fold(workspace.creator) ? `${name} (made it)` : name })))));
  }).catch((error) => place.replaceChildren(el("p", { class: "error", text: words(error) })));
  const change = mine ? [field("Change who takes part", people, "Names, with spaces or commas between. Who is not named takes part no longer.")] : [el("p", { class: "quiet-words", text: `${workspace.creator} made this workspace, and says who takes part.` })];
  await form(`Participants of ${workspace.name}`, [place, ...change], mine ? "Save" : "Close", async () => {
    if (mine && now.length > 0) await account.workspaces.setParticipants(workspace.name, namesIn(people.value, account.user));
  }, (error) => said(error, { NOTFOUND: "One of these names is not the name of a user. Look at the spelling." }));
}

async function leave(account, { name }, mine) {
  const sure = mine
    ? await confirm(`Delete ${name}?`, "The conversation and all files of this workspace are deleted for everybody. This cannot be undone.", "Delete")
    : await confirm(`Leave ${name}?`, "You will not see its messages and files any more. Its creator can take you in again.", "Leave");
  if (!sure) return;
  try {
    await (mine ? account.workspaces.delete(name) : account.workspaces.leave(name));
    go("workspaces");
  } catch (error) {
    toast(words(error), "wrong");
  }
}

/** Names that were typed with spaces or commas between, without one's own. */
function namesIn(text, own) {
  const names = typed(text).split(/[\s,;]+/u).filter(Boolean);
  const wrong = names.map(wrongWithUser).find(Boolean);
  if (wrong) throw new Complaint(wrong);
  const seen = new Map(names.filter((name) => fold(name) !== fold(own)).map((name) => [fold(name), name]));
  return [...seen.values()];
}

function said(error, special) {
  return error instanceof Complaint ? error.message : words(error, special);
}
