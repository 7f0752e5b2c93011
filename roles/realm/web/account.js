// All that belongs to who is signed in: history, conversations, files, the map. One at a time.

import { Emitter } from "./emitter.js";
import { History } from "./history.js";
import { Mail } from "./mail.js";
import { Outbox } from "./outbox.js";
import { People } from "./people.js";
import { Storage } from "./storage.js";
import { Talks } from "./talks.js";
import { Transfers } from "./transfers.js";
import { Voice } from "./voice.js";
import { Sound } from "./voice-sound.js";
import { split, textOf } from "./wire.js";
import { Workspaces } from "./workspaces.js";
import { fold } from "./names.js";

const MAP_AGAIN = 5_000;

/** Tells `notice`: text and time, from the operator. */
export class Account extends Emitter {
  /** Opens the history of a user. */
  static async open(user, link) {
    const account = new Account();
    account.user = user;
    account.history = await History.open(fold(user));
    account.talks = new Talks(account.history, user);
    account.people = new People();
    account.storage = new Storage(link);
    account.transfers = new Transfers(account.storage);
    account.mail = new Mail(link, account.talks);
    account.workspaces = new Workspaces(link, account.talks);
    account.outbox = new Outbox(link, account.talks, account.history, account.workspaces);
    account.voice = new Voice(link, Sound);
    account.link = link;
    await account.talks.load();
    return account;
  }

  /** The session is on, over a connection that is new. */
  async signedOn(user) {
    this.user = this.talks.user = user;
    const failed = (error) => console.info("not now:", error.code ?? error);
    this.#map();
    this.voice.signedOn();
    this.mail.fetch().catch(failed);
    this.workspaces.refresh().catch((error) => {
      this.workspaces.failed(error);
      failed(error);
    });
    await this.outbox.resume();
  }

  /** The map, and its changes from now on. It is not there while the server has none yet. */
  #map() {
    clearTimeout(this.mapTimer);
    this.link.ask("GETSERVERMAP").then((data) => this.people.replace(data)).catch((error) => {
      if (error.code === "UNAVAILABLE" || error.code === "BUSY") this.mapTimer = setTimeout(() => this.#map(), MAP_AGAIN);
    });
  }

  /** What the server sends by itself. Is done when it is stored. */
  receive(command, data) {
    switch (command) {
      case "RECEIVEMESSAGE": return this.talks.receive(data);
      case "OFFLINEMESSAGEAVAILABLE": return this.mail.available(data);
      case "SERVERMAPUPDATE": return this.people.update(data);
      case "WORKSPACECHANGED": return this.workspaces.changed(data);
      case "VOICE": case "VOICECAME": case "VOICELEFT": case "VOICEENDED": return this.voice.receive(command, data);
      case "NOTICE": return this.#notice(data);
      default: return undefined;
    }
  }

  #notice(data) {
    const fields = split(data, 2);
    if (fields) this.emit("notice", textOf(fields[1]), Number(textOf(fields[0])));
  }

  close() {
    clearTimeout(this.mapTimer);
    this.voice.close();
    for (const transfer of this.transfers.list) this.transfers.cancel(transfer);
    this.talks.close();
    this.history.close();
  }

  /** What this user keeps for another: the folder, made and shared when it is not there. */
  async sentFolder(other) {
    const folder = `/users/${this.user}/sent/${other}`;
    await this.storage.makeFolders(folder);
    if (fold(other) !== fold(this.user)) await this.storage.setRights(folder, [{ subject: other, rights: "r" }]);
    return folder;
  }
}
