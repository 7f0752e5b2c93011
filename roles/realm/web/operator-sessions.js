// Who is connected now, and ending that.

import { Complaint, form, toast } from "./dialog.js";
import { button, el, empty, face, field, keyed, loading } from "./dom.js";
import { words } from "./fail.js";
import { count, span } from "./format.js";
import { rows } from "./wire.js";

const DOORS = { client_main: "program", realm: "realm", web: "browser" };
const AGAIN = 10_000;

export function sessionsPart({ operate, look }) {
  const body = el("tbody", {});
  const note = el("p", { class: "quiet-words", role: "status" });
  const table = el("div", { class: "table-box", hidden: true, tabindex: "0", role: "region", "aria-label": "Sessions" }, el("table", {}, el("caption", { class: "unseen", text: "Connected sessions" }), el("thead", {}, el("tr", {}, ...["User", "Server", "By", "For", "From"].map((text) => el("th", { scope: "col", text })), el("th", { scope: "col" }, el("span", { class: "unseen", text: "Actions" })))), body));
  const place = el("div", {}, loading());
  const node = el("div", {}, el("div", { class: "bar" }, note, button("Refresh", { icon: "refresh", onclick: () => load() })), place, table);

  async function load() {
    try {
      const list = rows(await look("SESSIONS")).map(([user, server, door, since, from]) => ({ user, server, door, since: Number(since), from }));
      note.textContent = count(list.length, "session");
      table.hidden = list.length === 0;
      if (list.length === 0) place.replaceChildren(empty("out", "Nobody is connected", "Sessions stand here while people are signed in."));
      else place.replaceChildren();
      const seen = new Map();
      const numbered = list.slice(0, 1000).map((one) => {
        const key = JSON.stringify(one);
        seen.set(key, (seen.get(key) ?? 0) + 1);
        return { ...one, key: `${key} ${seen.get(key)}` };
      });
      keyed(body, numbered, (one) => one.key, row, (node, one) => (node.age.textContent = span(Date.now() - one.since)));
    } catch (error) {
      place.replaceChildren(el("p", { class: "error", text: words(error) }));
    }
  }

  function row(one) {
    const age = el("td", {});
    const node = el("tr", {}, el("th", { scope: "row" }, el("span", { class: "named" }, face(one.user, "small"), el("span", { text: one.user }))), el("td", { text: one.server }), el("td", { text: DOORS[one.door] ?? one.door }), age, el("td", { text: one.from }),
      el("td", { class: "acts" }, button(`End the sessions of ${one.user}`, { icon: "out", quiet: true, onclick: () => kick(one.user) })));
    return Object.assign(node, { age });
  }

  async function kick(user) {
    const reason = el("input", { value: "ended by the operator" });
    const done = await form(`End all sessions of ${user}?`, [field("Reason", reason, "The person reads it, and can sign in again.")], "End sessions", async () => {
      if (reason.value.trim() === "" || reason.value.trim() === "the server stops") throw new Complaint("Give a reason.");
      await operate("KICK", user, reason.value.trim());
    }, (error) => (error instanceof Complaint ? error.message : words(error, { OFFLINE: "This user is not signed in any more." })));
    if (done) toast(`The sessions of ${user} have ended.`);
    load();
  }

  load();
  const timer = setInterval(() => document.hidden || load(), AGAIN);
  return { node, dispose: () => clearInterval(timer) };
}
