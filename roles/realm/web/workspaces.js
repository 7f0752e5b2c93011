// Workspaces: who takes part, and their conversation, which is the list of changes. A change is kept by the server until
// all have acknowledged it, and by this browser for good. Tells `list`.

import { fileChange } from "./cards.js";
import { Emitter } from "./emitter.js";
import { Fail } from "./fail.js";
import { fold } from "./names.js";
import { pairs, rows, split, textOf } from "./wire.js";

const AT_ONCE = 500;
// Acknowledged is what is a day old, so that another browser of the same person, which may be off now, finds it too; and
// what is far behind in any case.
const FRESH = 24 * 3600 * 1000;
const UNACKNOWLEDGED = 1000;

export class Workspaces extends Emitter {
  /** Workspace by name: `{ name, creator, last, acked, count, talk }`; `talk` is its conversation. */
  list = new Map();
  loaded = false;
  /** Why the list could not be loaded; null: it was, or is being. */
  error = null;
  #link;
  #talks;
  #syncs = new Map();
  #posts = new Map();

  constructor(link, talks) {
    super();
    this.#link = link;
    this.#talks = talks;
  }

  /** Asks for the list, and for what is new in each. */
  async refresh() {
    const list = rows(await this.#link.ask("LISTWORKSPACES"));
    const names = new Set(list.map(([name]) => name));
    for (const name of this.list.keys()) if (!names.has(name)) this.list.delete(name);
    const known = [...this.list.values()];
    await Promise.all(list.map(async ([name, creator, last, acked, count]) => {
      const talk = known.find((one) => one.name === name && one.creator === creator)?.talk ?? (await this.#talkOf(name));
      this.list.set(name, { name, creator, last: Number(last), acked: Number(acked), count: Number(count), talk });
    }));
    this.loaded = true;
    this.error = null;
    this.emit("list");
    for (const name of names) this.sync(name);
  }

  /** The list could not be loaded. */
  failed(error) {
    this.error = error;
    this.emit("list");
  }

  /** A name may be given again after a workspace was deleted: so its conversation goes by when it was made, too. */
  async #talkOf(name) {
    const info = pairs(await this.#link.ask("GETINFO", `/workspaces/${name}`));
    return { id: `w:${name}:${info.get("created")}`, kind: "workspace", name };
  }

  /** WORKSPACECHANGED: taken as a hint. */
  changed(data) {
    const fields = split(data, 4);
    if (!fields) return;
    const name = textOf(fields[0]);
    if (this.list.has(name)) this.sync(name);
    else if (this.loaded) this.refresh().catch(() => undefined);
  }

  /** Reads what is new in a workspace. One at a time for each; what is asked for meanwhile is read after it. */
  sync(name) {
    const running = this.#syncs.get(name);
    if (running) {
      running.again = true;
      return running.work;
    }
    const sync = { again: false, work: null };
    this.#syncs.set(name, sync);
    sync.work = (async () => {
      do {
        sync.again = false;
        await this.#read(name);
      } while (sync.again);
    })().catch((error) => {
      if (error.code === "NOTFOUND") this.refresh().catch(() => undefined);
    }).finally(() => this.#syncs.delete(name));
    return sync.work;
  }

  async #read(name) {
    const workspace = this.list.get(name);
    if (!workspace) return;
    const { talk } = workspace;
    let after = this.#talks.list.get(talk.id)?.seq ?? 0;
    for (;;) {
      const data = await this.#link.ask("READCHANGES", name, after, AT_ONCE);
      // An own message that is being posted becomes the change, and not a second message.
      await this.#posts.get(name);
      const changes = parse(data);
      if (changes.length === 0) break;
      for (const change of changes) await this.#take(talk, change);
      after = changes[changes.length - 1].seq;
      workspace.last = Math.max(workspace.last, after);
      await this.#talks.mark(talk, { seq: after });
      await this.#acknowledge(workspace, changes);
    }
    this.emit("list");
  }

  async #take(talk, { seq, author, at, text }) {
    const file = fileChange(text);
    const mine = fold(author) === fold(this.#talks.user);
    if (mine && !file) await this.#arrived(talk, text);
    return this.#talks.take({ key: `${talk.id}|${seq}`, from: author, at, text, mine, out: mine && !file, state: "delivered", event: Boolean(file) }, talk, !file);
  }

  /** What may have arrived has: its answer was lost, and here it is. */
  async #arrived(talk, text) {
    const recent = await this.#talks.page(talk.id, null, 50);
    const unsure = recent.find((message) => message.state === "unsure" && message.text === text);
    if (unsure) await this.#talks.remove(unsure);
  }

  async #acknowledge(workspace, changes) {
    const old = changes.filter(({ seq, at }) => at < Date.now() - FRESH || seq <= workspace.last - UNACKNOWLEDGED);
    const seq = old[old.length - 1]?.seq ?? 0;
    if (seq <= workspace.acked) return;
    await this.#link.ask("ACKCHANGES", workspace.name, seq);
    workspace.acked = seq;
  }

  /** Posts an own message; it becomes the change that the server numbers. */
  post(talk, message) {
    const work = (async () => {
      const data = await this.#link.request("POSTCHANGE", talk.name, message.text);
      const seq = Number(textOf(data));
      if (!Number.isSafeInteger(seq)) throw new Fail("INTERNAL");
      await this.#talks.remove(message);
      await this.#talks.take({ key: `${talk.id}|${seq}`, from: this.#talks.user, at: message.at, text: message.text, mine: true, out: true, state: "delivered" }, talk, false);
    })();
    const settled = work.catch(() => undefined).finally(() => this.#posts.get(talk.name) === settled && this.#posts.delete(talk.name));
    this.#posts.set(talk.name, settled);
    return work;
  }

  async create(name, people) {
    await this.#link.request("CREATEWORKSPACE", name, ...people);
    await this.refresh();
  }

  async participants(name) {
    return rows(await this.#link.ask("LISTPARTICIPANTS", name)).map(([one]) => one);
  }

  async setParticipants(name, people) {
    await this.#link.ask("SETPARTICIPANTS", name, ...people);
    await this.refresh();
  }

  async leave(name) {
    await this.#link.request("LEAVEWORKSPACE", name);
    await this.refresh();
  }

  async delete(name) {
    await this.#link.request("DELETEWORKSPACE", name);
    await this.refresh();
  }
}

/** The answer to READCHANGES: of each change a line `seq|author|posted-at|size`, its bytes, and an LF between two. */
function parse(data) {
  const changes = [];
  let at = 0;
  while (at < data.length) {
    const end = data.indexOf(10, at);
    if (end < 0) break;
    const [seq, author, posted, size] = textOf(data.subarray(at, end)).split("|");
    const from = end + 1;
    const to = from + Number(size);
    changes.push({ seq: Number(seq), author, at: Number(posted), text: textOf(data.subarray(from, to)) });
    at = to + 1;
  }
  return changes;
}
