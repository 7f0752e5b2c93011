// A look at a file: pictures, sound, film, and plain text.

import { dialog } from "./dialog.js";
import { button, el, loading } from "./dom.js";
import { words } from "./fail.js";
import { bytes } from "./format.js";
import { kindOf, LARGEST } from "./file-kinds.js";
import { lastOf } from "./names.js";

/** Whether there is something to show. */
export function canShow(name, size) {
  return size > 0 && size <= LARGEST[kindOf(name).kind];
}

/** Shows a file in a dialog. */
export async function preview(account, path, size) {
  const { kind, type } = kindOf(path);
  const stop = new AbortController();
  let url = "";
  const place = el("div", { class: "preview" }, loading());
  const wait = dialog(lastOf(path), () => el("div", { class: "body" }, place,
    el("footer", {}, el("span", { class: "quiet-words", text: bytes(size) }), button("Save", { icon: "download", onclick: () => account.transfers.download(path, size).catch(() => undefined) }))), { wide: true });
  account.storage.download(path, { type, signal: stop.signal }).then(async (blob) => {
    if (kind === "text") {
      place.replaceChildren(el("pre", { tabindex: "0", text: await blob.text() }));
      return;
    }
    if (stop.signal.aborted) return;
    url = URL.createObjectURL(blob);
    place.replaceChildren(media(kind, url, lastOf(path), place));
  }).catch((error) => stop.signal.aborted || place.replaceChildren(el("p", { class: "error", text: words(error) })));
  await wait;
  stop.abort();
  if (url) URL.revokeObjectURL(url);
}

function media(kind, url, name, place) {
  const broken = () => place.replaceChildren(el("p", { class: "error", text: "The browser cannot show this file. Save it, and open it with a program." }));
  if (kind === "image") return el("img", { src: url, alt: name, onerror: broken });
  return el(kind === "sound" ? "audio" : "video", { src: url, controls: true, "aria-label": name, onerror: broken });
}

/** Small pictures in conversations: fetched when they come into view, and given back together. */
export class Thumbnails {
  #account;
  #urls = new Map();
  #stop = new AbortController();
  #watcher = new IntersectionObserver((entries) => entries.forEach((entry) => entry.isIntersecting && this.#seen(entry.target)));

  constructor(account) {
    this.#account = account;
  }

  /** An element for a picture, or null when it is none or too large. */
  of(card) {
    const { kind, type } = kindOf(card.name);
    if (kind !== "image" || card.size === 0 || card.size > 4_000_000) return null;
    const image = el("img", { class: "thumbnail", alt: card.name });
    image.wanted = { path: card.path, type };
    if (this.#urls.has(card.path)) image.src = this.#urls.get(card.path);
    else this.#watcher.observe(image);
    return image;
  }

  async #seen(image) {
    this.#watcher.unobserve(image);
    const { path, type } = image.wanted;
    try {
      if (!this.#urls.has(path)) {
        const blob = await this.#account.storage.download(path, { type, signal: this.#stop.signal });
        if (this.#stop.signal.aborted) return;
        if (!this.#urls.has(path)) this.#urls.set(path, URL.createObjectURL(blob));
      }
      image.src = this.#urls.get(path);
      image.onerror = () => image.classList.add("broken");
    } catch {
      image.classList.add("broken");
    }
  }

  dispose() {
    this.#stop.abort();
    this.#watcher.disconnect();
    for (const url of this.#urls.values()) URL.revokeObjectURL(url);
  }
}
