// The frames of one speaker between the net and the decoder: put in order, and given when they are due. The clock is the
// caller's, in milliseconds. Pure.

/** How long the first frame waits for those behind it. The mixer (voice-worklet.js) adds 20 ms or a little more. */
export const DELAY = 40;
// A frame that is due later than this shows that the others come too late: the time of all is set anew.
const FARTHEST = 200;
// A frame alone that comes so much too late is the first of others that do: these wait anew.
const LATE = 20;
// A frame that is so much overdue is left out, so that a pause of the net does not become a delay for good.
const OVERDUE = 60;
// After so long a pause in somebody's talk, the time is set anew: clocks are not alike.
const PAUSE = 200;
// Numbers that are so much older are of a new beginning, not late ones.
const OLDER = 200;
const MOST = 100;

/** How far `a` is after `b`, of numbers of 16 bits that begin anew. */
const ahead = (a, b) => ((a - b) << 16) >> 16;
/** How many samples the timestamp of `a` is after that of `b`: 32 bits, that begin anew too. */
const samples = (a, b) => (a.timestamp - b.timestamp) | 0;

export class Jitter {
  /** Frames that came too late, twice, or were left out. */
  dropped = 0;
  #queue = [];
  // What was given last.
  #last = null;
  // A timestamp, and when it is due. It moves along, as timestamps begin anew after a day.
  #anchor = null;

  get waiting() {
    return this.#queue.length;
  }

  /** Takes a frame that came at `now`. */
  push(frame, now) {
    const after = this.#last ? ahead(frame.sequence, this.#last.sequence) : 1;
    if (after <= -OLDER) this.#begin();
    else if (after <= 0) return this.#drop(0);
    if (this.#queue.some((one) => one.sequence === frame.sequence)) return this.#drop(0);
    if (this.#queue.length >= MOST) this.#drop(1);
    const place = this.#queue.findLastIndex((one) => ahead(one.sequence, frame.sequence) < 0) + 1;
    this.#queue.splice(place, 0, frame);
    this.#anchor ??= { timestamp: frame.timestamp, due: now + DELAY };
    const due = this.#due(frame);
    const alone = this.#queue.length === 1;
    const pause = this.#last !== null && samples(frame, this.#last) / 48 > PAUSE;
    if (alone && (due < now - LATE || pause) || due > now + FARTHEST) this.#anchor.due += now + DELAY - due;
    return undefined;
  }

  /** The frames that are due at `now`, in order. */
  pull(now) {
    const found = [];
    while (this.#queue.length > 0) {
      const frame = this.#queue[0];
      const due = this.#due(frame);
      if (due > now) break;
      this.#anchor = { timestamp: frame.timestamp, due };
      if (due < now - OVERDUE && this.#queue.length > 1) {
        this.#drop(1);
      } else {
        this.#last = frame;
        found.push(this.#queue.shift());
      }
    }
    return found;
  }

  #due(frame) {
    return this.#anchor.due + samples(frame, this.#anchor) / 48;
  }

  /** Counts a frame that is not played, or takes the first one away. */
  #drop(first) {
    this.dropped++;
    if (first) this.#last = this.#queue.shift();
  }

  #begin() {
    this.dropped += this.#queue.length;
    this.#queue = [];
    this.#last = null;
    this.#anchor = null;
  }
}
