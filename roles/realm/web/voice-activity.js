// Who is speaking: how loud sound is, whether the own voice is worth sending, and who was heard last. Pure.

// Quieter than this is silence, whatever the room; and louder than that is sound, also where it never pauses.
const QUIETEST = -55;
const LOUDEST_FLOOR = -46;
// So much above the noise of the room is speech.
const ABOVE = 9;
// The noise of the room is thought to rise by so much in each frame of 20 ms, until a pause shows what it is.
const RISE = 0.02;
// What is sent after the last loud frame, in frames: 300 ms, so that the ends of words are there.
const HANGOVER = 15;
// Who was heard within this time is speaking.
const LASTS = 300;

/** How loud samples between -1 and 1 are, in dB of the loudest; silence: -120. */
export function level(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  return samples.length === 0 ? -120 : Math.max(-120, 10 * Math.log10(sum / samples.length + 1e-12));
}

/** Whether frames of the own microphone hold a voice. */
export class Activity {
  #floor = LOUDEST_FLOOR;
  #left = 0;

  /** Takes the level of the next frame; true: it is worth sending. */
  take(loudness) {
    this.#floor = Math.min(loudness, this.#floor + RISE, LOUDEST_FLOOR);
    if (loudness > Math.max(this.#floor + ABOVE, QUIETEST)) this.#left = HANGOVER;
    else this.#left = Math.max(0, this.#left - 1);
    return this.#left > 0;
  }

  stop() {
    this.#left = 0;
  }
}

/** Who is heard now. */
export class Speaking {
  #heard = new Map();
  #now = new Set();

  /** Sound of somebody, played at `now` in milliseconds. */
  heard(uid, loudness, now) {
    if (loudness > QUIETEST) this.#heard.set(uid, now);
  }

  gone(uid) {
    this.#heard.delete(uid);
  }

  /** Looks at who speaks at `now`; null: the same as at the last look. */
  look(now) {
    for (const [uid, at] of this.#heard) if (now - at > LASTS) this.#heard.delete(uid);
    const before = this.#now;
    if (before.size === this.#heard.size && [...this.#heard.keys()].every((uid) => before.has(uid))) return null;
    this.#now = new Set(this.#heard.keys());
    return this.#now;
  }
}
