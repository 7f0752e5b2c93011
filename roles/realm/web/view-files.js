// All files: one's own, those that others share, and those of the workspaces.

import { browser } from "./browser.js";
import { button, el, empty, face, icon, loading } from "./dom.js";
import { bytes, short } from "./format.js";
import { folderOf, segments } from "./names.js";
import { canShow, preview } from "./preview.js";
import { address } from "./router.js";

const hrefOf = (path) => address("files", ...segments(path));

export function filesView({ session, account }) {
  const links = el("ul", { class: "items places" });
  const quota = el("div", { class: "quota" });
  const detail = el("div", { class: "detail" });
  const node = el("div", { class: "panes" }, el("section", { class: "list", "aria-label": "Places" }, el("header", {}, el("h2", { class: "title", text: "Files" })), links, quota), detail);
  let open = null;
  let key = "";
  let here = [];

  function places() {
    const list = [["My files", "home", ["users", account.user]], ["Shared with me", "shared", ["shared"]]];
    for (const { name } of account.workspaces.list.values()) list.push([name, "workspaces", ["workspaces", name]]);
    links.replaceChildren(...list.map(([words, picture, place]) => {
      const current = place.every((segment, n) => here[n] === segment);
      return el("li", {}, el("a", { class: "item", href: address("files", ...place), "aria-current": current ? "true" : undefined }, icon(picture, 22), el("span", { class: "item-words", text: words })));
    }));
  }

  function usage() {
    const [used, limit] = [Number(session.account.get("used")), Number(session.account.get("quota"))];
    if (!session.account.get("used") || !(limit > 0)) return quota.replaceChildren();
    return quota.replaceChildren(el("meter", { min: "0", max: "1", high: "0.9", value: Math.min(1, used / limit), "aria-label": "Storage used" }), el("span", { class: "quiet-words", text: `${bytes(used)} of ${bytes(limit)} used` }));
  }

  function show(place) {
    const wide = matchMedia("(min-width: 761px)").matches;
    here = place.length > 0 || !wide ? place : ["users", account.user];
    places();
    if (here[0] === "shared") return shared();
    const root = here.length > 0 ? `/${here.slice(0, 2).join("/")}` : "";
    if (root === "") {
      key = "";
      return detail.replaceChildren();
    }
    if (key !== root) {
      key = root;
      const own = here[0] === "users" && here[1] === account.user;
      const name = own ? "My files" : here[0] === "users" ? `Files of ${here[1]}` : here[1];
      open = browser({ account, root, rootName: name ?? "Files", hrefOf, others: here[0] === "users" && !own });
      const back = el("a", { class: "back button quiet", href: address("files"), "aria-label": "Back to the places" }, icon("back"));
      open.node.querySelector("header").prepend(back);
      detail.replaceChildren(open.node);
    }
    return open.show(`/${here.join("/")}`);
  }

  /** What others have shown in conversations. */
  async function shared() {
    key = "shared";
    open = null;
    const place = el("div", { class: "folder-content" }, loading());
    detail.replaceChildren(el("section", { class: "browser", "aria-label": "Shared with me" }, el("header", {}, el("a", { class: "back button quiet", href: address("files"), "aria-label": "Back to the places" }, icon("back")), el("h2", { text: "Shared with me" })), place));
    const files = (await account.history.files()).sort((a, b) => b.at - a.at);
    if (files.length === 0) {
      place.replaceChildren(empty("shared", "Nothing shared yet", "When somebody sends you a file in a chat, you find it here."));
      return;
    }
    place.replaceChildren(el("ul", { class: "shared-files" }, ...files.map((file) => {
      const look = () => (canShow(file.name, file.size) ? preview(account, file.path, file.size) : account.transfers.download(file.path, file.size).catch(() => undefined));
      return el("li", {}, face(file.from), el("div", { class: "item-words" }, el("button", { type: "button", class: "entry", onclick: look }, el("span", { text: file.name })),
        el("span", { class: "quiet-words", text: `${file.from} · ${bytes(file.size)} · ${short(file.at, Date.now())}` })),
        el("a", { class: "button quiet", href: hrefOf(folderOf(file.path)), "aria-label": `The folder of ${file.name}`, title: "Its folder" }, icon("folder")),
        button(`Save ${file.name}`, { icon: "download", quiet: true, onclick: () => account.transfers.download(file.path, file.size).catch(() => undefined) }),
        button(`Take ${file.name} from this list`, { icon: "close", quiet: true, onclick: async () => { await account.history.forgetFile(file.path); shared(); } }));
    })));
  }

  const ends = [account.workspaces.on("list", places), session.on("change", usage),
    account.talks.on("message", (message) => {
      if (open && message.event && message.text.includes(`/workspaces/${here[1]}/`)) open.refresh();
    })];
  usage();
  session.refreshAccount().catch(() => undefined);
  return { node, show, dispose: () => ends.forEach((end) => end()) };
}
