// Voice channels that stand alone: what there is, and making one.

import { Complaint, confirm, dialog, form, toast } from "./dialog.js";
import { button, el, field, loading } from "./dom.js";
import { words } from "./fail.js";
import { count } from "./format.js";
import { fold, typed, wrongWith } from "./names.js";
import { voiceBar } from "./voice-bar.js";

/** Shows them, until the person closes it. */
export async function voiceChannels(account) {
  const { voice } = account;
  let bar = null;
  let over = false;
  const here = el("div", {});
  const list = el("ul", { class: "voice-channels" }, loading());
  const again = () => refresh().catch((error) => over || list.replaceChildren(el("li", { class: "error", text: words(error, { BADCOMMAND: "This server has no voice." }) })));

  async function refresh() {
    const all = await voice.list();
    if (over) return;
    const sorted = all.sort((a, b) => a.name.localeCompare(b.name));
    list.replaceChildren(...sorted.map(row), ...(sorted.length === 0 ? [el("li", { class: "quiet-words", text: "There is none yet. Each workspace has a channel of its own, beside its conversation." })] : []));
  }

  function row({ id, name, owner, count: people }) {
    const inside = voice.channel?.key === id;
    return el("li", { class: "row between" },
      el("div", { class: "item-words" }, el("strong", { text: name }), el("span", { class: "quiet-words", text: `${owner ? `of ${owner}, ` : ""}${people === 0 ? "nobody is in it" : `${count(people, "person", "people")} in it`}` })),
      el("div", { class: "row" },
        inside ? null : button("Join", { icon: "microphone", "aria-label": `Join ${name}`, onclick: () => voice.join(id, name) }),
        fold(owner) === fold(account.user) ? button(`Delete ${name}`, { icon: "trash", quiet: true, onclick: () => remove(id, name) }) : null));
  }

  async function remove(id, name) {
    if (!await confirm(`Delete ${name}?`, "Who is in this voice channel is taken out of it.", "Delete")) return;
    voice.delete(id).then(again, (error) => toast(words(error), "wrong"));
  }

  let shown = "";
  let state = voice.state;
  function draw() {
    if (state !== voice.state) again();
    ({ state } = voice);
    const key = voice.channel && !voice.channel.key.startsWith("workspace:") ? voice.channel.key : shown;
    if (key === shown) return;
    shown = key;
    bar?.dispose();
    bar = voiceBar(account, key, voice.channel.title);
    here.replaceChildren(bar.node);
  }

  const end = voice.on("change", draw);
  await dialog("Voice channels", () => {
    draw();
    again();
    return el("div", { class: "body" }, here, list, el("footer", {}, button("New voice channel", { icon: "plus", kind: "primary", "data-first": true, onclick: () => create(account, again) })));
  });
  over = true;
  end();
  bar?.dispose();
}

async function create({ voice }, again) {
  const name = el("input", { autocomplete: "off", spellcheck: "false" });
  const done = await form("New voice channel", [field("Name", name)], "Create", async () => {
    const chosen = typed(name.value);
    const wrong = wrongWith(chosen);
    if (wrong) throw new Complaint(wrong);
    await voice.create(chosen);
  }, (error) => (error instanceof Complaint ? error.message : words(error, { DENIED: "You may not make voice channels here. The operator can give you the right (add_channel)." })));
  if (done) again();
}
