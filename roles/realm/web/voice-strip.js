// Voice while one looks at something else: a strip above every page, with the way back.

import { el, icon, setText, soon } from "./dom.js";
import { announce } from "./notify.js";
import { address } from "./router.js";
import { voiceChannels } from "./voice-channels.js";
import { talkKey, voiceControls, whyEnded } from "./voice-controls.js";
import { nameOf } from "./voice.js";
import { toast } from "./dialog.js";

export function voiceStrip(account) {
  const { voice } = account;
  const controls = voiceControls(voice);
  const place = el("span", { class: "voice-place" });
  const said = el("span", { class: "voice-words" });
  const node = el("section", { class: "voice strip", "aria-label": "Voice that you are in", hidden: true }, el("div", { class: "voice-line" }, icon("voice"), place, said, controls.trouble, controls.again, controls.node));
  let key = "";
  let told = null;

  function speak() {
    const names = [...voice.speaking].map((uid) => (uid === voice.uid ? "You" : nameOf(voice.members.get(uid) ?? "")));
    const many = names.length > 2 ? `${names.slice(0, 2).join(", ")} and ${names.length - 2} more speak` : `${names.join(" and ")} ${names.length === 1 && names[0] !== "You" ? "speaks" : "speak"}`;
    setText(said, voice.state === "in" ? (names.length > 0 ? many : `${voice.members.size} in voice`) : "Joining…");
  }

  function draw() {
    node.hidden = voice.state === "out" || voice.shown.has(voice.channel.key);
    if (voice.ended && voice.ended !== told && !voice.shown.has(voice.ended.key)) toast(`Voice: ${whyEnded(voice.ended.error)}`, "wrong");
    told = voice.ended;
    if (node.hidden) return;
    controls.draw();
    speak();
    if (key === voice.channel.key) return;
    ({ key } = voice.channel);
    const { title } = voice.channel;
    place.replaceChildren(key.startsWith("workspace:")
      ? el("a", { href: address("workspaces", title), text: title })
      : el("button", { type: "button", class: "link", text: title, onclick: () => voiceChannels(account) }));
  }

  const ends = [voice.on("change", draw), voice.on("speaking", soon(speak)), voice.on("said", (words) => words && announce(words)), talkKey(voice)];
  draw();
  return { node, dispose: () => ends.forEach((end) => end()) };
}
