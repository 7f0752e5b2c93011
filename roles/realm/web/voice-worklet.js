// In the browser's audio thread: what the microphone hears goes out in frames of 20 ms, what others say comes in and is
// mixed. A frame goes out also when there is no microphone, empty: it is the clock of the rest.

const FRAME = 960;
// What somebody says begins when so much of it is here, or after so long a wait; more than the most is cut.
const CUSHION = 2 * FRAME;
const PATIENCE = 1.5 * FRAME;
const MOST = 5 * FRAME;

class Voice extends AudioWorkletProcessor {
  #frame = new Float32Array(FRAME);
  #filled = 0;
  #heard = false;
  #speakers = new Map();

  constructor() {
    super();
    this.port.onmessage = ({ data: { uid, samples } }) => (samples ? this.#take(uid, samples) : this.#speakers.delete(uid));
  }

  #take(uid, samples) {
    const speaker = this.#speakers.get(uid) ?? { queue: [], at: 0, size: 0, waited: 0, on: false, last: 0 };
    this.#speakers.set(uid, speaker);
    speaker.queue.push(samples);
    speaker.size += samples.length;
    // The newest does not count: other programs pack up to 120 ms in one.
    if (speaker.size - samples.length <= MOST) return;
    while (speaker.size > CUSHION && speaker.queue.length > 1) {
      speaker.size -= speaker.queue.shift().length - speaker.at;
      speaker.at = 0;
    }
  }

  process([[input]], [[output]]) {
    for (const speaker of this.#speakers.values()) mix(speaker, output);
    for (let n = 0; n < output.length; n++) output[n] = Math.max(-1, Math.min(1, output[n]));
    if (input) this.#heard = true;
    for (let n = 0; n < output.length; n++) {
      this.#frame[this.#filled++] = input ? input[n] : 0;
      if (this.#filled === FRAME) this.#send();
    }
    return true;
  }

  #send() {
    const frame = this.#heard ? this.#frame : null;
    this.port.postMessage(frame, frame ? [frame.buffer] : []);
    if (frame) this.#frame = new Float32Array(FRAME);
    this.#filled = 0;
    this.#heard = false;
  }
}

/** Adds what a speaker says now. Where that ends, the last sample fades: a sudden end is heard as a click. */
function mix(speaker, output) {
  if (!speaker.on && speaker.size > 0) {
    speaker.waited += output.length;
    speaker.on = speaker.size >= CUSHION || speaker.waited >= PATIENCE;
  }
  for (let n = 0; n < output.length; n++) {
    if (speaker.on && speaker.size > 0) {
      speaker.last = speaker.queue[0][speaker.at++];
      speaker.size--;
      if (speaker.at === speaker.queue[0].length) {
        speaker.queue.shift();
        speaker.at = 0;
      }
    } else {
      speaker.on = false;
      speaker.last *= 0.97;
    }
    output[n] += speaker.last;
  }
  if (!speaker.on && speaker.size === 0) speaker.waited = 0;
}

registerProcessor("voice", Voice);
