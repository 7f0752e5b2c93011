// The server map as it is now: who and what there is, and who is online. Tells `change`.

import { Emitter } from "./emitter.js";
import { fold } from "./names.js";
import { rows } from "./wire.js";

export class People extends Emitter {
  /** Node by id: `{ id, name, type, status, notes, links }`. */
  nodes = new Map();
  #users = new Map();

  /** The answer to GETSERVERMAP: all there is. */
  replace(data) {
    this.nodes.clear();
    this.#users.clear();
    this.update(data);
  }

  /** SERVERMAPUPDATE: the lines that changed. */
  update(data) {
    for (const [id, name = "", type = "", status = "", notes = "", ...links] of rows(data)) {
      const node = { id, name, type, status, notes, links: links.filter(Boolean) };
      this.nodes.set(id, node);
      if (type === "client") this.#users.set(fold(name), node);
    }
    this.emit("change");
  }

  /** The user of that name, in any case; undefined: there is none, or the map is not here yet. */
  user(name) {
    return this.#users.get(fold(name));
  }

  online(name) {
    return this.user(name)?.status === "online";
  }

  /** Users that are there, by name. */
  users() {
    return [...this.#users.values()].filter((node) => node.notes !== "deleted").sort((a, b) => a.name.localeCompare(b.name));
  }
}
