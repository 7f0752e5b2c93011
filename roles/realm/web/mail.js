// Offline messages: what others sent while this person was away. Each is read, put into its conversation, and then
// deleted from the server, where it counts on its sender's quota.

import { fold } from "./names.js";
import { userTalk } from "./talks.js";
import { rows, split, textOf } from "./wire.js";

const PIECE = 1_000_000;
// A longer one stays on the server until the person saves or deletes it.
const LONGEST = 4_000_000;

export class Mail {
  #link;
  #talks;
  #known = new Set();
  #work = Promise.resolve();

  constructor(link, talks) {
    this.#link = link;
    this.#talks = talks;
  }

  /** OFFLINEMESSAGEAVAILABLE. */
  available(data) {
    const fields = split(data, 4)?.map(textOf);
    if (fields) this.#add(...fields);
  }

  /** Asks for all that wait, in case that a hint was missed. */
  async fetch() {
    for (const [id, sender, size, at] of rows(await this.#link.ask("LISTOFFLINEMESSAGES"))) this.#add(id, sender, size, at);
  }

  /** The whole of a long one, in pieces, for a file. */
  async pieces(id, size) {
    const found = [];
    for (let at = 0; at < size; at += PIECE) found.push(await this.#link.ask("READOFFLINEMESSAGE", id, at, PIECE));
    return found;
  }

  async drop(id) {
    await this.#link.ask("DELETEOFFLINEMESSAGE", id).catch((error) => {
      if (error.code !== "NOTFOUND") throw error;
    });
  }

  #add(id, sender, size, at) {
    if (this.#known.has(id)) return;
    this.#known.add(id);
    this.#work = this.#work.then(() => this.#take(id, sender, Number(size), Number(at))).catch(() => this.#known.delete(id));
  }

  async #take(id, sender, size, at) {
    const mine = fold(sender) === fold(this.#talks.user);
    const message = { key: `a|${id}`, from: sender, at, mine };
    if (size > LONGEST) {
      await this.#talks.take({ ...message, text: "A long message", mail: { id, size } }, userTalk(sender));
      return;
    }
    let bytes;
    try {
      const pieces = await this.pieces(id, size);
      bytes = new Uint8Array(await new Blob(pieces).arrayBuffer());
    } catch (error) {
      // Another browser of this person was quicker.
      if (error.code === "NOTFOUND") return;
      throw error;
    }
    await this.#talks.take({ ...message, text: textOf(bytes) }, userTalk(sender));
    await this.drop(id);
  }
}
