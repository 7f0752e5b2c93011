// Lines over time, as SVG, with a hand to read values by mouse, finger, or arrow keys.

import { el, svg } from "./dom.js";
import { moment } from "./format.js";

const [WIDTH, HEIGHT, BOTTOM] = [600, 170, 150];
const POINTS = 240;

/** `times` in ms; `series`: `{ name, values, kind }`; `format(value)` in words. `peaks`: the largest of neighbours counts, else their mean. */
export function chart({ title, times, series, format, peaks = false }) {
  const step = Math.max(1, Math.ceil(times.length / POINTS));
  const thin = (values) => Array.from({ length: Math.ceil(values.length / step) }, (_, n) => {
    const group = values.slice(n * step, (n + 1) * step);
    return peaks ? Math.max(...group) : group.reduce((sum, value) => sum + value, 0) / group.length;
  });
  const at = times.filter((_, n) => n % step === 0);
  const lines = series.map((one) => ({ ...one, points: thin(one.values) }));
  const top = Math.max(1, ...lines.flatMap((line) => line.points)) * 1.1;
  const x = (n) => (at.length > 1 ? (n / (at.length - 1)) * WIDTH : WIDTH / 2);
  const y = (value) => BOTTOM - (value / top) * (BOTTOM - 8);
  const path = (points) => points.map((value, n) => `${n ? "L" : "M"}${x(n).toFixed(1)} ${y(value).toFixed(1)}`).join("");
  const hand = svg("line", { class: "hand", y1: 4, y2: BOTTOM, x1: 0, x2: 0 });
  const reading = el("p", { class: "reading", "aria-live": "off" });
  const last = at.length - 1;
  const say = (n) => {
    hand.setAttribute("x1", x(n));
    hand.setAttribute("x2", x(n));
    reading.textContent = at.length === 0 ? "No samples yet" : `${moment(at[n])}: ${lines.map((line) => `${line.name} ${format(line.points[n])}`).join(", ")}`;
  };
  const most = lines.map((line) => `${line.name} now ${format(line.points[last] ?? 0)}, at most ${format(Math.max(0, ...line.points))}`).join("; ");
  const marks = [0.25, 0.5, 0.75, 1].map((part) => svg("line", { class: "mark", x1: 0, x2: WIDTH, y1: y((top / 1.1) * part), y2: y((top / 1.1) * part) }));
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "chart", role: "img", tabindex: "0", "aria-label": `${title}, the last ${at.length > 0 ? Math.round((at[last] - at[0]) / 3_600_000) : 0} hours: ${most}` },
    ...marks, ...lines.map((line, n) => svg("path", { class: `series series-${n}`, d: path(line.points) })), hand);
  let now = last;
  picture.addEventListener("pointermove", (event) => {
    const box = picture.getBoundingClientRect();
    now = Math.max(0, Math.min(last, Math.round(((event.clientX - box.left) / box.width) * last)));
    say(now);
  });
  picture.addEventListener("pointerleave", () => say((now = last)));
  picture.addEventListener("keydown", (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, PageUp: -12, PageDown: 12 }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    now = Math.max(0, Math.min(last, now + move));
    say(now);
  });
  say(last);
  const key = el("ul", { class: "chart-key" }, ...lines.map((line, n) => el("li", { class: `key-${n}`, text: line.name })));
  return el("figure", { class: "chart-box" }, el("figcaption", {}, el("strong", { text: title }), key), el("div", { class: "chart-scale" }, el("span", { text: format(top / 1.1) }), picture), reading);
}
