// Mute, push-to-talk and Leave, the same wherever they are shown; and the words on what does not work.

import { button, el, setText } from "./dom.js";
import { words } from "./fail.js";

const MICROPHONE = {
  asking: "The browser asks whether this page may use the microphone.",
  refused: "You can listen, but not speak: this page may not use the microphone. The settings of the browser say so.",
  none: "You can listen, but not speak: there is no microphone.",
  failed: "You can listen, but not speak: the microphone does not work. Another program may be using it.",
  lost: "You can listen, but not speak: the microphone is gone.",
  codec: "You can listen, but not speak: this browser cannot pack sound (it has no AudioEncoder for Opus).",
};
const ENDED = {
  BADCOMMAND: "This server has no voice.",
  DENIED: "You may not join this voice channel.",
  NOTFOUND: "This voice channel is not there any more.",
  LIMIT: "This voice channel is full.",
  DELETED: "The voice channel was deleted.",
  KICKED: "You were taken out of the voice channel.",
  LEFT: "You left this voice channel elsewhere, so it ended here.",
  ELSEWHERE: "You joined this voice channel elsewhere, so it ended here.",
};

// Keys that move the focus.
const MOVES = new Set(["Tab", "ArrowUp", "ArrowDown", "Home", "End"]);

/** Why voice ended or did not begin, in words. */
export function whyEnded(error) {
  return error.code === "BROWSER" ? error.text : words(error, ENDED);
}

/** The buttons, of who is in a channel. `draw()` shows how things are. */
export function voiceControls(voice) {
  const hold = holdButton(voice);
  const mute = button("Mute", { icon: "mute", "aria-label": "Mute", title: "Mute", "aria-pressed": "false", onclick: () => voice.mute(!voice.muted) });
  const push = button("Push to talk", { icon: "hold", "aria-label": "Push to talk", "aria-pressed": "false", title: "Only what you say while you hold the button or the space bar is heard", onclick: () => voice.setPush(!voice.push) });
  const leave = button("Leave voice", { icon: "out", "aria-label": "Leave voice", title: "Leave voice", kind: "danger", onclick: () => voice.leave() });
  const trouble = el("p", { class: "voice-trouble" });
  const again = button("Use the microphone", { icon: "microphone", onclick: () => voice.askMicrophone() });
  const node = el("div", { class: "voice-controls" }, hold, mute, push, leave);

  function draw() {
    const speaks = voice.microphone === "on";
    const focused = [mute, push, hold].find((one) => one === document.activeElement);
    mute.hidden = push.hidden = !speaks;
    hold.hidden = !speaks || !voice.push;
    mute.setAttribute("aria-pressed", String(voice.muted));
    push.setAttribute("aria-pressed", String(voice.push));
    hold.setAttribute("aria-pressed", String(voice.held));
    hold.disabled = voice.muted;
    setText(trouble, MICROPHONE[voice.microphone] ?? "");
    trouble.hidden = voice.state === "out" || trouble.textContent === "";
    again.hidden = voice.state !== "in" || !["refused", "none", "failed", "lost"].includes(voice.microphone);
    if (focused?.hidden) (again.hidden ? leave : again).focus();
  }
  return { node, trouble, again, draw };
}

/** What is held with a finger, the mouse, or the space bar while it has the focus. */
function holdButton(voice) {
  const node = button("Hold to talk", { icon: "microphone", kind: "primary hold", "aria-pressed": "false" });
  const end = () => voice.hold(false);
  node.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    node.setPointerCapture(event.pointerId);
    voice.hold(true);
  });
  for (const name of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) node.addEventListener(name, end);
  // Pressed by Enter or a screen reader, which do not hold: on, and off the next time.
  node.addEventListener("click", (event) => event.detail === 0 && voice.hold(!voice.held));
  node.addEventListener("contextmenu", (event) => event.preventDefault());
  return node;
}

/** The space bar as the button of push-to-talk, on the whole page. What comes back ends it. */
export function talkKey(voice) {
  // Whether the focus is where it is by a pointer, and not by the keyboard.
  let pointed = true;
  const point = () => (pointed = true);
  const down = (event) => {
    if (MOVES.has(event.key)) pointed = false;
    if (event.key !== " " || !voice.push || voice.state !== "in" || event.ctrlKey || event.altKey || event.metaKey) return;
    if (voice.held) return void event.preventDefault();
    if (!mayTalk(document.activeElement, pointed)) return undefined;
    event.preventDefault();
    if (!event.repeat) voice.hold(true);
    return undefined;
  };
  const up = (event) => {
    if (event.key !== " " || !voice.held) return;
    event.preventDefault();
    voice.hold(false);
  };
  const end = () => voice.hold(false);
  addEventListener("pointerdown", point, true);
  addEventListener("keydown", down);
  addEventListener("keyup", up);
  addEventListener("blur", end);
  return () => {
    removeEventListener("pointerdown", point, true);
    removeEventListener("keydown", down);
    removeEventListener("keyup", up);
    removeEventListener("blur", end);
  };
}

/** Whether the space bar is free for talking. It belongs to a text field, and to a control that was reached with the keyboard;
 *  one that was clicked lets go of it. */
function mayTalk(focused, pointed) {
  if (!focused || focused === document.body || focused.closest(".hold")) return true;
  if (focused.closest("input, textarea, select, [contenteditable], audio, video")) return false;
  if (!focused.closest("button, a, summary, [role=button]")) return true;
  if (!pointed) return false;
  focused.blur();
  return true;
}
