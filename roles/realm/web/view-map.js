// The server map as a picture that changes by itself, and the same as a table.

import { button, el, empty, keyed, setText, soon, svg } from "./dom.js";
import { count } from "./format.js";
import { kindOf, layout, NARROW, WIDE } from "./map-layout.js";

const WORDS = { management: "Management", main: "Main server", storage: "Data management", data: "Data server", person: "Person", crowd: "People", other: "Server" };
const SHAPES = {
  management: "M0-30L30 0 0 30-30 0z",
  main: "M-27-20h54a7 7 0 0 1 7 7v26a7 7 0 0 1-7 7h-54a7 7 0 0 1-7-7v-26a7 7 0 0 1 7-7z",
  storage: "M-15-26h30l15 26-15 26h-30l-15-26z",
  data: "M-24-16c0-6 11-10 24-10s24 4 24 10v32c0 6-11 10-24 10s-24-4-24-10zM-24-16c0 6 11 10 24 10s24-4 24-10",
  person: "M-13 0a13 13 0 1 0 26 0a13 13 0 1 0-26 0z",
  crowd: "M-30 0a30 30 0 1 0 60 0a30 30 0 1 0-60 0z",
  other: "M-12-28h24l16 16v24l-16 16h-24l-16-16v-24z",
};

export function mapView({ account }) {
  const { people } = account;
  const narrow = matchMedia("(max-width: 760px)");
  let away = false;
  const edges = svg("g", { class: "edges" });
  const spots = svg("g", { class: "spots" });
  const picture = svg("svg", { class: "map", role: "img", "aria-labelledby": "map-summary" }, edges, spots);
  const summary = el("p", { id: "map-summary", class: "quiet-words", role: "status" });
  const body = el("tbody", {});
  const table = el("div", { class: "table-box", hidden: true, tabindex: "0", role: "region", "aria-label": "The server map as a table" }, el("table", {}, el("caption", { class: "unseen", text: "Servers and people" }),
    el("thead", {}, el("tr", {}, ...["Name", "What", "Status", "Notes", "Connected to"].map((text) => el("th", { scope: "col", text })))), body));
  const stage = el("div", { class: "map-box" }, picture);
  const asTable = button("As a table", { "aria-pressed": "false", onclick: () => {
    table.hidden = !table.hidden;
    stage.hidden = !table.hidden;
    legend.hidden = !table.hidden;
    asTable.setAttribute("aria-pressed", String(!table.hidden));
    draw();
  } });
  const everybody = button("Who is away, too", { "aria-pressed": "false", onclick: () => {
    away = !away;
    everybody.setAttribute("aria-pressed", String(away));
    draw();
  } });
  const legend = el("ul", { class: "legend" }, ...["management", "main", "storage", "data", "person"].map((kind) =>
    el("li", {}, svg("svg", { viewBox: "-36 -36 72 72", width: 22, height: 22, "aria-hidden": "true", class: `node ${kind} online` }, svg("path", { d: SHAPES[kind] })), el("span", { text: WORDS[kind] }))),
    el("li", {}, svg("svg", { viewBox: "-36 -36 72 72", width: 22, height: 22, "aria-hidden": "true", class: "node main offline" }, svg("path", { d: SHAPES.main })), el("span", { text: "Offline" })));
  const none = empty("map", "The map is not here yet", "It comes when the server answers.");
  const node = el("section", { class: "page map-page", "aria-labelledby": "map-title" }, el("header", {}, el("div", {}, el("h1", { id: "map-title", text: "Server map" }), summary), el("div", { class: "tools" }, everybody, asTable)), none, stage, legend, table);

  function make({ node: one, kind, count: many }) {
    const title = svg("title", {});
    const label = svg("text", { class: "name", y: kind === "person" ? 29 : 45 });
    const note = svg("text", { class: "note", y: kind === "person" ? 43 : 61 });
    const inner = svg("text", { class: "inner", y: 6, text: kind === "crowd" ? String(many) : kind === "person" ? [...one.name][0]?.toUpperCase() : "" });
    return Object.assign(svg("g", {}, title, svg("path", { d: SHAPES[kind] }), inner, label, note), { title, label, note });
  }

  function update(spot, { node: one, kind, x, y }) {
    spot.setAttribute("class", `node ${kind} ${one.status === "online" ? "online" : "offline"}`);
    spot.style.transform = `translate(${x}px, ${y}px)`;
    setText(spot.title, `${WORDS[kind]} ${one.name}: ${one.status}${one.notes ? `, ${one.notes}` : ""}`);
    setText(spot.label, cut(one.name, kind === "person" ? 12 : 22));
    const said = one.notes || (kind === "person" || kind === "crowd" ? "" : WORDS[kind].toLowerCase());
    setText(spot.note, one.status === "online" ? cut(said, kind === "person" ? 14 : 26) : kind === "person" ? "away" : "offline");
  }

  function edge(line, { from, to }) {
    for (const [name, value] of Object.entries({ x1: from.x, y1: from.y, x2: to.x, y2: to.y })) line.setAttribute(name, value);
    line.setAttribute("class", from.kind === "person" || to.kind === "person" ? "edge thin" : "edge");
  }

  const draw = soon(() => {
    const nodes = [...people.nodes.values()];
    none.hidden = nodes.length > 0;
    stage.hidden = nodes.length === 0 || !table.hidden;
    const online = nodes.filter((one) => one.status === "online");
    const persons = online.filter((one) => one.type === "client").length;
    const users = nodes.filter((one) => one.type === "client" && one.notes !== "deleted").length;
    setText(summary, nodes.length === 0 ? "" : `${count(online.length - persons, "server")} online, ${persons} of ${count(users, "person", "people")} signed in.`);
    if (table.hidden) {
      const size = narrow.matches ? NARROW : WIDE;
      picture.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
      const { places, lines } = layout(nodes, away, size);
      keyed(edges, lines, (line) => line.key, () => svg("line", {}), edge);
      keyed(spots, [...places.values()], (place) => `${place.node.id} ${place.kind} ${place.count}`, make, update);
    } else {
      const shown = nodes.filter((one) => away || one.status === "online" || one.type !== "client").sort((a, b) => Number(a.type === "client") - Number(b.type === "client") || a.name.localeCompare(b.name)).slice(0, 2000);
      keyed(body, shown, (one) => JSON.stringify(one), (one) => el("tr", {}, el("th", { scope: "row", text: one.name }), ...[WORDS[kindOf(one.type)], one.status, one.notes, one.links.map(nameOf).join(", ")].map((text) => el("td", { text }))));
    }
  });
  function nameOf(id) {
    const other = people.nodes.get(id);
    if (!other) return id;
    return other.type === "client" ? other.name : `${other.name} (${WORDS[kindOf(other.type)].toLowerCase()})`;
  }

  const end = people.on("change", draw);
  narrow.addEventListener("change", draw);
  draw();
  return { node, show: () => undefined, dispose: () => { end(); narrow.removeEventListener("change", draw); } };
}

function cut(text, most) {
  const all = [...text];
  return all.length > most ? `${all.slice(0, most - 1).join("")}…` : text;
}
