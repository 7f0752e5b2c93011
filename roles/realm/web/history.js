// What was said, kept in this browser (IndexedDB), one database for each account. Messages, conversations, and the files
// that others have shown.

const VERSION = 1;
/** States of an own message that is on its way. */
const ON_ITS_WAY = new Set(["waiting", "sending"]);

/** A request of IndexedDB as a promise. */
function done(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

export class History {
  #db;
  #last = 0;
  #incoming = [];
  #writing = false;

  /** Opens the history of an account, and makes it when there is none. */
  static async open(user) {
    const request = indexedDB.open(`convergia-${user}`, VERSION);
    request.onupgradeneeded = () => {
      const messages = request.result.createObjectStore("messages", { keyPath: "key" });
      messages.createIndex("talk", ["talk", "at", "n"]);
      messages.createIndex("queue", "queue");
      request.result.createObjectStore("talks", { keyPath: "id" });
      request.result.createObjectStore("files", { keyPath: "path" });
    };
    const history = new History();
    history.#db = await done(request);
    history.#db.onversionchange = () => history.#db.close();
    return history;
  }

  close() {
    this.#db.close();
  }

  /** Forgets everything of an account. */
  static async destroy(user) {
    await done(indexedDB.deleteDatabase(`convergia-${user}`));
  }

  /** Takes a message of somebody else, and counts it in its conversation when `unread`. Null when it is here already.
   *  What comes while one transaction is written goes into the next one together. */
  receive(message, talk, unread) {
    return new Promise((resolve, reject) => {
      this.#incoming.push({ message, talk, unread, resolve, reject });
      if (this.#incoming.length === 1 && !this.#writing) this.#receiveAll();
    });
  }

  async #receiveAll() {
    this.#writing = true;
    while (this.#incoming.length > 0) {
      const batch = this.#incoming.splice(0);
      try {
        const transaction = this.#write("messages", "talks");
        const taken = [];
        for (const one of batch) taken.push(await this.#receiveOne(transaction, one));
        await finished(transaction);
        batch.forEach((one, n) => one.resolve(taken[n]));
      } catch (error) {
        for (const one of batch) one.reject(error);
      }
    }
    this.#writing = false;
  }

  async #receiveOne(transaction, { message, talk, unread }) {
    const [messages, talks] = [transaction.objectStore("messages"), transaction.objectStore("talks")];
    if ((await done(messages.getKey(message.key))) !== undefined) return null;
    const record = { ...message, talk: talk.id, n: this.#number() };
    messages.put(record);
    const known = (await done(talks.get(talk.id))) ?? { ...talk, unread: 0, at: 0 };
    const next = newer({ ...known, ...talk, unread: known.unread + (unread ? 1 : 0) }, record);
    talks.put(next);
    return { message: record, talk: next };
  }

  /** Puts an own message, new or changed; one that is on its way stands in the queue. */
  async put(message, talk) {
    const transaction = this.#write("messages", "talks");
    const record = { n: this.#number(), ...message, talk: talk.id };
    delete record.queue;
    if (ON_ITS_WAY.has(record.state)) record.queue = record.n;
    transaction.objectStore("messages").put(record);
    const talks = transaction.objectStore("talks");
    const known = (await done(talks.get(talk.id))) ?? { ...talk, unread: 0, at: 0 };
    const next = newer({ ...known, ...talk }, record);
    talks.put(next);
    await finished(transaction);
    return { message: record, talk: next };
  }

  async remove(key) {
    const transaction = this.#write("messages");
    transaction.objectStore("messages").delete(key);
    await finished(transaction);
  }

  /** Up to `limit` messages of a conversation that are before `before` (all: null), oldest first. */
  async page(talk, before, limit) {
    const index = this.#db.transaction("messages").objectStore("messages").index("talk");
    const end = before ? [talk, before.at, before.n] : [talk, []];
    const range = IDBKeyRange.bound([talk], end, false, before !== null);
    const found = [];
    await new Promise((resolve, reject) => {
      const request = index.openCursor(range, "prev");
      request.onerror = () => reject(request.error);
      request.onsuccess = () => {
        const cursor = request.result;
        if (!cursor || found.length >= limit) return resolve();
        found.push(cursor.value);
        return cursor.continue();
      };
    });
    return found.reverse();
  }

  message(key) {
    return done(this.#db.transaction("messages").objectStore("messages").get(key));
  }

  /** Own messages that are on their way, oldest first. */
  queue() {
    return done(this.#db.transaction("messages").objectStore("messages").index("queue").getAll());
  }

  talks() {
    return done(this.#db.transaction("talks").objectStore("talks").getAll());
  }

  /** Changes a conversation, and makes it when there is none. */
  async mark(talk, changes) {
    const transaction = this.#write("talks");
    const talks = transaction.objectStore("talks");
    const next = { unread: 0, at: 0, ...talk, ...(await done(talks.get(talk.id))), ...changes };
    talks.put(next);
    await finished(transaction);
    return next;
  }

  /** Changes a conversation, if it is here. */
  async changeTalk(id, changes) {
    const transaction = this.#write("talks");
    const talks = transaction.objectStore("talks");
    const known = await done(talks.get(id));
    if (!known) return null;
    const next = { ...known, ...changes };
    talks.put(next);
    await finished(transaction);
    return next;
  }

  /** Forgets a conversation with all its messages. */
  async removeTalk(id) {
    const transaction = this.#write("messages", "talks");
    transaction.objectStore("talks").delete(id);
    const index = transaction.objectStore("messages").index("talk");
    const keys = await done(index.getAllKeys(IDBKeyRange.bound([id], [id, []])));
    for (const key of keys) transaction.objectStore("messages").delete(key);
    await finished(transaction);
  }

  /** A file that somebody has shown: `{ path, name, from, size, at }`. */
  async keepFile(file) {
    const transaction = this.#write("files");
    transaction.objectStore("files").put(file);
    await finished(transaction);
  }

  files() {
    return done(this.#db.transaction("files").objectStore("files").getAll());
  }

  async forgetFile(path) {
    const transaction = this.#write("files");
    transaction.objectStore("files").delete(path);
    await finished(transaction);
  }

  #write(...stores) {
    return this.#db.transaction(stores, "readwrite", { durability: "relaxed" });
  }

  /** Rises with each message, also over loads of the page. */
  #number() {
    this.#last = Math.max(this.#last + 1, Date.now() * 1000);
    return this.#last;
  }
}

function newer(talk, message) {
  if (message.at < talk.at) return talk;
  return { ...talk, at: message.at, last: { text: message.text.slice(0, 200), out: Boolean(message.out), from: message.from ?? "", key: message.key } };
}

function finished(transaction) {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
  });
}
