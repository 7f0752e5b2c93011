// Files on their way up and down: some at a time, each with its progress, rate and an end. Tells `change`.

import { Emitter } from "./emitter.js";
import { words } from "./fail.js";
import { freeName, fileName, inside, lastOf } from "./names.js";

const AT_ONCE = 3;
/** For the rate: how far back is looked, in ms. */
const LATELY = 3000;

export class Transfers extends Emitter {
  /** `{ id, name, up, size, done, state, why, rate }`; state: "waiting" | "running" | "done" | "failed" | "ended". */
  list = [];
  #storage;
  #next = 1;
  #running = 0;
  #line = [];

  constructor(storage) {
    super();
    this.#storage = storage;
  }

  get busy() {
    return this.list.some((one) => one.state === "running" || one.state === "waiting");
  }

  /** Puts a file of this machine at a path. Is done when it is there; fails when it does not come to that. */
  upload(file, path, replace = false) {
    return this.#add(lastOf(path), true, file.size, async (one, progress) => {
      await this.#storage.upload(file, path, { replace, progress, signal: one.abort.signal });
    });
  }

  /** Gets a file, and gives it to the browser to save. */
  download(path, size) {
    return this.#add(lastOf(path), false, size, async (one, progress) => {
      save(await this.#storage.download(path, { progress, signal: one.abort.signal }), lastOf(path));
    });
  }

  /** Puts several, with their folders, into a folder. `clash(name)`: "replace" | "both" | "skip" for one that is there. */
  async uploadAll(entries, folder, clash) {
    const taken = new Set((await this.#storage.list(folder)).map((entry) => entry.name));
    const folders = new Map([["", folder]]);
    const works = [];
    for (const { file, within } of entries) {
      const home = await this.#folder(within, folders, folder);
      let name = fileName(file.name);
      let replace = false;
      if (home === folder && taken.has(name)) {
        const answer = await clash(name);
        if (answer === "skip") continue;
        replace = answer === "replace";
        if (!replace) name = freeName(name, taken);
      }
      if (home === folder) taken.add(name);
      const work = this.upload(file, inside(home, name), replace || home !== folder);
      // Looked at below; until then a failure is nobody's.
      work.catch(() => undefined);
      works.push(work);
    }
    return Promise.allSettled(works);
  }

  /** The folder of the server for the folders `within` those that were dropped. */
  async #folder(within, folders, root) {
    const key = within.join("/");
    if (!folders.has(key)) {
      const above = await this.#folder(within.slice(0, -1), folders, root);
      const path = inside(above, fileName(within[within.length - 1]));
      await this.#storage.makeFolders(path);
      folders.set(key, path);
    }
    return folders.get(key);
  }

  cancel(one) {
    one.abort.abort();
    if (one.state === "waiting") this.#end(one, "ended", "");
  }

  /** Takes those that have ended from the list. */
  clear() {
    this.list = this.list.filter((one) => one.state === "running" || one.state === "waiting");
    this.emit("change");
  }

  #add(name, up, size, work) {
    const one = { id: this.#next++, name, up, size, done: 0, state: "waiting", why: "", rate: 0, marks: [], abort: new AbortController() };
    this.list.push(one);
    this.emit("change");
    return new Promise((resolve, reject) => {
      this.#line.push({ one, work, resolve, reject });
      this.#run();
    });
  }

  #run() {
    while (this.#running < AT_ONCE && this.#line.length > 0) {
      const { one, work, resolve, reject } = this.#line.shift();
      if (one.state !== "waiting") {
        reject(one.abort.signal.reason);
        continue;
      }
      this.#running++;
      one.state = "running";
      work(one, (done) => this.#progress(one, done)).then(() => {
        one.done = one.size;
        this.#end(one, "done", "");
        resolve();
      }, (error) => {
        const ended = one.abort.signal.aborted;
        this.#end(one, ended ? "ended" : "failed", ended ? "" : words(error));
        reject(error);
      }).finally(() => {
        this.#running--;
        this.#run();
      });
    }
    this.emit("change");
  }

  #progress(one, done) {
    const now = performance.now();
    one.done = done;
    one.marks.push([now, done]);
    while (one.marks.length > 2 && one.marks[0][0] < now - LATELY) one.marks.shift();
    const [then, before] = one.marks[0];
    one.rate = now > then ? ((done - before) * 1000) / (now - then) : 0;
    this.emit("change");
  }

  #end(one, state, why) {
    one.state = state;
    one.why = why;
    this.emit("change");
  }
}

/** Gives bytes to the browser, to save under a name. */
export function save(blob, name) {
  const url = URL.createObjectURL(blob);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

/** The files of a drop or of a file input, each with the folders that it was in. */
export async function entriesOf(items) {
  const found = [];
  const walk = async (entry, within) => {
    if (entry.isFile) {
      found.push({ file: await new Promise((resolve, reject) => entry.file(resolve, reject)), within });
      return;
    }
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (batch.length === 0) return;
      for (const inner of batch) await walk(inner, [...within, entry.name]);
    }
  };
  // All entries are taken at once, as a drop's items are gone after the event.
  const files = [...items].filter((item) => item.kind === "file");
  const entries = files.map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile()).filter(Boolean);
  for (const entry of entries) {
    if (entry instanceof File) found.push({ file: entry, within: [] });
    else await walk(entry, []);
  }
  return found;
}

/** The files of an input, as `entriesOf`. */
export function entriesOfInput(files) {
  return [...files].map((file) => ({ file, within: (file.webkitRelativePath || "").split("/").filter(Boolean).slice(0, -1) }));
}
