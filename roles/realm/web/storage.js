// Files and folders of the server: the commands of storage, with a bound on what is under way, and whole files up and down.

import { Fail } from "./fail.js";
import { folderOf, inside } from "./names.js";
import { pairs, rows } from "./wire.js";

/** As much as one WRITEFILE takes beside its other fields. */
export const PIECE = (1 << 20) - (8 << 10);
const BYTES = 8 << 20;
const REQUESTS = 48;
const TRIES = 8;
const AGAIN = new Set(["LOST", "BUSY", "UNAVAILABLE"]);

/** Places for requests under way: in number and in bytes. */
class Window {
  #bytes = BYTES;
  #requests = REQUESTS;
  #line = [];

  async take(bytes, signal) {
    signal?.throwIfAborted();
    if (this.#line.length > 0 || !this.#fits(bytes)) {
      await new Promise((resolve, reject) => {
        const place = { bytes, resolve };
        this.#line.push(place);
        signal?.addEventListener("abort", () => {
          const at = this.#line.indexOf(place);
          if (at >= 0) this.#line.splice(at, 1);
          reject(signal.reason);
          this.#next();
        }, { once: true });
      });
    } else {
      this.#bytes -= bytes;
      this.#requests--;
    }
    return () => {
      this.#bytes += bytes;
      this.#requests++;
      this.#next();
    };
  }

  #fits(bytes) {
    return this.#requests > 0 && this.#bytes >= bytes;
  }

  #next() {
    while (this.#line.length > 0 && this.#fits(this.#line[0].bytes)) {
      const place = this.#line.shift();
      this.#bytes -= place.bytes;
      this.#requests--;
      place.resolve();
    }
  }
}

export class Storage {
  #link;
  #window = new Window();

  constructor(link) {
    this.#link = link;
  }

  /** What is in a folder: `{ name, path, folder, size, modified }`. Halves of uploads are left out. */
  async list(path) {
    const found = rows(await this.#link.ask("LISTFOLDER", path));
    return found.filter(([name]) => !name.startsWith(".part-")).map(([name, kind, size, modified]) =>
      ({ name, path: inside(path, name), folder: kind === "folder", size: Number(size), modified: Number(modified) }));
  }

  async info(path) {
    const info = pairs(await this.#link.ask("GETINFO", path));
    const permissions = (info.get("permissions") ?? "").split("|").filter(Boolean).map((entry) => {
      const end = entry.lastIndexOf(" ");
      return { subject: entry.slice(0, end), rights: entry.slice(end + 1) };
    });
    return { folder: info.get("type") === "folder", size: Number(info.get("size")), owner: info.get("owner") ?? "", created: Number(info.get("created")), modified: Number(info.get("modified")), hash: info.get("hash") ?? "", copies: info.get("copies") ?? "", permissions };
  }

  /** A request that does no harm when it is done twice: `harmless` is what the second time may answer. */
  async #change(harmless, ...request) {
    for (let tried = 0; ; tried++) {
      await this.#link.ready();
      try {
        return await this.#link.request(...request);
      } catch (error) {
        if (tried > 0 && error.code === harmless) return new Uint8Array();
        if (!AGAIN.has(error.code) || tried >= TRIES) throw error;
        await pause(tried);
      }
    }
  }

  makeFolder(path) {
    return this.#change("EXISTS", "CREATEFOLDER", path);
  }

  /** Makes a folder and those above it, as far as they are not there. */
  async makeFolders(path) {
    try {
      await this.makeFolder(path);
    } catch (error) {
      if (error.code === "EXISTS") return;
      if (error.code !== "NOTFOUND") throw error;
      await this.makeFolders(folderOf(path));
      await this.makeFolders(path);
    }
  }

  move(from, to) {
    return this.#change("NOTFOUND", "MOVE", from, to);
  }

  setRights(path, permissions) {
    return this.#change("", "SETPERMISSIONS", path, ...permissions.map(({ subject, rights }) => `${subject}|${rights}`));
  }

  /** Removes a file, or a folder with all that is in it. */
  async remove(path, folder) {
    if (!folder) return this.#change("NOTFOUND", "DELETEFILE", path);
    const inner = rows(await this.#link.ask("LISTFOLDER", path));
    for (let at = 0; at < inner.length; at += 16) {
      await Promise.all(inner.slice(at, at + 16).map(([name, kind]) => this.remove(inside(path, name), kind === "folder")));
    }
    return this.#change("NOTFOUND", "DELETEFOLDER", path);
  }

  /** Writes a file of this machine. It comes to its name when it is whole; `replace`: over one that is there. */
  async upload(file, path, { replace = false, progress = () => undefined, signal } = {}) {
    const part = inside(folderOf(path), `.part-${crypto.getRandomValues(new Uint32Array(2)).join("-")}`);
    const direct = !replace && file.size <= PIECE;
    const target = direct ? path : part;
    await this.#change("EXISTS", "CREATEFILE", target);
    try {
      await this.#write(file, target, progress, signal);
      if (direct) return;
      // In one step, so that the file is there at every moment, and keeps its rights.
      await this.#change("NOTFOUND", replace ? "REPLACE" : "MOVE", part, path);
    } catch (error) {
      this.remove(target, false).catch(() => undefined);
      throw error;
    }
  }

  async #write(file, path, progress, signal) {
    let done = 0;
    for (let tried = 0; done < file.size; tried++) {
      await this.#link.ready();
      const before = done;
      const failed = await this.#writeOnce(file, path, signal, () => done, (at) => progress((done = at)));
      if (!failed) return;
      if (done > before) tried = 0;
      if (!AGAIN.has(failed.code) || tried >= TRIES) throw failed;
      await pause(tried);
    }
  }

  /** Sends the pieces from the first that was not answered on. What went wrong, or null. */
  async #writeOnce(file, path, signal, answered, set) {
    const flying = [];
    let failed = null;
    for (let at = answered(); at < file.size && !failed; at += PIECE) {
      const end = Math.min(at + PIECE, file.size);
      try {
        const release = await this.#window.take(end - at, signal);
        const bytes = await file.slice(at, end).arrayBuffer().then((buffer) => new Uint8Array(buffer), () => null).finally(() => signal?.aborted && release());
        signal?.throwIfAborted();
        if (!bytes) {
          release();
          throw new Fail("NOTFOUND", "the file cannot be read");
        }
        // Answers may come in another order; a piece counts when all before it do.
        const earlier = flying[flying.length - 1] ?? Promise.resolve(true);
        const mine = this.#link.request("WRITEFILE", path, at, bytes).then(() => true, (error) => {
          failed ??= error;
          return false;
        }).finally(release);
        flying.push(Promise.all([earlier, mine]).then(([all, own]) => {
          if (all && own) set(end);
          return all && own;
        }));
      } catch (error) {
        failed = error;
      }
    }
    await Promise.all(flying);
    return failed;
  }

  /** Reads a whole file, as a Blob of `type`. Fails with BUSY when somebody changes it meanwhile. */
  async download(path, { type = "application/octet-stream", progress = () => undefined, signal } = {}) {
    const info = await this.info(path);
    const pieces = [];
    let done = 0;
    const flying = [];
    for (let at = 0; at < info.size; at += PIECE) {
      const length = Math.min(PIECE, info.size - at);
      const release = await this.#window.take(length, signal);
      const place = pieces.push(null) - 1;
      flying.push(this.#link.ask("READFILE", path, at, length).then((bytes) => {
        if (bytes.length !== length) throw new Fail("BUSY", "the file was changed while it was read");
        // A Blob of its own: the browser may put it on the disk.
        pieces[place] = new Blob([bytes]);
        progress((done += length), info.size);
      }).finally(release));
      flying[place].catch(() => undefined);
    }
    await Promise.all(flying);
    signal?.throwIfAborted();
    const after = await this.info(path);
    if (after.modified !== info.modified || after.size !== info.size) throw new Fail("BUSY", "the file was changed while it was read");
    return new Blob(pieces, { type });
  }
}

function pause(tried) {
  return new Promise((resolve) => setTimeout(resolve, Math.min(100 * 2 ** tried, 3000)));
}
