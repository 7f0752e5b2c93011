// What the operator of the server sees and does: the packet OPERATOR (docs/protocol.md), part by part.

import { chart } from "./chart.js";
import { form, toast } from "./dialog.js";
import { button, el, empty, field, loading } from "./dom.js";
import { words } from "./fail.js";
import { bytes, number, span } from "./format.js";
import { invitesPart } from "./operator-invites.js";
import { serversPart } from "./operator-servers.js";
import { sessionsPart } from "./operator-sessions.js";
import { usersPart } from "./operator-users.js";
import { address } from "./router.js";
import { pairs, rows } from "./wire.js";

const PARTS = { overview: ["Overview", overviewPart], users: ["Users", usersPart], invites: ["Invites", invitesPart], sessions: ["Sessions", sessionsPart], servers: ["Servers", serversPart] };
const AGAIN = 60_000;
/** What of the STATUS is shown large; the rest can be opened. */
const MAIN_FACTS = ["users", "online", "up for", "registration", "bytes stored", "connections", "version"];

export function operatorView({ session }) {
  // The first field is the command of the operator, the others are its data.
  const operate = (...request) => session.link.request("OPERATOR", ...request);
  const look = (...request) => session.link.ask("OPERATOR", ...request);
  const place = el("div", { class: "part" });
  const tabs = el("ul", { class: "part-tabs" }, ...Object.entries(PARTS).map(([name, [title]]) => el("li", {}, el("a", { href: address("operator", name), text: title, "data-part": name }))));
  const node = el("section", { class: "page operator", "aria-labelledby": "operator-title" }, el("header", {}, el("h1", { id: "operator-title", text: "Operator" }), el("div", { class: "tools" }, button("Notice to all", { icon: "bell", onclick: () => notice(operate) }))),
    el("nav", { "aria-label": "Parts of the administration" }, tabs), place);
  let part = null;
  let current = "";

  function show([wanted = "overview"]) {
    const name = PARTS[wanted] ? wanted : "overview";
    for (const link of tabs.querySelectorAll("a")) {
      if (link.dataset.part !== name) {
        link.removeAttribute("aria-current");
        continue;
      }
      link.setAttribute("aria-current", "page");
      link.scrollIntoView({ block: "nearest", inline: "center" });
    }
    if (name === current) return;
    part?.dispose?.();
    current = name;
    part = PARTS[name][1]({ operate, look, session });
    place.replaceChildren(part.node);
  }
  return { node, show, dispose: () => part?.dispose?.() };
}

/** How the server is, in numbers and lines. */
function overviewPart({ look }) {
  const facts = el("dl", { class: "numbers" });
  const others = el("dl", { class: "facts" });
  const more = el("details", { class: "more" }, el("summary", { text: "All that the server says" }), others);
  const charts = el("div", { class: "charts" }, loading());
  const node = el("div", {}, facts, more, charts);
  const load = () => {
    look("STATUS").then((data) => status(pairs(data))).catch((error) => facts.replaceChildren(el("p", { class: "error", text: words(error) })));
    look("SAMPLES").then((data) => drawCharts(charts, rows(data).map((row) => row.map(Number)))).catch((error) => charts.replaceChildren(empty("warn", "No graphs", words(error))));
  };
  const status = (said) => {
    facts.replaceChildren(...MAIN_FACTS.filter((key) => said.has(key)).map((key) => el("div", {}, el("dt", { text: key }), el("dd", { text: shown(key, said.get(key)) }))));
    others.replaceChildren(...[...said].filter(([, value]) => value !== "").flatMap(([key, value]) => [el("dt", { text: key }), el("dd", { text: shown(key, value) })]));
  };
  load();
  const timer = setInterval(() => document.hidden || load(), AGAIN);
  return { node, dispose: () => clearInterval(timer) };
}

function shown(key, value) {
  if (key === "up for" && /^\d+ s$/u.test(value)) return span(parseInt(value, 10) * 1000);
  if (!/^\d+$/u.test(value)) return value;
  return /bytes|stored|capacity|used|free/u.test(key) ? bytes(value) : number(Number(value));
}

function drawCharts(place, samples) {
  if (samples.length === 0) {
    place.replaceChildren(empty("clock", "No samples yet", "The server takes one a minute. Come back in a moment."));
    return;
  }
  const column = (n) => samples.map((sample) => sample[n] ?? 0);
  const times = column(0);
  const whole = (value) => number(Math.round(value));
  place.replaceChildren(
    chart({ title: "Sessions", times, format: whole, peaks: true, series: [{ name: "signed in", values: column(1) }] }),
    chart({ title: "Messages a minute", times, format: whole, series: [{ name: "messages", values: column(2) }] }),
    chart({ title: "Traffic a minute", times, format: (value) => bytes(value), series: [{ name: "in", values: column(3) }, { name: "out", values: column(4) }] }),
    chart({ title: "Storage", times, format: (value) => bytes(value), peaks: true, series: [{ name: "stored", values: column(5) }, { name: "capacity", values: column(6) }] }));
}

async function notice(operate) {
  const text = el("textarea", { rows: "4", maxlength: "2000" });
  const done = await form("Notice to all", [field("Text", text, "Everybody who is signed in sees it at once.")], "Tell everybody", async () => {
    if (text.value.trim() !== "") await operate("NOTICE", text.value.trim());
  }, (error) => words(error));
  if (done) toast("Everybody who is signed in was told.");
}

