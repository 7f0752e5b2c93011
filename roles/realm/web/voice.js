// The voice channel that this page is in: one at most. What is sent and heard is the matter of `voice-sound.js`.

import { Emitter } from "./emitter.js";
import { Fail } from "./fail.js";
import { join, rows, split, textOf } from "./wire.js";

// A frame is not sent where so many bytes wait already: late sound helps nobody.
const BACKLOG = 8 * 1024;
// Joining anew, when the server cannot for now: first after, and at most.
const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 20_000;
const PASSES = new Set(["UNAVAILABLE", "BUSY", "LIMIT", "INTERNAL"]);
// Ends of a membership that are for good; at any other it is joined again.
const FINAL = new Set(["deleted", "kicked", "elsewhere", "left"]);
const PUSH = "convergia-push-to-talk";

/** The channel of a workspace, as commands name it. */
export function channelOf(workspace) {
  return `workspace:${workspace}`;
}

/** Tells `change`: anything but who speaks; `speaking`; `said`: words for who does not look. */
export class Voice extends Emitter {
  /** "out" | "joining" (for the first time) | "in" | "back" (it broke: joins anew by itself). */
  state = "out";
  /** `{ key, title, id }`: as commands name it, as people do, and its number. Null: in none. */
  channel = null;
  uid = "";
  /** Names by uid, this person's too. */
  members = new Map();
  /** The uids of who speaks. */
  speaking = new Set();
  /** "off" | "asking" | "on" | "refused" | "none" | "failed" | "lost" | "codec". */
  microphone = "off";
  muted = false;
  /** Whether only what is said while `held` goes out. */
  push = false;
  held = false;
  /** Why it ended last, or did not begin: `{ key, error }`. */
  ended = null;
  /** Channels that are shown whole now. */
  shown = new Set();
  #link;
  #Sound;
  #sound = null;
  #wait = FIRST_WAIT;
  #timer = 0;
  #turn = 0;

  /** `Sound` is the class that plays and hears. */
  constructor(link, Sound) {
    super();
    this.#link = link;
    this.#Sound = Sound;
    this.push = globalThis.localStorage?.getItem(PUSH) === "yes";
    this.stopWatching = link.on("state", (state) => state !== "ready" && this.#lost());
  }

  /** Whether what this person says goes out now. */
  get open() {
    return this.state === "in" && this.microphone === "on" && !this.muted && (!this.push || this.held);
  }

  /** Goes into a channel, and out of the one before. To be called within a click. */
  async join(key, title) {
    this.leave();
    const turn = ++this.#turn;
    const missing = this.#Sound.missing();
    if (missing) return this.#end(new Fail("BROWSER", missing), key);
    [this.state, this.channel, this.ended, this.muted, this.held, this.microphone] = ["joining", { key, title, id: "" }, null, false, false, "off"];
    const sound = this.#sound = new this.#Sound({
      send: (bytes) => this.#send(bytes),
      speaking: (uids) => this.#speak(uids),
      lost: (why) => this.#hears(why),
    });
    this.emit("change");
    try {
      const started = sound.start();
      await Promise.all([this.#enter(turn), started.catch((error) => {
        console.info("voice:", error);
        throw new Fail("BROWSER", "This browser does not let the page play sound.");
      })]);
    } catch (error) {
      if (this.#turn !== turn) return undefined;
      return error.code === "LOST" ? this.#back() : this.#end(error);
    }
    return this.#turn === turn ? this.askMicrophone() : undefined;
  }

  /** Asks the person for the microphone. Without it, one hears the others. */
  async askMicrophone() {
    if (!this.#sound || this.microphone === "asking" || this.microphone === "on") return;
    const sound = this.#sound;
    this.#hears("asking");
    const why = await sound.microphone();
    if (this.#sound === sound) this.#hears(why);
  }

  leave() {
    if (this.state === "out") return;
    if (this.channel.id && this.state === "in") this.#link.request("LEAVEVOICE", this.channel.id).catch(() => undefined);
    this.#end(null);
  }

  mute(on) {
    this.muted = on;
    this.#changed();
    this.emit("said", on ? "Muted" : "Not muted");
  }

  /** Push-to-talk, for this browser from now on. */
  setPush(on) {
    [this.push, this.held] = [on, false];
    if (on) globalThis.localStorage?.setItem(PUSH, "yes");
    else globalThis.localStorage?.removeItem(PUSH);
    this.#changed();
  }

  /** The button or key of push-to-talk is held, or not any more. */
  hold(on) {
    if (this.held === (on && this.push)) return;
    this.held = on && this.push;
    this.#changed();
  }

  /** A channel is shown whole, or not any more. */
  show(key, on) {
    if (on) this.shown.add(key);
    else this.shown.delete(key);
    this.emit("change");
  }

  /** Who is in a channel, for who is not: `[uid, name]` each. A channel that nobody was in yet has nobody. */
  async look(key) {
    try {
      return rows(await this.#link.request("GETVOICE", key)).slice(1);
    } catch (error) {
      if (error.code === "NOTFOUND") return [];
      throw error;
    }
  }

  /** Channels that stand alone: `{ id, name, owner, count }`. */
  async list() {
    const all = rows(await this.#link.ask("LISTVOICE"));
    return all.filter(([, name]) => !name.startsWith("workspace:")).map(([id, name, owner, , count]) => ({ id, name, owner, count: Number(count) }));
  }

  async create(name) {
    return textOf(await this.#link.request("CREATEVOICE", name));
  }

  async delete(id) {
    await this.#link.request("DELETEVOICE", id);
  }

  /** The session is on, over a connection that may be new. */
  signedOn() {
    if (this.state === "back") this.#again();
  }

  /** What the server sends by itself. */
  receive(command, data) {
    const fields = split(data, 2);
    const [channel, uid, name] = textOf(fields ? fields[0] : data).split("|");
    if (this.state === "out" || channel !== this.channel.id) return;
    if (command === "VOICE" && fields && this.members.has(uid)) this.#sound.take(uid, fields[1]);
    else if (command === "VOICECAME" && uid) this.#came(uid, name ?? "");
    else if (command === "VOICELEFT" && uid !== this.uid) this.#left(uid);
    else if (command === "VOICEENDED" && fields) this.#ended(textOf(fields[1]));
  }

  close() {
    this.stopWatching();
    this.leave();
  }

  async #enter(turn) {
    const { key } = this.channel;
    await this.#link.ready();
    const [[id, uid], ...members] = rows(await this.#link.request("JOINVOICE", key, "link"));
    if (this.#turn !== turn) {
      // Who left meanwhile gives the place back; who asked again meanwhile has it by that.
      if (this.channel?.key !== key) this.#link.request("LEAVEVOICE", id).catch(() => undefined);
      return;
    }
    this.channel.id = id;
    this.uid = this.#sound.own = uid;
    this.members = new Map(members);
    this.state = "in";
    this.#wait = FIRST_WAIT;
    this.#changed();
    this.emit("said", `You are in voice: ${this.channel.title}`);
  }

  /** The way to the server is gone, and with it the place in the channel. */
  #lost() {
    if (this.state === "in") this.#back();
  }

  #back() {
    this.state = "back";
    this.#sound.silence();
    this.#speak(new Set());
    this.#changed();
  }

  async #again() {
    clearTimeout(this.#timer);
    const turn = ++this.#turn;
    try {
      await this.#enter(turn);
    } catch (error) {
      if (this.#turn !== turn || error.code === "LOST") return;
      if (!PASSES.has(error.code)) return void this.#end(error);
      this.#later();
      return;
    }
    if (this.#turn === turn && this.microphone === "off") this.askMicrophone();
  }

  #later() {
    this.#timer = setTimeout(() => this.#again(), this.#wait);
    this.#wait = Math.min(this.#wait * 2, LONGEST_WAIT);
  }

  #ended(why) {
    if (this.state !== "in") return;
    if (FINAL.has(why)) return void this.#end(new Fail(why.toUpperCase()));
    this.#back();
    this.#later();
  }

  /** Out, with or without a reason to tell. */
  #end(error, key = this.channel?.key) {
    clearTimeout(this.#timer);
    this.#turn++;
    this.#sound?.close();
    this.#sound = null;
    [this.state, this.channel, this.uid, this.microphone, this.held] = ["out", null, "", "off", false];
    [this.members, this.speaking] = [new Map(), new Set()];
    this.ended = error && { key, error };
    this.emit("change");
    this.emit("said", error ? "" : "You left voice");
  }

  #came(uid, name) {
    const is = this.members.has(uid);
    // Who joined anew begins to count anew.
    this.#sound.gone(uid);
    this.members.set(uid, name);
    this.#changed();
    if (!is) this.emit("said", `${nameOf(name)} came into voice`);
  }

  #left(uid) {
    if (!this.members.has(uid)) return;
    const name = this.members.get(uid);
    this.members.delete(uid);
    this.#sound.gone(uid);
    this.#changed();
    this.emit("said", `${nameOf(name)} left voice`);
  }

  #hears(why) {
    this.microphone = why;
    this.#changed();
  }

  #changed() {
    this.#sound?.set(this.microphone === "on" && !this.muted, this.open, this.push);
    this.emit("change");
  }

  #speak(uids) {
    this.speaking = this.state === "in" ? uids : new Set();
    this.emit("speaking");
  }

  #send(bytes) {
    if (this.state === "in" && this.#link.backlog < BACKLOG) this.#link.tell("VOICE", join(this.channel.id, bytes));
  }
}

/** The name of a member, who may be one of another program without an account. */
export function nameOf(name) {
  return name || "Somebody without an account";
}
