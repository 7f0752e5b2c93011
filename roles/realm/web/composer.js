// The place to write a message: Enter sends, Shift and Enter begins a line, files are attached by a button or pasted.

import { toast } from "./dialog.js";
import { button, el } from "./dom.js";

// A packet takes 1 MiB with the recipient; what is longer goes as a file.
const LONGEST = 1_000_000;

export function composer({ label, send, files }) {
  const text = el("textarea", { rows: "1", "aria-label": label, placeholder: label, enterkeyhint: "send", autocomplete: "off" });
  const chooser = el("input", { type: "file", multiple: true, class: "unseen", tabindex: "-1", "aria-hidden": "true", onchange: () => {
    files([...chooser.files]);
    chooser.value = "";
  } });
  const go = button("Send", { icon: "send", quiet: true, kind: "primary round", type: "submit" });
  const node = el("form", { class: "composer", onsubmit: (event) => (event.preventDefault(), submit()) }, chooser,
    button("Attach files", { icon: "attach", quiet: true, kind: "round", onclick: () => chooser.click() }), text, go);

  function grow() {
    text.style.height = "auto";
    text.style.height = `${Math.min(text.scrollHeight + 2, 200)}px`;
  }

  function submit() {
    const written = text.value.replace(/\s+$/u, "");
    if (written.trim() === "") return;
    if (new TextEncoder().encode(written).length > LONGEST) {
      toast("This is too long for a message. Send it as a file.", "wrong");
      return;
    }
    text.value = "";
    grow();
    text.focus();
    send(written);
  }

  text.addEventListener("input", grow);
  text.addEventListener("keydown", (event) => {
    // While an input method is composing, Enter chooses a character.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  text.addEventListener("paste", (event) => {
    const pasted = [...(event.clipboardData?.files ?? [])];
    if (pasted.length === 0) return;
    event.preventDefault();
    files(pasted);
  });
  return { node, focus: () => text.focus({ preventScroll: true }) };
}
