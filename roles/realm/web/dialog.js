// Dialogs: the browser's own, so that Escape closes them, the focus stays within, and goes back afterwards.

import { button, el, nextId } from "./dom.js";

/** Shows a dialog with `content`; `actions` are buttons. Is done with what `close(value)` was given; Escape: null. */
export function dialog(title, build, { wide = false } = {}) {
  return new Promise((resolve) => {
    const id = `dialog-${nextId()}`;
    const box = el("dialog", { class: wide ? "wide" : "", "aria-labelledby": id });
    let value = null;
    const close = (given = null) => {
      value = given;
      box.close();
    };
    const content = build(close);
    const head = el("header", {}, el("h2", { id, text: title }), button("Close", { icon: "close", quiet: true, onclick: () => close() }));
    box.append(head, content);
    box.addEventListener("close", () => {
      box.remove();
      resolve(value);
    });
    // A click beside the dialog closes it, as Escape does.
    box.addEventListener("mousedown", (event) => event.target === box && close());
    document.body.append(box);
    box.showModal();
    (content.querySelector("[data-first], input, textarea, select") ?? content.querySelector("button"))?.focus();
  });
}

/** Asks before something is done that cannot be undone. */
export function confirm(title, words, action) {
  return dialog(title, (close) => el("div", { class: "body" },
    el("p", { text: words }),
    el("footer", {}, button("Cancel", { onclick: () => close(false), "data-first": true }), button(action, { kind: "danger", onclick: () => close(true) })),
  )).then(Boolean);
}

/** A form in a dialog. `submit(values)` does it; what it throws is said in the form by `words`. Is done with true when it worked. */
export function form(title, fields, action, submit, words) {
  return dialog(title, (close) => {
    const wrong = el("p", { class: "error", role: "alert", hidden: true });
    const go = button(action, { kind: "primary", type: "submit" });
    return el("form", {
      class: "body",
      novalidate: true,
      onsubmit: async (event) => {
        event.preventDefault();
        if (go.disabled) return;
        go.disabled = true;
        wrong.hidden = true;
        try {
          await submit();
          close(true);
        } catch (error) {
          wrong.textContent = words(error);
          wrong.hidden = false;
          go.disabled = false;
        }
      },
    }, ...fields, wrong, el("footer", {}, button("Cancel", { onclick: () => close() }), go));
  }).then(Boolean);
}

/** A word of the page itself that a form says as it is. */
export class Complaint extends Error {}

/** A short message at the edge, read out too. */
export function toast(words, kind = "") {
  const place = document.getElementById("toasts");
  const node = el("div", { class: `toast ${kind}` }, el("span", { text: words }), button("Dismiss", { icon: "close", quiet: true, onclick: () => node.remove() }));
  place.append(node);
  while (place.children.length > 4) place.firstChild.remove();
  // What the operator says stays until it was read.
  if (kind !== "notice") setTimeout(() => node.remove(), kind === "wrong" ? 12_000 : 6_000);
}
