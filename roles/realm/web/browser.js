// A folder and what is in it: to look at, sort, upload into, and change.

import { dropping } from "./conversation.js";
import { Complaint, confirm, dialog, form, toast } from "./dialog.js";
import { arrows, button, el, empty, field, icon, keyed, loading, setText } from "./dom.js";
import { words } from "./fail.js";
import { bytes, moment, short } from "./format.js";
import { kindOf } from "./file-kinds.js";
import { folderOf, inside, segments, typed, wrongWith } from "./names.js";
import { permissions } from "./permissions.js";
import { canShow, preview } from "./preview.js";
import { entriesOf, entriesOfInput } from "./transfers.js";

const MOST = 300;
const ORDERS = {
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true, sensitivity: "base" }),
  size: (a, b) => a.size - b.size,
  modified: (a, b) => a.modified - b.modified,
};
const SAYS = { DENIED: "You may not look here, or it is not there.", NOTFOUND: "This folder is not there any more." };

/** `root`: what the way up ends at, with `rootName`; `hrefOf(path)`: the address of a folder. `others`: not one's own. */
export function browser({ account, root, rootName, hrefOf, compact = false, others = false }) {
  const { storage, transfers } = account;
  let path = root;
  let entries = [];
  let order = { by: "name", down: false };
  let all = false;
  let load = 0;

  const crumbs = el("ol", {});
  const chooser = el("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => chosen(chooser) });
  const folderChooser = el("input", { type: "file", webkitdirectory: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => chosen(folderChooser) });
  const tools = el("div", { class: "tools" },
    button("Upload", { icon: "upload", kind: "primary", quiet: compact, onclick: () => chooser.click() }),
    compact ? null : button("Upload folder", { icon: "folder", title: "Upload folder", "aria-label": "Upload folder", onclick: () => folderChooser.click() }),
    button("New folder", { icon: "plus", quiet: compact, title: "New folder", "aria-label": "New folder", onclick: makeFolder }),
    others ? null : button("Share this folder", { icon: "share", quiet: true, onclick: () => path !== "/" && permissions(account, path, true) }),
    button("Refresh", { icon: "refresh", quiet: true, onclick: () => refresh() }), chooser, folderChooser);
  const heads = {};
  const columns = el("tr", {}, ...[["name", "Name"], ["size", "Size"], ["modified", "Changed"]].map(([by, title]) => {
    const sort = el("button", { type: "button", text: title, onclick: () => sortBy(by) });
    heads[by] = el("th", { scope: "col", class: by }, sort);
    return heads[by];
  }), el("th", { scope: "col", class: "acts" }, el("span", { class: "unseen", text: "Actions" })));
  const body = el("tbody", {});
  const table = el("table", { class: "files" }, el("caption", { class: "unseen", text: "Files and folders" }), el("thead", {}, columns), body);
  const rest = el("button", { type: "button", class: "link", hidden: true, onclick: () => { all = true; draw(); } });
  const place = el("div", { class: "folder-content" }, loading());
  const node = el("section", { class: `browser ${compact ? "compact" : ""}`, "aria-label": rootName }, el("header", {}, el("nav", { "aria-label": "Folders above" }, crumbs), tools), place);

  async function refresh() {
    const mine = ++load;
    try {
      const list = await storage.list(path);
      if (mine !== load) return;
      entries = list;
      draw();
    } catch (error) {
      if (mine !== load) return;
      place.replaceChildren(empty("warn", "Nothing to see", words(error, SAYS), button("Try again", { icon: "refresh", onclick: refresh })));
    }
  }

  function draw() {
    if (entries.length === 0) {
      place.replaceChildren(empty("folder", "This folder is empty", others ? "There is nothing in it." : "Drag files here, or use the button “Upload”."));
      return;
    }
    const compare = ORDERS[order.by];
    const sorted = [...entries].sort((a, b) => Number(b.folder) - Number(a.folder) || (order.down ? -compare(a, b) : compare(a, b)) || ORDERS.name(a, b));
    keyed(body, all ? sorted : sorted.slice(0, MOST), (entry) => `${entry.folder} ${entry.name} ${entry.size} ${entry.modified}`, row);
    for (const [by, head] of Object.entries(heads)) {
      if (by === order.by) head.setAttribute("aria-sort", order.down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
    rest.hidden = all || sorted.length <= MOST;
    setText(rest, `Show all ${sorted.length}`);
    if (table.parentNode !== place) place.replaceChildren(table, rest);
  }

  function row(entry) {
    const name = entry.folder
      ? el("a", { class: "entry", href: hrefOf(entry.path), onclick: compact ? (event) => { event.preventDefault(); show(entry.path); } : undefined }, icon("folder", 22), el("span", { text: entry.name }))
      : el("button", { type: "button", class: "entry", onclick: () => open(entry) }, icon(kindOf(entry.name).kind === "image" ? "image" : "file", 22), el("span", { text: entry.name }));
    return el("tr", { class: entry.folder ? "is-folder" : "is-file" }, el("td", { class: "name" }, name),
      el("td", { class: "size", text: entry.folder ? "" : bytes(entry.size) }),
      el("td", { class: "modified", title: moment(entry.modified), text: short(entry.modified, Date.now()) }),
      el("td", { class: "acts" }, entry.folder ? null : button(`Save ${entry.name}`, { icon: "download", quiet: true, onclick: () => save(entry) }), button(`More about ${entry.name}`, { icon: "more", quiet: true, onclick: () => details(entry) })));
  }

  function sortBy(by) {
    order = { by, down: order.by === by ? !order.down : by !== "name" };
    draw();
  }

  function open(entry) {
    if (canShow(entry.name, entry.size)) preview(account, entry.path, entry.size);
    else details(entry);
  }

  function save(entry) {
    transfers.download(entry.path, entry.size).catch(() => undefined);
  }

  /** What is known of an entry, and what can be done with it. */
  async function details(entry) {
    const facts = el("dl", { class: "facts" }, el("dt", { text: "Changed" }), el("dd", { text: moment(entry.modified) }));
    const fact = (name, value) => facts.append(el("dt", { text: name }), el("dd", { text: value }));
    if (!entry.folder) fact("Size", bytes(entry.size));
    storage.info(entry.path).then((info) => {
      fact("Made", moment(info.created));
      fact("Belongs to", info.owner);
      fact("Shared with", info.permissions.filter(({ subject }) => subject !== info.owner).map(({ subject }) => (subject === "*" ? "everybody" : subject)).join(", ") || "nobody");
      if (info.copies) fact("Copies", info.copies);
    }).catch((error) => fact("", words(error)));
    const chosen = await dialog(entry.name, (close) => {
      const act = (text, picture, value, kind) => button(text, { icon: picture, kind, onclick: () => close(value) });
      return el("div", { class: "body" }, facts, el("div", { class: "acts-list" },
        !entry.folder && canShow(entry.name, entry.size) ? act("Look", "image", "look") : null,
        entry.folder ? act("Open", "folder", "open") : act("Save", "download", "save"),
        act("Rename", "edit", "rename"), act("Move", "folder", "move"), act("Share", "share", "share"), act("Delete", "trash", "delete", "danger")));
    });
    const doing = { look: () => preview(account, entry.path, entry.size), open: () => (compact ? show(entry.path) : (location.hash = hrefOf(entry.path))), save: () => save(entry), rename: () => rename(entry), move: () => move(entry), share: () => permissions(account, entry.path, entry.folder), delete: () => remove(entry) };
    await doing[chosen]?.();
  }

  async function makeFolder() {
    const name = el("input", { autocomplete: "off", spellcheck: "false" });
    const made = await form("New folder", [field("Name", name)], "Create", async () => {
      await storage.makeFolder(inside(path, checked(name.value)));
    }, said);
    if (made) refresh();
  }

  async function rename(entry) {
    const name = el("input", { autocomplete: "off", spellcheck: "false", value: entry.name });
    const done = await form(`Rename ${entry.name}`, [field("New name", name)], "Rename", async () => {
      const next = checked(name.value);
      if (next !== entry.name) await storage.move(entry.path, inside(folderOf(entry.path), next));
    }, said);
    if (done) refresh();
  }

  async function move(entry) {
    let target = folderOf(entry.path);
    const list = el("ul", { class: "folders" });
    const at = el("p", { class: "where" });
    const draw = async () => {
      at.textContent = target;
      list.replaceChildren(el("li", {}, loading()));
      try {
        const inner = (await storage.list(target)).filter((one) => one.folder && one.path !== entry.path);
        const step = (name, to, picture) => el("li", {}, el("button", { type: "button", class: "entry", onclick: () => { target = to; draw(); } }, icon(picture), el("span", { text: name })));
        list.replaceChildren(...(target === root ? [] : [step("One up", folderOf(target), "back")]), ...inner.map((one) => step(one.name, one.path, "folder")));
      } catch (error) {
        list.replaceChildren(el("li", { class: "error", text: words(error, SAYS) }));
      }
    };
    draw();
    const done = await form(`Move ${entry.name}`, [el("p", { text: "To this folder:" }), at, list], "Move here", async () => {
      if (target === folderOf(entry.path)) throw new Complaint("It is in this folder. Choose another one.");
      await storage.move(entry.path, inside(target, entry.name));
    }, said);
    if (done) refresh();
  }

  async function remove(entry) {
    const sure = await confirm(`Delete ${entry.name}?`, entry.folder ? "The folder and all that is in it are deleted for everybody. This cannot be undone." : "It is deleted for everybody. This cannot be undone.", "Delete");
    if (!sure) return;
    try {
      await storage.remove(entry.path, entry.folder);
    } catch (error) {
      toast(`${entry.name}: ${words(error)}`, "wrong");
    }
    refresh();
  }

  async function put(found) {
    const folder = path;
    let always = "";
    const clash = async (name) => {
      if (always) return always;
      const every = el("input", { type: "checkbox", id: "every" });
      const answer = await dialog(`${name} is here already`, (close) => el("div", { class: "body" }, el("p", { text: "What shall happen with the one that you upload?" }), el("div", { class: "check" }, every, el("label", { for: "every", text: "The same for all others" })),
        el("footer", {}, button("Skip", { onclick: () => close("skip") }), button("Keep both", { onclick: () => close("both"), "data-first": true }), button("Replace", { kind: "danger", onclick: () => close("replace") }))));
      if (every.checked) always = answer ?? "skip";
      return answer ?? "skip";
    };
    try {
      await transfers.uploadAll(found, folder, clash);
    } catch (error) {
      toast(words(error, { DENIED: "You may not write here." }), "wrong");
    }
    if (folder === path) refresh();
  }

  function chosen(input) {
    const found = entriesOfInput(input.files);
    input.value = "";
    if (found.length > 0) put(found);
  }

  async function dropped(items) {
    const found = await entriesOf(items);
    if (found.length > 0) put(found);
  }

  function show(to) {
    if (to !== path || entries.length === 0) place.replaceChildren(loading());
    path = to;
    entries = [];
    all = false;
    const depth = segments(root).length;
    const steps = segments(path).slice(depth);
    crumbs.replaceChildren(...[rootName, ...steps].map((name, n) => {
      const target = n === 0 ? root : inside(root, steps.slice(0, n).join("/"));
      const last = n === steps.length;
      return el("li", {}, el("a", { href: hrefOf(target), "aria-current": last ? "page" : undefined, text: name, onclick: compact ? (event) => { event.preventDefault(); show(target); } : undefined }));
    }));
    refresh();
  }

  dropping(node, dropped);
  arrows(body, ".entry");
  return { node, show, refresh, get path() { return path; } };
}

function checked(text) {
  const name = typed(text);
  const wrong = wrongWith(name) || (name.startsWith(".part-") ? "A name does not begin with .part-" : "");
  if (wrong) throw new Complaint(wrong);
  return name;
}

function said(error) {
  return error instanceof Complaint ? error.message : words(error);
}

