// The web socket: requests and their answers, PINGs, and coming back when it breaks. What the connection is for is not
// known here: `greet` signs on, `receive` takes what the server sends by itself.

import { Emitter } from "./emitter.js";
import { Fail } from "./fail.js";
import { answer, decode, encode, join } from "./wire.js";

const FIRST_WAIT = 400;
const LONGEST_WAIT = 20_000;
const SILENCE = 30_000;
const DEAD = 55_000;
const LOOK = 5_000;
// For signing on; a server that says nothing for so long is tried anew.
const GREETING = 30_000;

/** Tells `state`: "connecting" | "greeting" | "ready" | "waiting" (for the next try) | "idle" (until it is needed) |
 *  "closed". */
export class Link extends Emitter {
  state = "closed";
  /** Why signing on did not work, when the server said so; null: it did, or there was no connection. */
  trouble = null;
  /** When the next try begins, in ms of Date.now(), while "waiting". */
  nextTry = 0;
  /** Whether the connection is wanted also while nobody asks anything. */
  wanted = () => true;
  #url;
  #greet;
  #receive;
  #socket = null;
  #nextId = 1;
  #pending = new Map();
  #waiters = new Set();
  #wait = FIRST_WAIT;
  #timer = 0;
  #watch = 0;
  #heard = 0;
  #began = 0;
  #read = Promise.resolve();

  /** `greet()` is awaited on each new connection. `receive(command, data, connection)` may return a promise: the
   *  server is told that all was read when that is done. */
  constructor(url, greet, receive) {
    super();
    this.#url = url;
    this.#greet = greet;
    this.#receive = receive;
    globalThis.addEventListener?.("online", () => this.retryNow());
    globalThis.document?.addEventListener("visibilitychange", () => document.hidden || this.retryNow());
  }

  open() {
    if (this.state === "closed") this.#connect();
  }

  /** Closes and stays closed. */
  close() {
    clearTimeout(this.#timer);
    this.#drop();
    this.#become("closed");
    this.#giveUp(new Fail("LOST"));
  }

  /** Does not wait any longer for the next try. */
  retryNow() {
    if (this.state !== "waiting" || !this.wanted()) return;
    clearTimeout(this.#timer);
    this.#connect();
  }

  /** Bytes that the browser has not sent yet. */
  get backlog() {
    return this.#socket?.bufferedAmount ?? 0;
  }

  /** Sends a request on this connection, now. Fails with LOST when the answer does not come. */
  request(command, ...fields) {
    const socket = this.#socket;
    if (socket?.readyState !== WebSocket.OPEN) return Promise.reject(new Fail("LOST"));
    const id = String(this.#nextId++);
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { command, resolve, reject });
      socket.send(encode(id, command, join(...fields)));
    });
  }

  /** Sends what is not answered, on this connection, now; nothing where there is none. */
  tell(command, data) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(encode("0", command, data));
  }

  /** Is done when the connection is ready; fails when it is closed for good. */
  ready() {
    if (this.state === "ready") return Promise.resolve();
    if (this.state === "closed") return Promise.reject(new Fail("LOST"));
    if (this.state === "idle") this.#connect();
    return new Promise((resolve, reject) => this.#waiters.add({ resolve, reject }));
  }

  /** A request that may be asked twice, as it only reads: waits for the connection, and asks again when that breaks. */
  async ask(command, ...fields) {
    for (;;) {
      await this.ready();
      try {
        return await this.request(command, ...fields);
      } catch (error) {
        if (error.code !== "LOST") throw error;
      }
    }
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.emit("state", state);
  }

  #connect() {
    this.#become("connecting");
    this.#read = Promise.resolve();
    const socket = new WebSocket(this.#url);
    socket.binaryType = "arraybuffer";
    this.#socket = socket;
    this.#heard = this.#began = Date.now();
    clearInterval(this.#watch);
    this.#watch = setInterval(() => this.#look(), LOOK);
    socket.onopen = () => this.#opened(socket);
    socket.onmessage = (event) => this.#socket === socket && this.#frame(socket, event.data);
    socket.onclose = () => this.#socket === socket && this.#lost();
  }

  async #opened(socket) {
    this.#become("greeting");
    try {
      await this.#greet();
    } catch (error) {
      // What the person must decide about closes the link in `greet`; anything else passes.
      if (this.#socket !== socket) return;
      this.trouble = error.code === "LOST" ? null : error;
      this.#lost(error.code === "LIMIT" ? LONGEST_WAIT : 0);
      return;
    }
    if (this.#socket !== socket || this.state !== "greeting") return;
    this.#wait = FIRST_WAIT;
    this.trouble = null;
    this.#become("ready");
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.resolve();
  }

  #frame(socket, frame) {
    this.#heard = Date.now();
    const packet = decode(typeof frame === "string" ? new TextEncoder().encode(frame) : new Uint8Array(frame));
    if (!packet) return socket.close();
    if (!packet.id.startsWith("-")) return this.#answered(packet);
    if (packet.command === "ERROR") return socket.close();
    if (packet.command === "PING" && packet.data.length > 0) return;
    if (packet.command === "PING") {
      // The answer says that all before it was read: so it waits until all of that is stored.
      this.#read = this.#read.then(() => this.#send(socket, packet.id, "PING", "OK"));
      return;
    }
    const taken = this.#receive(packet.command, packet.data);
    if (taken === false) this.#send(socket, packet.id, packet.command, "FAIL BADCOMMAND");
    else if (taken) this.#read = Promise.all([this.#read, taken]).then(() => undefined, () => socket.close());
  }

  #send(socket, id, command, words) {
    if (socket.readyState === WebSocket.OPEN) socket.send(encode(id, command, new TextEncoder().encode(words)));
  }

  #answered(packet) {
    const waiting = this.#pending.get(packet.id);
    if (!waiting || waiting.command !== packet.command) return;
    const said = answer(packet.data);
    if (!said) return;
    this.#pending.delete(packet.id);
    if (said.ok) waiting.resolve(said.data);
    else waiting.reject(new Fail(said.code, said.text));
  }

  #look() {
    if (this.state === "greeting" && Date.now() - this.#began > GREETING) return this.#lost();
    const silent = Date.now() - this.#heard;
    if (silent > DEAD) this.#lost();
    else if (silent > SILENCE) this.request("PING").catch(() => undefined);
    return undefined;
  }

  #drop() {
    clearInterval(this.#watch);
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const pending = [...this.#pending.values()];
    this.#pending.clear();
    for (const waiting of pending) waiting.reject(new Fail("LOST"));
  }

  #lost(least = 0) {
    if (this.state === "closed") return undefined;
    this.#drop();
    if (!this.wanted() && this.#waiters.size === 0) return this.#become("idle");
    const wait = Math.max(this.#wait * (0.5 + Math.random()), least);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
    this.nextTry = Date.now() + wait;
    this.#become("waiting");
    this.#timer = setTimeout(() => this.#connect(), wait);
    return undefined;
  }

  #giveUp(error) {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const waiter of waiters) waiter.reject(error);
  }
}

/** Where the web socket of this page is. */
export function socketUrl(place) {
  return `${place.protocol === "http:" ? "ws" : "wss"}://${place.host}/socket`;
}

