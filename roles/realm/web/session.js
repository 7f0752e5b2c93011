// Who is signed in: registration, sign-in with a password or a token, and what the server says of this account.

import { Emitter } from "./emitter.js";
import { Fail } from "./fail.js";
import { Link, socketUrl } from "./link.js";
import { bytesOf, pairs, split, textOf } from "./wire.js";

const KEY = "convergia-session";

/** Tells `user`: this one is signed on over a new connection, and what comes is theirs; `change`: somebody signed in or out, or the account is known; `link`: the state of the connection;
 *  `packet`: command, data, and a list for promises that the next PING waits for; `ended`: why, in the operator's words. */
export class Session extends Emitter {
  /** What the door says of itself: realm, name, registration, … */
  realm = new Map();
  /** What the server says of this account: name, operator, quota, used. */
  account = new Map();
  /** The name that is signed in, as registered; empty: nobody. */
  user = "";
  #token = "";
  #keep = false;
  #stopped = "";

  constructor(place) {
    super();
    this.link = new Link(socketUrl(place), () => this.#greet(), (command, data) => this.#receive(command, data));
    // Nobody is signed in: the server closes such a connection after a while, and it opens again when it is needed.
    this.link.wanted = () => this.user !== "";
    this.link.on("state", (state) => this.emit("link", state));
  }

  get operator() {
    return this.account.get("operator") === "yes";
  }

  /** Goes on as who was signed in when this page was last open. */
  resume() {
    const kept = read(localStorage) ?? read(sessionStorage);
    this.#keep = read(localStorage) !== null;
    if (kept) [this.user, this.#token] = [kept.user, kept.token];
    this.link.open();
    this.emit("change");
  }

  /** Signs in. With `keep` the browser remembers it when it is closed. */
  async signIn(user, password, keep) {
    await this.link.ready();
    const token = textOf(await this.link.request("LOGIN", user, password));
    [this.user, this.#token, this.#keep] = [user, token, keep];
    this.emit("user", user);
    this.#remember();
    await this.#readAccount();
    this.emit("change");
    this.emit("on");
  }

  /** Begins a registration: `{ id, image }`, the image as bytes, empty when there is none. */
  async register(user, password) {
    await this.link.ready();
    await this.cancelRegistration();
    await this.link.request("STARTREGISTRATION");
    try {
      const [id, image] = split(await this.link.request("REGISTERACCOUNT", user, password), 2) ?? [];
      if (!image) throw new Fail("INTERNAL");
      return { id: textOf(id), image };
    } catch (error) {
      await this.cancelRegistration();
      throw error;
    }
  }

  async confirmRegistration(id, text) {
    await this.link.ready();
    // The connection may be another one by now. On the same one this is refused, which does no harm.
    await this.link.request("STARTREGISTRATION").catch(() => undefined);
    try {
      await this.link.request("CONFIRMREGISTERACCOUNT", id, text);
    } catch (error) {
      await this.cancelRegistration();
      throw error;
    }
  }

  /** Back from a registration, if there is one. */
  async cancelRegistration() {
    await this.link.request("CANCELREGISTRATION").catch(() => undefined);
  }

  /** Signs out here. Everywhere: all tokens are void, so that other browsers ask for the password again. */
  async signOut(everywhere = false) {
    if (everywhere) await this.link.request("REVOKETOKENS");
    await this.link.request("SIGNOFF").catch(() => undefined);
    this.#forget();
    this.link.close();
    this.link.open();
    this.emit("change");
  }

  async changePassword(old, next) {
    this.#token = textOf(await this.link.request("CHANGEPASSWORD", old, next));
    this.#remember();
  }

  async refreshAccount() {
    await this.#readAccount();
    this.emit("change");
  }

  async #greet() {
    this.realm = await this.link.request("GETREALM").then(pairs, (error) => {
      if (error.code === "LOST") throw error;
      return new Map();
    });
    this.#stopped = "";
    this.emit("realm");
    if (!this.user) return;
    try {
      await this.link.request("LOGIN", this.user, `token:${this.#token}`);
    } catch (error) {
      if (error.code !== "WRONG" && error.code !== "DENIED") throw error;
      this.#forget();
      this.emit("ended", error.code === "WRONG" ? "Your sign-in has expired. Please sign in again." : "This account is disabled.");
      this.emit("change");
      return;
    }
    this.emit("user", this.user);
    await this.#readAccount();
    this.emit("change");
    this.emit("on");
  }

  async #readAccount() {
    this.account = await this.link.request("GETACCOUNT").then(pairs, (error) => {
      if (error.code === "LOST") throw error;
      return new Map();
    });
    this.user = this.account.get("name") || this.user;
    this.#remember();
  }

  #receive(command, data) {
    if (command === "DISCONNECTED") {
      this.#stopped = textOf(data);
      if (this.#stopped === "the server stops") return undefined;
      // Ended by the operator: only a person may begin anew.
      this.#forget();
      this.link.close();
      this.link.open();
      this.emit("ended", `The operator has ended your session: ${this.#stopped}`);
      this.emit("change");
      return undefined;
    }
    if (command === "REDIRECT") return false;
    const tasks = [];
    this.emit("packet", command, data, tasks);
    return tasks.length > 0 ? Promise.all(tasks) : undefined;
  }

  #remember() {
    const text = JSON.stringify({ user: this.user, token: this.#token });
    localStorage.removeItem(KEY);
    sessionStorage.removeItem(KEY);
    (this.#keep ? localStorage : sessionStorage).setItem(KEY, text);
  }

  #forget() {
    localStorage.removeItem(KEY);
    sessionStorage.removeItem(KEY);
    [this.user, this.#token] = ["", ""];
    this.account = new Map();
  }
}

function read(storage) {
  try {
    const kept = JSON.parse(storage.getItem(KEY));
    return typeof kept?.user === "string" && bytesOf(kept.token).length > 0 ? kept : null;
  } catch {
    return null;
  }
}
