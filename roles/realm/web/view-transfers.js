// Files on their way: progress, rate, and an end to it.

import { button, el, icon, keyed, setText, soon } from "./dom.js";
import { bytes, count, rate } from "./format.js";

// What is done within this time is not worth a box; what is done stays to be seen for that one.
const QUICK = 700;
const DONE = 2500;

export function transfersView(transfers) {
  const title = el("h2", {});
  const list = el("ul", {});
  const node = el("aside", { class: "transfers", "aria-label": "Files on their way", hidden: true },
    el("header", {}, title, button("Clear finished", { icon: "close", quiet: true, onclick: () => transfers.clear() })), list);

  let began = 0;

  function make(one) {
    const bar = el("progress", { max: "1", value: 0, "aria-label": `${one.up ? "Upload" : "Download"} of ${one.name}` });
    const parts = { bar, words: el("span", { class: "quiet-words" }), stop: button(`Cancel ${one.name}`, { icon: "close", quiet: true, onclick: () => transfers.cancel(one) }) };
    const item = el("li", {}, icon(one.up ? "upload" : "download"), el("div", { class: "item-words" }, el("strong", { text: one.name }), bar, parts.words), parts.stop);
    item.parts = parts;
    return item;
  }

  function update({ parts }, one) {
    const going = one.state === "running" || one.state === "waiting";
    parts.bar.value = one.size > 0 ? one.done / one.size : Number(one.state === "done");
    parts.bar.hidden = !going;
    parts.stop.hidden = !going;
    const said = { waiting: "Waits", running: `${bytes(one.done)} of ${bytes(one.size)} · ${rate(one.rate)}`, done: `Done · ${bytes(one.size)}`, failed: one.why, ended: "Cancelled" };
    setText(parts.words, said[one.state]);
    parts.words.classList.toggle("wrong", one.state === "failed");
  }

  const draw = soon(() => {
    const going = transfers.list.filter((one) => one.state === "running" || one.state === "waiting").length;
    if (transfers.list.length === 0) [node.hidden, began] = [true, 0];
    else if (transfers.list.some((one) => one.state === "failed") || Date.now() - began > QUICK) node.hidden = false;
    setText(title, going > 0 ? `${count(going, "file")} on the way` : "Files");
    // The newest first, and not without end.
    keyed(list, transfers.list.slice(-50).reverse(), (one) => one.id, make, update);
  });
  let clearing = 0;
  let showing = 0;
  const end = transfers.on("change", () => {
    if (began === 0 && transfers.busy) {
      began = Date.now();
      showing = setTimeout(draw, QUICK + 50);
    }
    draw();
    clearTimeout(clearing);
    // What has worked goes by itself; what has failed stays until it is read.
    if (!transfers.busy && transfers.list.every((one) => one.state === "done")) clearing = setTimeout(() => transfers.clear(), node.hidden ? 0 : DONE);
  });
  draw();
  return { node, dispose: () => { end(); clearTimeout(clearing); clearTimeout(showing); } };
}
