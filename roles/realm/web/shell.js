// What is around every page: the navigation, the state of the connection, files on their way.

import { el, icon, setText, showUnread, soon, unreadBadge } from "./dom.js";
import { words } from "./fail.js";
import { address } from "./router.js";
import { transfersView } from "./view-transfers.js";
import { chatsView } from "./view-chats.js";
import { filesView } from "./view-files.js";
import { mapView } from "./view-map.js";
import { operatorView } from "./view-operator.js";
import { settingsView } from "./view-settings.js";
import { workspacesView } from "./view-workspaces.js";
import { voiceStrip } from "./voice-strip.js";

const PAGES = {
  chats: { words: "Chats", icon: "talks", view: chatsView },
  workspaces: { words: "Workspaces", icon: "workspaces", view: workspacesView },
  files: { words: "Files", icon: "files", view: filesView },
  map: { words: "Map", icon: "map", view: mapView },
  settings: { words: "Settings", icon: "settings", view: settingsView },
  operator: { words: "Operator", icon: "operator", view: operatorView, operator: true },
};
// A break that is over at once is not worth a word.
const PATIENCE = 1200;

export class Shell {
  #ends = [];
  #page = "";
  #view = null;
  #links = new Map();

  constructor(session, account) {
    this.session = session;
    this.account = account;
    this.main = el("main", { id: "main", tabindex: "-1" });
    this.banner = el("div", { class: "banner", role: "status", hidden: true });
    const voice = voiceStrip(account);
    const transfers = transfersView(account.transfers);
    this.node = el("div", { class: "shell" }, this.#navigation(), el("div", { class: "stage" }, this.banner, voice.node, this.main), transfers.node);
    const badges = soon(() => this.#badges());
    this.#ends.push(transfers.dispose, voice.dispose, account.talks.on("list", badges), session.on("link", () => this.#connection()), session.on("change", badges));
    this.#badges();
    this.#connection();
  }

  show([page = "chats", ...place]) {
    const known = PAGES[page] && (!PAGES[page].operator || this.session.operator) ? page : "chats";
    if (known !== this.#page) {
      this.#view?.dispose();
      this.#page = known;
      this.#view = PAGES[known].view({ session: this.session, account: this.account });
      // Where only one of two panes is shown, its heading may be hidden with it: the page has one of its own.
      const panes = this.#view.node.classList.contains("panes");
      this.main.replaceChildren(...(panes ? [el("h1", { class: "unseen", text: PAGES[known].words })] : []), this.#view.node);
      for (const [name, { link }] of this.#links) {
        if (name === known) link.setAttribute("aria-current", "page");
        else link.removeAttribute("aria-current");
      }
    }
    this.node.dataset.page = known;
    this.node.dataset.deep = String(place.length > 0);
    this.#view.show(place);
  }

  dispose() {
    this.#view?.dispose();
    for (const end of this.#ends) end();
    clearTimeout(this.timer);
    clearInterval(this.counting);
  }

  #navigation() {
    const list = el("ul", {});
    for (const [name, page] of Object.entries(PAGES)) {
      const badge = unreadBadge();
      const link = el("a", { href: address(name), class: "tab" }, icon(page.icon, 24), el("span", { class: "words", text: page.words }), badge);
      const item = el("li", { hidden: Boolean(page.operator) }, link);
      list.append(item);
      this.#links.set(name, { link, badge, item });
    }
    return el("nav", { class: "rail", "aria-label": "Pages" }, list);
  }

  #badges() {
    for (const [name, kind] of [["chats", "user"], ["workspaces", "workspace"]]) {
      const { badge } = this.#links.get(name);
      const unread = this.account.talks.unread(kind);
      showUnread(badge, unread);
    }
    this.#links.get("operator").item.hidden = !this.session.operator;
  }

  /** The banner when the connection is gone, and how long until the next try. */
  #connection() {
    clearTimeout(this.timer);
    clearInterval(this.counting);
    if (this.session.link.state === "ready") {
      this.banner.hidden = true;
      return;
    }
    this.timer = setTimeout(() => {
      const draw = () => this.#lost();
      draw();
      this.counting = setInterval(draw, 1000);
    }, this.banner.hidden ? PATIENCE : 0);
  }

  #lost() {
    const { link } = this.session;
    const wait = Math.ceil((link.nextTry - Date.now()) / 1000);
    const why = link.trouble ? words(link.trouble) : "No connection.";
    const said = link.state === "waiting" && wait > 1 ? `${why} Trying again in ${wait} s; what you write waits.` : "Connecting… What you write waits.";
    if (this.banner.hidden) {
      this.said = el("span", {});
      this.banner.replaceChildren(el("span", { class: "spinner", "aria-hidden": "true" }), this.said, el("button", { type: "button", class: "link", text: "Try now", onclick: () => link.retryNow() }));
      this.banner.hidden = false;
    }
    setText(this.said, said);
  }
}
