// Making elements. Whatever comes from others becomes text, never markup.

import { ICONS } from "./icons.js";

const SVG = "http://www.w3.org/2000/svg";

/** An element. `on…` are listeners, `class`, `text`, properties that are no attributes, and attributes. */
export function el(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** As `el`, of SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden", "selected", "indeterminate", "multiple"]);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false && !PROPERTIES.has(name)) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "text") element.textContent = value;
    else if (PROPERTIES.has(name) && name in element) element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** A picture from the list of icons; it says nothing to screen readers. */
export function icon(name, size = 20) {
  const shapes = ICONS[name].map((d) => svg("path", { d }));
  return svg("svg", { class: "icon", viewBox: "0 0 24 24", width: size, height: size, "aria-hidden": "true" }, ...shapes);
}

/** A button with a picture, and words that are read or shown. */
export function button(words, { icon: picture, kind = "", quiet = false, ...attributes } = {}) {
  const inner = [picture && icon(picture), quiet ? null : el("span", { text: words })];
  const name = quiet ? { "aria-label": words, title: words } : {};
  return el("button", { type: "button", class: `button ${quiet ? "quiet" : ""} ${kind}`.trim(), ...name, ...attributes }, ...inner);
}

/** A field with its label, and a place for words on what is wrong. */
export function field(label, input, hint = "") {
  const id = input.id || (input.id = `field-${nextId()}`);
  const help = el("p", { class: "hint", id: `${id}-hint`, text: hint, hidden: hint === "" });
  input.setAttribute("aria-describedby", help.id);
  const node = el("div", { class: "field" }, el("label", { for: id, text: label }), input, help);
  node.complain = (words) => {
    help.textContent = words || hint;
    help.hidden = help.textContent === "";
    help.classList.toggle("wrong", Boolean(words));
    if (words) input.setAttribute("aria-invalid", "true");
    else input.removeAttribute("aria-invalid");
  };
  return node;
}

let ids = 0;

/** A number for an id that no other element has. */
export function nextId() {
  return ++ids;
}

/** Makes the children of `parent` those of `items`, in order, and keeps the elements of what stays. */
export function keyed(parent, items, keyOf, make, update) {
  const before = parent.keyed ?? new Map();
  const after = new Map();
  let next = parent.firstChild;
  for (const item of items) {
    const key = keyOf(item);
    const node = before.get(key) ?? make(item);
    after.set(key, node);
    update?.(node, item);
    if (node === next) next = next.nextSibling;
    else parent.insertBefore(node, next);
  }
  for (const [key, node] of before) if (after.get(key) !== node) node.remove();
  parent.keyed = after;
}

/** Sets the text of an element only when it is another, so that nothing is drawn or read again. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** How much is unread, as a number to see and words to hear. */
export function unreadBadge() {
  return el("span", { class: "badge", hidden: true });
}

export function showUnread(badge, unread) {
  badge.hidden = unread === 0;
  const text = unread > 99 ? "99+" : String(unread);
  if (badge.firstChild?.textContent !== text) badge.replaceChildren(text, el("span", { class: "unseen", text: " unread" }));
}

/** A circle with the first letter of a name, its colour by the name. */
export function face(name, extra = "") {
  let sum = 0;
  for (const character of name) sum = (sum * 31 + character.codePointAt(0)) >>> 0;
  const letter = [...name][0] ?? "?";
  return el("span", { class: `face tint-${sum % 8} ${extra}`.trim(), "aria-hidden": "true", text: letter.toUpperCase() });
}

/** A place where there is nothing yet, and what to do about it. */
export function empty(picture, title, words, ...actions) {
  return el("div", { class: "empty" }, icon(picture, 40), el("h2", { text: title }), el("p", { text: words }), el("div", { class: "row" }, ...actions));
}

/** While something loads. */
export function loading(words = "Loading…") {
  return el("div", { class: "loading", role: "status" }, el("span", { class: "spinner", "aria-hidden": "true" }), el("span", { text: words }));
}

/** Arrow keys, Home and End move the focus among the elements of `selector` in a list. */
export function arrows(list, selector) {
  list.addEventListener("keydown", (event) => {
    const all = [...list.querySelectorAll(selector)].filter((one) => !one.hidden && one.offsetParent !== null);
    const at = all.indexOf(document.activeElement.closest(selector));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
    if (to === undefined || at < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    all[Math.max(0, Math.min(to, all.length - 1))]?.focus();
  });
}

/** Runs `work` before the browser draws next, once, however often it is asked for. */
export function soon(work) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    const run = () => {
      asked = false;
      work();
    };
    if (document.hidden) setTimeout(run, 50);
    else requestAnimationFrame(run);
  };
}
