// Sound in a voice channel, both ways: the microphone to the net, the net to the loudspeaker.

import { Audio, missing } from "./voice-audio.js";
import { Receiver } from "./voice-receiver.js";
import { Sender } from "./voice-sender.js";

export class Sound {
  static missing = missing;
  /** The own uid, to say when this person speaks. */
  own = "";
  #open = false;
  #always = false;
  #audio;
  #sender;
  #receiver;

  /** `send(bytes)`: a frame goes out; `speaking(uids)`: others speak than before; `lost(why)`: the microphone is gone. */
  constructor({ send, speaking, lost }) {
    this.#sender = new Sender(send, () => lost("codec"));
    this.#receiver = new Receiver((uid, samples) => this.#audio.play(uid, samples));
    this.#audio = new Audio((samples) => {
      if (samples) this.#sender.take(samples, this.#open, this.#always);
      const now = this.#receiver.tick(performance.now(), this.own, samples ? this.#sender.loudness : -120);
      if (now) speaking(now);
    }, () => lost("lost"));
  }

  /** Begins to play; within a click. */
  start() {
    return this.#audio.open();
  }

  /** Asks for the microphone: "on", or why not. */
  microphone() {
    return this.#audio.microphone();
  }

  /** What goes out: `hear`: the microphone is on; `open`: what it hears goes out; `always`: also where it is no voice. */
  set(hear, open, always) {
    this.#audio.hear(hear);
    [this.#open, this.#always] = [open, always];
  }

  /** A datagram's data of somebody. */
  take(uid, bytes) {
    this.#receiver.take(uid, bytes, performance.now());
  }

  gone(uid) {
    this.#receiver.gone(uid);
  }

  /** Nobody is heard any more, until somebody is again. */
  silence() {
    this.#receiver.close();
    this.#sender.stop();
  }

  close() {
    this.#receiver.close();
    this.#sender.close();
    this.#audio.close();
  }
}
