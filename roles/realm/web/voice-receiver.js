// From the net to the mixer: frames of each speaker are put in order, decoded by the browser, and played when they are due.

import { level, Speaking } from "./voice-activity.js";
import { read } from "./voice-frame.js";
import { Jitter } from "./voice-jitter.js";

// So many are heard at the same time; who speaks besides them is heard when one of them has been silent for a while.
const VOICES = 16;
const SILENT = 5_000;
// Two channels: a packet of one is doubled, and both are one in the end.
const CONFIG = { codec: "opus", sampleRate: 48_000, numberOfChannels: 2 };
// A decoder that is so far behind does not keep up: what comes then is left out.
const BEHIND = 25;
// After something that cannot be decoded, so long until the next try.
const PAUSE = 1_000;

export class Receiver {
  #play;
  #voices = new Map();
  #speaking = new Speaking();

  /** `play(uid, samples)` takes what is heard; without samples: no more of this one. */
  constructor(play) {
    this.#play = play;
  }

  /** A datagram's data of somebody, that came at `now` in milliseconds. */
  take(uid, bytes, now) {
    const frame = read(bytes);
    if (!frame) return;
    let voice = this.#voices.get(uid);
    if (!voice) {
      if (this.#voices.size >= VOICES) return;
      voice = { jitter: new Jitter(), decoder: null, at: 0, now, pause: 0 };
      this.#voices.set(uid, voice);
    }
    voice.now = now;
    voice.jitter.push(frame, now);
  }

  /** Plays what is due at `now`; to be called each 20 ms. What comes back is who speaks, when that is another than before, else null. */
  tick(now, own, loudness) {
    for (const [uid, voice] of this.#voices) {
      for (const frame of voice.jitter.pull(now)) this.#decode(uid, voice, frame, now);
      if (now - voice.now > SILENT) this.#end(uid, voice);
    }
    this.#speaking.heard(own, loudness, now);
    return this.#speaking.look(now);
  }

  /** Somebody is not there any more. */
  gone(uid) {
    const voice = this.#voices.get(uid);
    if (voice) this.#end(uid, voice);
    this.#speaking.gone(uid);
  }

  close() {
    for (const uid of [...this.#voices.keys()]) this.gone(uid);
  }

  #end(uid, voice) {
    this.#voices.delete(uid);
    close(voice);
    this.#play(uid, null);
  }

  #decode(uid, voice, { opus }, now) {
    if (now < voice.pause) return;
    try {
      voice.decoder ??= this.#open(uid, voice);
      if (voice.decoder.decodeQueueSize > BEHIND) return;
      voice.decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: voice.at, data: opus }));
      voice.at += 20_000;
    } catch (error) {
      fail(voice, error);
    }
  }

  #open(uid, voice) {
    const decoder = new AudioDecoder({
      output: (data) => {
        const samples = voice.decoder === decoder && data.numberOfFrames > 0 ? mono(data) : null;
        data.close();
        if (!samples) return;
        this.#speaking.heard(uid, level(samples), performance.now());
        this.#play(uid, samples);
      },
      error: (error) => voice.decoder === decoder && fail(voice, error),
    });
    decoder.configure(CONFIG);
    return decoder;
  }
}

function close(voice) {
  if (voice.decoder && voice.decoder.state !== "closed") voice.decoder.close();
  voice.decoder = null;
}

function fail(voice, error) {
  console.info("voice: this cannot be decoded:", error);
  voice.pause = performance.now() + PAUSE;
  close(voice);
}

/** The channels of decoded sound as one. */
function mono(data) {
  const samples = new Float32Array(data.numberOfFrames);
  const one = new Float32Array(data.numberOfFrames);
  for (let channel = 0; channel < data.numberOfChannels; channel++) {
    data.copyTo(one, { planeIndex: channel, format: "f32-planar" });
    for (let n = 0; n < samples.length; n++) samples[n] += one[n] / data.numberOfChannels;
  }
  return samples;
}
