// From the microphone to the net: frames of 20 ms that hold a voice are packed by the browser's Opus encoder.

import { Activity, level } from "./voice-activity.js";
import { LONGEST, write } from "./voice-frame.js";

/** Samples in a frame, at 48 kHz. */
const FRAME = 960;
// Frames before the first loud one, which go out with it: words begin softly.
const BEFORE = 2;
const CONFIG = { codec: "opus", sampleRate: 48_000, numberOfChannels: 1, bitrate: 32_000, opus: { application: "voip", frameDuration: 20_000 } };

export class Sender {
  /** Frames that were sent. */
  sent = 0;
  /** How loud the last frame that was sent is, in dB; silence: -120. */
  loudness = -120;
  #send;
  #failed;
  #encoder = null;
  #activity = new Activity();
  #before = [];
  #clock = 0;
  #encoded = 0;
  #sequence = Math.floor(Math.random() * 0x10000);
  #stamps = [];

  /** `send(bytes)` takes what goes out; `failed()`: the encoder does not work. */
  constructor(send, failed) {
    this.#send = send;
    this.#failed = failed;
  }

  /** The next frame. `open`: it may go out; `always`: also where it holds no voice. */
  take(samples, open, always) {
    const stamp = this.#clock;
    this.#clock = (this.#clock + FRAME) >>> 0;
    this.loudness = -120;
    if (!open) return this.stop();
    const loudness = level(samples);
    this.#before.push({ samples, stamp });
    if (!this.#activity.take(loudness) && !always) {
      if (this.#before.length > BEFORE) this.#before.shift();
      return undefined;
    }
    this.loudness = loudness;
    for (const one of this.#before.splice(0)) this.#encode(one);
    return undefined;
  }

  /** Nothing of what was heard until now goes out. */
  stop() {
    this.#activity.stop();
    this.#before = [];
  }

  close() {
    this.stop();
    if (this.#encoder && this.#encoder.state !== "closed") this.#encoder.close();
    this.#encoder = null;
  }

  #encode({ samples, stamp }) {
    try {
      this.#encoder ??= this.#open();
      // The encoder's own time has no pauses: one packet comes out for each frame, in order.
      const data = new AudioData({ format: "f32", sampleRate: 48_000, numberOfFrames: FRAME, numberOfChannels: 1, timestamp: this.#encoded++ * 20_000, data: samples });
      this.#stamps.push(stamp);
      this.#encoder.encode(data);
      data.close();
    } catch (error) {
      this.#broke(error);
    }
  }

  #open() {
    this.#stamps = [];
    const encoder = new AudioEncoder({
      output: (chunk) => {
        const stamp = this.#stamps.shift();
        if (stamp === undefined || chunk.byteLength > LONGEST || this.#encoder !== encoder) return;
        const opus = new Uint8Array(chunk.byteLength);
        chunk.copyTo(opus);
        this.sent++;
        this.#sequence = (this.#sequence + 1) & 0xffff;
        this.#send(write(this.#sequence, stamp, opus));
      },
      error: (error) => this.#encoder === encoder && this.#broke(error),
    });
    encoder.configure(CONFIG);
    return encoder;
  }

  #broke(error) {
    console.info("voice: the encoder:", error);
    this.#encoder = null;
    this.#failed();
  }
}
