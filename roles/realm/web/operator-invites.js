// Codes that let one person register each.

import { Complaint, dialog, form } from "./dialog.js";
import { button, el, empty, field, icon, loading } from "./dom.js";
import { words } from "./fail.js";
import { count, moment } from "./format.js";
import { address } from "./router.js";
import { rows, textOf } from "./wire.js";

export function invitesPart({ operate, look }) {
  const place = el("div", {}, loading());
  const node = el("div", {}, el("div", { class: "bar" }, el("p", { text: "An invite code lets one person register, also when the server takes no one else." }), button("New invite", { icon: "plus", kind: "primary", onclick: make })), place);

  async function load() {
    try {
      const list = rows(await look("INVITES"));
      if (list.length === 0) return place.replaceChildren(empty("mail", "No open invites", "Make one, and give it to the person whom you want here."));
      // The server keeps no codes, only what it needs to know one again.
      return place.replaceChildren(el("p", { class: "quiet-words", text: `${count(list.length, "invite")} not used yet. A code is shown once, when it is made.` }),
        el("ul", { class: "invites" }, ...list.map(([created, expires]) => el("li", {}, icon("mail"), el("strong", { text: `Made ${moment(Number(created))}` }), el("span", { class: "quiet-words", text: `good until ${moment(Number(expires))}` })))));
    } catch (error) {
      return place.replaceChildren(el("p", { class: "error", text: words(error) }));
    }
  }

  async function make() {
    const days = el("input", { inputmode: "numeric", value: "7" });
    let code = "";
    const done = await form("New invite", [field("Good for how many days", days)], "Make", async () => {
      const value = Number(days.value);
      if (!Number.isInteger(value) || value < 1 || value > 3650) throw new Complaint("Type a number from 1 to 3650.");
      code = textOf(await operate("INVITE", value));
    }, (error) => (error instanceof Complaint ? error.message : words(error)));
    if (!done) return;
    load();
    await dialog("An invite", () => el("div", { class: "body" }, el("p", { text: "Give this code, or the link, to one person:" }), el("p", { class: "code" }, el("code", { id: "invite-code", text: code })), el("footer", {}, copy("Copy the code", code), copy("Copy the link", linkOf(code)))));
  }

  load();
  return { node };
}

function linkOf(code) {
  return `${location.origin}/${address("invite", code)}`;
}

function copy(title, text) {
  const node = button(title, { onclick: async () => {
    try {
      await navigator.clipboard.writeText(text);
      node.querySelector("span").textContent = "Copied";
    } catch {
      node.querySelector("span").textContent = text;
    }
  } });
  return node;
}
