// Sound of voice channels: the head of frames, the order they are played in, and who speaks.
import assert from "node:assert/strict";
import test from "node:test";
import { Activity, level, Speaking } from "../../roles/realm/web/voice-activity.js";
import { LONGEST, read, write } from "../../roles/realm/web/voice-frame.js";
import { DELAY, Jitter } from "../../roles/realm/web/voice-jitter.js";

const frame = (sequence, timestamp = sequence * 960) => ({ sequence: sequence & 0xffff, timestamp: timestamp >>> 0, opus: Uint8Array.of(sequence & 255) });

/** What comes out when frames come as `arrivals` says, `[time, frame]` each, and are asked for each 20 ms. */
function played(arrivals, until, jitter = new Jitter()) {
  const out = [];
  const left = [...arrivals];
  for (let now = 0; now <= until; now += 20) {
    while (left.length > 0 && left[0][0] <= now) jitter.push(left.shift()[1], now);
    for (const one of jitter.pull(now)) out.push([now, one.sequence]);
  }
  assert.equal(left.length, 0);
  return out;
}

test("a frame goes there and back, with padding and without", () => {
  const opus = Uint8Array.from({ length: LONGEST }, (_, n) => n);
  for (const [sequence, timestamp] of [[0, 0], [0x1234, 0x89abcdef], [0xffff, 0xffffffff], [0x10000, 2 ** 32]]) {
    const bytes = write(sequence, timestamp, opus);
    assert.equal(bytes.length, 480, "as much as a signed channel takes");
    const back = { sequence: sequence & 0xffff, timestamp: timestamp >>> 0, opus };
    assert.deepEqual(read(bytes), back);
    const padded = new Uint8Array(600);
    padded.set(bytes, 7);
    assert.deepEqual(read(padded.subarray(7, 7 + 504)), back);
  }
  assert.deepEqual([...write(0x0102, 0x03040506, Uint8Array.of(9))], [1, 0, 2, 1, 6, 5, 4, 3, 9]);
});

test("what is no frame is none", () => {
  for (const bytes of [[], [1, 0, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 9], [2, 0, 0, 0, 0, 0, 0, 0, 9]]) assert.equal(read(Uint8Array.from(bytes)), null);
  assert.equal(read(new Uint8Array(504).fill(0xff)), null);
});

test("frames wait a little, and come out in order, each once", () => {
  const order = [0, 2, 1, 4, 3, 3, 5];
  const out = played(order.map((n, at) => [at * 20, frame(n)]), 400);
  assert.deepEqual(out.map(([, n]) => n), [0, 1, 2, 3, 4, 5]);
  assert.deepEqual(out[0], [DELAY, 0]);
  for (const [now, n] of out) assert.equal(now, DELAY + n * 20, "as far from each other as they were");
});

test("numbers and timestamps begin anew behind their largest", () => {
  const jitter = new Jitter();
  const arrivals = Array.from({ length: 40 }, (_, n) => [n * 20, frame(0xffff - 20 + n, 2 ** 32 - 10 * 960 + n * 960)]);
  assert.deepEqual(played(arrivals, 1_000, jitter).map(([, n]) => n), arrivals.map(([, one]) => one.sequence));
  assert.equal(jitter.dropped, 0);
});

test("what is lost leaves a hole, and what comes too late is not played", () => {
  const jitter = new Jitter();
  const arrivals = [[0, frame(0)], [20, frame(1)], [60, frame(3)], [80, frame(4)], [140, frame(2)], [140, frame(5)]];
  assert.deepEqual(played(arrivals, 400, jitter), [[40, 0], [60, 1], [100, 3], [120, 4], [140, 5]]);
  assert.equal(jitter.dropped, 1);
});

test("a pause of the net does not become a delay for good", () => {
  // One second of sound comes at once.
  const arrivals = Array.from({ length: 100 }, (_, n) => [n < 10 || n >= 60 ? n * 20 : 1_180, frame(n)]);
  const out = played(arrivals, 3_000);
  const late = out.filter(([, n]) => n >= 70).map(([now, n]) => now - n * 20);
  assert.ok(late.length === 30 && late.every((one) => one <= 200), `${late}`);
  assert.deepEqual(out.map(([, n]) => n), [...out.map(([, n]) => n)].sort((a, b) => a - b));
});

test("after a pause in somebody's talk the first frame waits as at the beginning", () => {
  // The clock of the speaker is 1 % fast: after a minute of silence frames would be due 600 ms late.
  const arrivals = [[0, frame(0)], [20, frame(1)], [60_000, frame(2, 60_600 * 48)], [60_020, frame(3, 60_620 * 48)]];
  assert.deepEqual(played(arrivals, 60_200), [[40, 0], [60, 1], [60_040, 2], [60_060, 3]]);
});

test("somebody who begins anew with other numbers is heard", () => {
  const arrivals = [[0, frame(5_000)], [20, frame(5_001)], [200, frame(10, 0)], [220, frame(11, 960)]];
  assert.deepEqual(played(arrivals, 500).map(([, n]) => n), [5_000, 5_001, 10, 11]);
});

test("what others send, whatever it is, fills no memory", () => {
  const jitter = new Jitter();
  let seed = 7;
  const random = () => (seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff);
  for (let n = 0; n < 20_000; n++) {
    jitter.push(frame(random(), random()), n);
    assert.ok(jitter.waiting <= 100);
    if (n % 500 === 0) jitter.pull(n);
  }
  assert.ok(jitter.dropped > 0);
});

test("how loud", () => {
  const tone = (amplitude) => Float32Array.from({ length: 960 }, (_, n) => amplitude * Math.sin((n * 2 * Math.PI * 10) / 960));
  assert.ok(Math.abs(level(tone(1)) + 3.01) < 0.05);
  assert.ok(Math.abs(level(tone(0.1)) + 23.01) < 0.05);
  assert.equal(level(new Float32Array(960)), -120);
  assert.equal(level(new Float32Array(0)), -120);
});

test("a voice is sent to the end of the word, silence and the noise of a room are not", () => {
  const activity = new Activity();
  const take = (loudness, times) => Array.from({ length: times }, () => activity.take(loudness)).filter(Boolean).length;
  assert.equal(take(-120, 100), 0);
  assert.equal(take(-20, 5), 5);
  assert.equal(take(-120, 100), 14, "the hangover");
  assert.equal(take(-50, 50), 50, "a soft voice in a silent room");
  const room = new Activity();
  let sent = 0;
  for (let n = 0; n < 3_000; n++) sent += room.take(-50 + (n % 7) / 2) ? 1 : 0;
  assert.equal(sent, 0, "a fan");
  assert.ok(room.take(-30), "a voice beside the fan");
  const music = new Activity();
  for (let n = 0; n < 10_000; n++) assert.ok(music.take(-25), "what never pauses is no noise when it is loud");
});

test("who is heard speaks, for a moment more", () => {
  const speaking = new Speaking();
  assert.equal(speaking.look(0), null);
  speaking.heard("1", -20, 100);
  speaking.heard("2", -90, 100);
  assert.deepEqual(speaking.look(120), new Set(["1"]));
  assert.equal(speaking.look(380), null);
  speaking.heard("2", -30, 390);
  assert.deepEqual(speaking.look(420), new Set(["2"]));
  speaking.gone("2");
  assert.deepEqual(speaking.look(430), new Set());
});
