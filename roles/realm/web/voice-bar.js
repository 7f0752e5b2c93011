// Voice of one channel, where it is shown whole: who is in it, who speaks, and what one can do.

import { button, el, face, icon, keyed, setText } from "./dom.js";
import { whyEnded, voiceControls } from "./voice-controls.js";
import { nameOf } from "./voice.js";

// Who is not in a channel is not told who comes and goes: it is asked for so often while it is shown.
const LOOK = 10_000;
const SHOWN = 24;

/** The bar of the channel `key`, which people call `title`. */
export function voiceBar(account, key, title) {
  const { voice } = account;
  const controls = voiceControls(voice);
  const said = el("p", { class: "voice-words" });
  const why = el("p", { class: "voice-trouble", role: "alert", hidden: true });
  const people = el("ul", { class: "chips voice-people", "aria-label": "In voice" });
  const start = button("Join voice", { icon: "microphone", kind: "primary", onclick: () => voice.join(key, title) });
  const node = el("section", { class: "voice", "aria-label": "Voice", tabindex: "-1", hidden: true }, el("div", { class: "voice-line" }, icon("voice"), said, people, start, controls.node),
    el("div", { class: "voice-line" }, why, controls.trouble, controls.again));
  let others = [];
  let known = false;

  const mine = () => voice.channel?.key === key;

  function make([uid, name]) {
    const state = el("span", { class: "unseen" });
    const own = uid === voice.uid;
    const item = el("li", {}, face(nameOf(name), "small"), el("span", { text: own ? `${name} (you)` : nameOf(name) }), state);
    return Object.assign(item, { uid, state });
  }

  function speak() {
    for (const item of people.children) {
      const on = mine() && voice.speaking.has(item.uid);
      item.classList.toggle("speaking", on);
      if (item.state) setText(item.state, on ? " speaks" : "");
    }
  }

  function draw() {
    const inside = mine();
    if (inside) node.hidden = false;
    const had = node.contains(document.activeElement) ? document.activeElement : null;
    const list = inside ? [...voice.members] : others;
    const sorted = [...list].sort(([a, x], [b, y]) => (b === voice.uid) - (a === voice.uid) || x.localeCompare(y));
    const shown = sorted.slice(0, SHOWN);
    if (sorted.length > SHOWN) shown.push(["", `and ${sorted.length - SHOWN} more`]);
    keyed(people, shown, ([uid, name]) => `${uid} ${name} ${uid === voice.uid}`, (one) => (one[0] ? make(one) : el("li", { class: "more", text: one[1] })));
    people.hidden = sorted.length === 0;
    setText(said, words(inside, sorted.length));
    said.hidden = said.textContent === "";
    start.hidden = inside;
    controls.node.hidden = !inside;
    controls.draw();
    controls.trouble.hidden ||= !inside;
    controls.again.hidden ||= !inside;
    why.hidden = inside || voice.ended?.key !== key;
    if (!why.hidden) setText(why, whyEnded(voice.ended.error));
    speak();
    // Not to Leave: who talks with the space bar would be out by it.
    if (had && !had.checkVisibility()) (inside ? node : start).focus();
  }

  function words(inside, count) {
    if (inside && voice.state === "joining") return "Joining…";
    if (inside && voice.state === "back") return "The connection broke. Joining anew…";
    if (inside || !known && others.length === 0) return inside ? "" : "Voice";
    return count === 0 ? "Nobody is in voice" : "";
  }

  async function look() {
    if (mine() || document.hidden) return;
    try {
      others = await voice.look(key);
      known = true;
      node.hidden = false;
    } catch (error) {
      // A server without voice has no bar of it, one that cannot say now has one without people.
      node.hidden = error.code === "BADCOMMAND" && !mine();
      [others, known] = [[], false];
    }
    draw();
  }

  const timer = setInterval(look, LOOK);
  const changed = () => {
    if (!mine() && was) look();
    was = mine();
    draw();
  };
  let was = mine();
  const ends = [voice.on("change", changed), voice.on("speaking", speak)];
  voice.show(key, true);
  look();
  return {
    node,
    dispose() {
      voice.show(key, false);
      clearInterval(timer);
      for (const end of ends) end();
    },
  };
}
