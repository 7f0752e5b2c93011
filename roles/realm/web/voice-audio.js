// The microphone and the loudspeaker of this browser, for as long as somebody is in a voice channel.

const MICROPHONE = { audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true, autoGainControl: true } };

/** What this browser lacks for voice, in words; empty: nothing. */
export function missing() {
  if (!globalThis.isSecureContext) return "Voice needs a page that was loaded over https.";
  const all = globalThis.AudioWorkletNode && globalThis.AudioDecoder && globalThis.EncodedAudioChunk;
  return all ? "" : "This browser cannot play voice: it has no WebCodecs or no AudioWorklet. A newer version of it may have them, or another browser.";
}

export class Audio {
  #context = null;
  #node = null;
  #loaded = null;
  #stream = null;
  #source = null;
  #frame;
  #lost;

  /** `frame(samples)` is called each 20 ms, with what the microphone heard, or null; `lost()`: the microphone is gone. */
  constructor(frame, lost) {
    this.#frame = frame;
    this.#lost = lost;
  }

  /** Begins to play. To be called within a click, as browsers want it. */
  open() {
    if (this.#context) return this.#loaded;
    const context = new AudioContext({ sampleRate: 48_000, latencyHint: "interactive" });
    this.#context = context;
    this.#loaded = (async () => {
      context.resume().catch(() => undefined);
      await context.audioWorklet.addModule("voice-worklet.js");
      if (this.#context !== context) return;
      this.#node = new AudioWorkletNode(context, "voice", { outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" });
      this.#node.port.onmessage = ({ data }) => this.#context === context && this.#frame(data);
      this.#node.connect(context.destination);
    })();
    return this.#loaded;
  }

  /** Asks for the microphone: "on", or why not: "refused" | "none" | "failed" | "codec". */
  async microphone() {
    if (!globalThis.AudioEncoder) return "codec";
    if (!navigator.mediaDevices) return "failed";
    const context = this.#context;
    try {
      const stream = await navigator.mediaDevices.getUserMedia(MICROPHONE);
      try {
        await this.#loaded;
        if (this.#context !== context || !this.#node) throw new Error("not in voice any more");
        this.#disconnect();
        this.#source = context.createMediaStreamSource(stream);
        this.#source.connect(this.#node);
      } catch (error) {
        stop(stream);
        throw error;
      }
      this.#stream = stream;
      stream.getAudioTracks()[0].addEventListener("ended", () => this.#stream === stream && this.#lost());
      return "on";
    } catch (error) {
      console.info("voice: the microphone:", error);
      return { NotAllowedError: "refused", SecurityError: "refused", NotFoundError: "none", OverconstrainedError: "none" }[error.name] ?? "failed";
    }
  }

  /** Whether the microphone hears: a track that is off gives silence, and the browser shows that. */
  hear(on) {
    for (const track of this.#stream?.getAudioTracks() ?? []) track.enabled = on;
  }

  /** Plays samples of somebody at 48 kHz; null: no more of this one. */
  play(uid, samples) {
    this.#node?.port.postMessage({ uid, samples }, samples ? [samples.buffer] : []);
  }

  close() {
    this.#disconnect();
    this.#node?.disconnect();
    this.#context?.close().catch(() => undefined);
    this.#context = this.#node = this.#loaded = null;
  }

  #disconnect() {
    this.#source?.disconnect();
    if (this.#stream) stop(this.#stream);
    this.#source = this.#stream = null;
  }
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
