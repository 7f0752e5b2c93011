// One message as it is shown: text with links, a card for a file, a line for what happened, and how far an own one has come.

import { cardOf, fileChange } from "./cards.js";
import { button, el, face, icon } from "./dom.js";
import { bytes, clock, moment } from "./format.js";
import { parts } from "./linkify.js";
import { address } from "./router.js";
import { segments } from "./names.js";

const STATES = {
  waiting: { icon: "clock", words: () => "Waits for the connection" },
  sending: { icon: "clock", words: () => "Sending" },
  delivered: { icon: "check", words: () => "Delivered" },
  kept: { icon: "mail", words: (name) => `Will be delivered when ${name} is back` },
  unsure: { icon: "warn", words: () => "May have arrived" },
  failed: { icon: "warn", words: () => "Not sent" },
};

/** The element of a message; it is made anew when the message has changed. `act` has what its buttons do. */
export function bubble(message, { talk, names, act }) {
  const file = message.event ? fileChange(message.text) : null;
  if (file) return happened(message, file);
  const mine = Boolean(message.out || message.mine);
  const body = message.mail ? longMail(message, act) : content(message, act);
  const head = names && !mine ? el("span", { class: "author", text: message.from }) : null;
  const foot = el("span", { class: "foot" }, el("time", { datetime: new Date(message.at).toISOString(), title: moment(message.at), text: clock(message.at) }), mine ? stateOf(message, talk) : null);
  const who = el("span", { class: "unseen", text: mine ? "You: " : `${message.from}: ` });
  const box = el("div", { class: "bubble" }, who, head, body, foot);
  const trouble = message.state === "failed" || message.state === "unsure" ? troubleOf(message, act) : null;
  return el("div", { class: `message ${mine ? "mine" : "theirs"} ${message.state ?? ""}` }, names && !mine ? face(message.from, "small") : null, el("div", { class: "stack" }, box, trouble));
}

function happened(message, file) {
  const link = el("a", { href: address("files", ...segments(file.path).slice(0, -1)), text: file.words });
  return el("div", { class: "happened" }, el("span", { text: `${message.mine ? "You" : message.from} ` }), link, el("time", { datetime: new Date(message.at).toISOString(), title: moment(message.at), text: clock(message.at) }));
}

function content(message, act) {
  const card = cardOf(message.text);
  if (card) return act.card(card);
  const subject = /^Subject: (.{1,300})\n\n/u.exec(message.text);
  const text = subject ? message.text.slice(subject[0].length) : message.text;
  const box = el("div", { class: "text" }, subject && el("strong", { class: "subject", text: subject[1] }));
  for (const part of parts(text)) {
    if (part.href) box.append(el("a", { href: part.href, target: "_blank", rel: "noopener noreferrer nofollow", text: part.text }));
    else box.append(document.createTextNode(part.text));
  }
  return box;
}

function longMail(message, act) {
  return el("div", { class: "card" }, icon("mail", 28), el("div", { class: "card-words" }, el("strong", { text: "A long message" }), el("span", { text: bytes(message.mail.size) })),
    el("div", { class: "row" }, button("Save", { icon: "download", onclick: () => act.saveMail(message) }), button("Delete", { icon: "trash", quiet: true, onclick: () => act.dropMail(message) })));
}

function stateOf(message, talk) {
  const state = STATES[message.state];
  if (!state || (talk.kind === "workspace" && message.state === "delivered")) return null;
  const words = state.words(talk.name);
  return el("span", { class: `state ${message.state}`, title: words }, icon(state.icon, 16), message.state === "kept" ? el("span", { text: words }) : el("span", { class: "unseen", text: words }));
}

function troubleOf(message, act) {
  const words = `${STATES[message.state].words()}. ${message.why || ""}`.trim();
  return el("div", { class: "trouble" }, el("span", { text: words }),
    el("button", { type: "button", class: "link", text: "Send again", onclick: () => act.retry(message) }),
    el("button", { type: "button", class: "link", text: message.state === "unsure" ? "Leave it" : "Remove", onclick: () => act.settle(message) }));
}

/** What must be another for a message to be drawn anew. */
export function look(message) {
  return `${message.state ?? ""}|${message.at}|${message.why ?? ""}`;
}
