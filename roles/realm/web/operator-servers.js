// The servers of the network, and emptying one before it is stopped.

import { confirm, toast } from "./dialog.js";
import { button, el, icon, loading } from "./dom.js";
import { words } from "./fail.js";
import { bytes, count, moment } from "./format.js";
import { rows, textOf } from "./wire.js";

const SAYS = { REFUSED: "There is no other main server that could take its clients.", OFFLINE: "This server is not up." };

export function serversPart({ operate, look }) {
  const place = el("div", {}, loading());
  const node = el("div", {}, place);

  async function load() {
    try {
      const list = rows(await look("SERVERS")).map(([name, role, state, since, at, key, volatile, capacity]) => ({ name, role, state, since: Number(since), at, key, volatile, capacity }));
      place.replaceChildren(el("ul", { class: "servers" }, ...list.map(server)));
    } catch (error) {
      place.replaceChildren(el("p", { class: "error", text: words(error) }));
    }
  }

  function server(one) {
    const facts = [one.at, one.since > 0 ? `since ${moment(one.since)}` : "", one.volatile, Number(one.capacity) > 0 ? bytes(one.capacity) : ""].filter(Boolean).join(" · ");
    return el("li", {}, icon("server", 28), el("div", { class: "item-words" }, el("span", { class: "named" }, el("strong", { text: one.name }), el("span", { class: "tag", text: one.role }), el("span", { class: `tag ${one.state}`, text: one.state })), el("span", { class: "quiet-words", text: facts })),
      one.role === "main" && one.state === "up" ? button("Drain", { icon: "out", onclick: () => drain(one.name) }) : null);
  }

  async function drain(name) {
    const sure = await confirm(`Drain ${name}?`, "It gets no more clients, and those it has move to other servers, without noticing. It stays so until its process is started anew.", "Drain");
    if (!sure) return;
    try {
      const left = Number(textOf(await operate("DRAIN", name)));
      toast(left > 0 ? `${name} drains; ${count(left, "client")} left.` : `${name} is empty.`);
    } catch (error) {
      toast(words(error, SAYS), "wrong");
    }
    load();
  }

  load();
  return { node };
}
