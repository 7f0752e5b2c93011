// Conversations: what came, what goes out, what is unread. The history is the truth; this holds the list in memory and
// tells `list` (the conversations), `message` (one is new or changed), `gone` (one is no more), `reload` (another tab did something).

import { cardOf } from "./cards.js";
import { Emitter } from "./emitter.js";
import { fold } from "./names.js";
import { Counter } from "./repeats.js";
import { split, textOf } from "./wire.js";

const TOGETHER = 60;

/** The conversation with a user. */
export function userTalk(name) {
  return { id: `u:${fold(name)}`, kind: "user", name };
}

export class Talks extends Emitter {
  list = new Map();
  /** The conversation that the person looks at now; empty: none. */
  open = "";
  #history;
  #counter = new Counter();
  #channel;
  #others = new Set();

  constructor(history, user) {
    super();
    this.#history = history;
    this.user = user;
    this.#channel = new BroadcastChannel(`convergia-${user}`);
    this.#channel.onmessage = (event) => this.#heard(event.data.talk);
  }

  async load() {
    for (const talk of await this.#history.talks()) this.list.set(talk.id, talk);
    this.emit("list");
  }

  close() {
    this.#channel.close();
  }

  /** What comes from now on comes on another connection. */
  newConnection() {
    this.#counter.newConnection();
  }

  /** RECEIVEMESSAGE. Is done when it is stored. */
  async receive(data) {
    const fields = split(data, 3);
    if (!fields) return;
    const [from, at] = [textOf(fields[0]), Number(textOf(fields[1]))];
    const key = this.#counter.keyOf(from, at, fields[2]);
    const own = fold(from) === fold(this.user);
    await this.take({ key, from, at, text: textOf(fields[2]), mine: own }, userTalk(from));
  }

  /** Takes a message of somebody into a conversation, once. */
  async take(message, talk, counts = true) {
    const looking = this.open === talk.id && !document.hidden;
    const own = Boolean(message.mine);
    const taken = await this.#history.receive(message, talk, counts && !looking && !own);
    if (!taken) return false;
    const card = cardOf(message.text);
    if (card && !own) await this.#history.keepFile({ ...card, from: message.from, at: message.at });
    this.list.set(talk.id, taken.talk);
    this.emit("message", taken.message, { fresh: true, loud: counts && !own });
    this.#changed(talk.id);
    return true;
  }

  /** Puts an own message. */
  async put(message, talk) {
    const { message: record, talk: next } = await this.#history.put(message, talk);
    this.list.set(talk.id, next);
    this.emit("message", record, { fresh: false, loud: false });
    this.#changed(talk.id);
    return record;
  }

  async remove(message) {
    await this.#history.remove(message.key);
    this.emit("gone", message);
    this.#changed(message.talk);
  }

  /** The person has seen the conversation. */
  async read(id) {
    if (!this.list.get(id)?.unread) return;
    this.list.get(id).unread = 0;
    this.emit("list");
    await this.#history.changeTalk(id, { unread: 0 });
    this.#channel.postMessage({ talk: id });
  }

  /** Remembers something of a conversation, and makes it when there is none. */
  async mark(talk, changes) {
    const next = await this.#history.mark(talk, changes);
    this.list.set(talk.id, next);
  }

  /** Forgets a conversation and its messages, here alone. */
  async forget(id) {
    await this.#history.removeTalk(id);
    this.list.delete(id);
    this.emit("list");
    this.#channel.postMessage({ talk: id });
  }

  page(id, before, limit) {
    return this.#history.page(id, before, limit);
  }

  /** How many messages are not read in conversations of a kind. */
  unread(kind) {
    let sum = 0;
    for (const talk of this.list.values()) if (!kind || talk.kind === kind) sum += talk.unread;
    return sum;
  }

  /** The conversations of a kind, the newest first. */
  sorted(kind) {
    return [...this.list.values()].filter((talk) => talk.kind === kind && talk.at > 0).sort((a, b) => b.at - a.at);
  }

  #changed(id) {
    this.emit("list");
    this.#channel.postMessage({ talk: id });
  }

  /** Another tab has changed a conversation. What comes at once is looked at once. */
  #heard(talk) {
    if (this.#others.size === 0) setTimeout(() => this.#otherTab().catch(() => undefined), TOGETHER);
    this.#others.add(talk);
  }

  async #otherTab() {
    const changed = [...this.#others];
    this.#others.clear();
    const talks = await this.#history.talks();
    this.list = new Map(talks.map((one) => [one.id, one]));
    this.emit("list");
    for (const talk of changed) this.emit("reload", talk);
  }
}
