// What a person writes, on its way: one after another for each conversation, in the order written, also over breaks of the
// connection. A message whose answer was lost is never sent again by itself: it may have arrived.

import { words } from "./fail.js";
import { fold } from "./names.js";
import { textOf } from "./wire.js";

const BUSY_WAIT = 1500;
const UNSURE = "The connection broke before the answer.";

export class Outbox {
  #link;
  #talks;
  #history;
  #workspaces;
  #queues = new Map();
  #running = new Set();
  #tab = crypto.randomUUID?.() ?? String(Math.random());

  constructor(link, talks, history, workspaces) {
    this.#link = link;
    this.#talks = talks;
    this.#history = history;
    this.#workspaces = workspaces;
    // Held as long as this tab lives, so that others know whose messages they may take over.
    navigator.locks?.request(`convergia-tab-${this.#tab}`, () => new Promise(() => undefined));
  }

  /** Writes a text into a conversation; it goes as soon as it can. */
  async send(talk, text) {
    const message = { key: `o|${this.#tab}|${crypto.getRandomValues(new Uint32Array(2)).join("")}`, out: true, from: this.#talks.user, at: Date.now(), text, state: "waiting", tab: this.#tab };
    this.#enqueue(talk, await this.#talks.put(message, talk));
  }

  /** Sends again what was not sent, or may not have arrived: the person says so. */
  async retry(talk, message) {
    const again = { ...message, at: Date.now(), state: "waiting", why: "", tab: this.#tab };
    delete again.n;
    this.#enqueue(talk, await this.#talks.put(again, talk));
  }

  /** Takes over what tabs left that are no more: what waited goes out, what was under way may have arrived. */
  async resume() {
    const living = new Set((await navigator.locks?.query())?.held?.map((lock) => lock.name));
    for (const message of await this.#history.queue()) {
      const talk = this.#talks.list.get(message.talk);
      if (!talk || message.tab === this.#tab || living.has(`convergia-tab-${message.tab}`)) continue;
      const state = message.state === "waiting" ? "waiting" : "unsure";
      const taken = await this.#talks.put({ ...message, tab: this.#tab, state, why: state === "unsure" ? UNSURE : "" }, talk);
      if (state === "waiting") this.#enqueue(talk, taken);
    }
  }

  #enqueue(talk, message) {
    const queue = this.#queues.get(talk.id) ?? [];
    queue.push({ talk, message });
    this.#queues.set(talk.id, queue);
    this.#run(talk.id);
  }

  async #run(id) {
    if (this.#running.has(id)) return;
    this.#running.add(id);
    const queue = this.#queues.get(id);
    try {
      while (queue.length > 0) {
        await this.#link.ready();
        if (await this.#post(queue[0])) queue.shift();
        else await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT));
      }
    } catch {
      // The link was closed: the person signed out. What waits stays in the history.
    } finally {
      this.#running.delete(id);
    }
  }

  /** Whether it is done with, one way or the other; false: the same again later. */
  async #post(entry) {
    const set = async (state, why = "") => {
      entry.message = await this.#talks.put({ ...entry.message, state, why }, entry.talk);
      return state !== "waiting";
    };
    await set("sending");
    if (this.#link.state !== "ready") return set("waiting");
    try {
      if (entry.talk.kind === "workspace") return await this.#change(entry);
      await this.#link.request("SENDMESSAGE", entry.talk.name, entry.message.text);
      if (fold(entry.talk.name) !== fold(this.#talks.user)) return await set("delivered");
      // To oneself: it comes back as a message, and that is the one that is kept.
      await this.#talks.remove(entry.message);
      return true;
    } catch (error) {
      switch (error.code) {
        case "OFFLINE": return this.#mail(entry, set);
        case "BUSY": return set("waiting");
        case "LOST": return set("unsure", UNSURE);
        case "UNAVAILABLE": return set("unsure", "The server of the other side could not be reached.");
        case "NOTFOUND": return set("failed", "There is nobody with this name here.");
        default: return set("failed", words(error, { TOOLONG: "It is too long.", DENIED: "You may not write here." }));
      }
    }
  }

  /** The recipient is not signed in: the message is kept for them. */
  async #mail(entry, set) {
    let sent = false;
    try {
      const id = textOf(await this.#link.request("INITOFFLINEMESSAGE", entry.talk.name));
      await this.#link.request("APPENDOFFLINEMESSAGE", id, entry.message.text);
      sent = true;
      await this.#link.request("SENDOFFLINEMESSAGE", id);
      return await set("kept");
    } catch (error) {
      if (error.code === "BUSY") return set("waiting");
      // Before SENDOFFLINEMESSAGE nothing was sent, so it may begin anew.
      if (error.code === "LOST") return sent ? set("unsure", UNSURE) : set("waiting");
      if (error.code === "UNAVAILABLE" && sent) return set("unsure", UNSURE);
      return set("failed", words(error, {
        UNAVAILABLE: `${entry.talk.name} is away, and messages cannot be kept now.`,
        QUOTA: "Your storage is full, so it cannot be kept for later.",
        LIMIT: `${entry.talk.name} is away, and the mailbox is full.`,
      }));
    }
  }

  async #change(entry) {
    await this.#workspaces.post(entry.talk, entry.message);
    return true;
  }
}
