// Being in a voice channel: the commands that go out, what the server says by itself, and how it ends. The sound is another's.
import assert from "node:assert/strict";
import test from "node:test";
import { Emitter } from "../../roles/realm/web/emitter.js";
import { Fail } from "../../roles/realm/web/fail.js";
import { write } from "../../roles/realm/web/voice-frame.js";
import { Receiver } from "../../roles/realm/web/voice-receiver.js";
import { Sender } from "../../roles/realm/web/voice-sender.js";
import { Voice } from "../../roles/realm/web/voice.js";
import { bytesOf, textOf } from "../../roles/realm/web/wire.js";

/** Ends when what was begun has come as far as it can. */
const settled = () => new Promise((done) => setImmediate(done));

class FakeLink extends Emitter {
  backlog = 0;
  asked = [];
  told = [];
  answers = {};
  ready() {
    return Promise.resolve();
  }
  ask(...words) {
    return this.request(...words);
  }
  request(command, ...fields) {
    this.asked.push([command, ...fields]);
    const answer = this.answers[command];
    const said = typeof answer === "function" ? answer() : answer ?? "";
    return said instanceof Promise ? said : said instanceof Fail ? Promise.reject(said) : Promise.resolve(bytesOf(said));
  }
  tell(command, data) {
    this.told.push([command, textOf(data)]);
  }
  breaks() {
    this.emit("state", "waiting");
  }
}

class FakeSound {
  static missing = () => FakeSound.lacks;
  static lacks = "";
  static microphone = "on";
  heard = [];
  closed = false;
  silenced = 0;
  constructor(hooks) {
    Object.assign(this, hooks);
    FakeSound.last = this;
  }
  start() {
    return Promise.resolve();
  }
  microphone() {
    return Promise.resolve(FakeSound.microphone);
  }
  set(hear, open, always) {
    Object.assign(this, { hear, open, always });
  }
  take(uid, bytes) {
    this.heard.push(`${uid} ${textOf(bytes)}`);
  }
  gone(uid) {
    this.heard.push(`gone ${uid}`);
  }
  silence() {
    this.silenced++;
  }
  close() {
    this.closed = true;
  }
}

function fresh() {
  FakeSound.lacks = "";
  FakeSound.microphone = "on";
  const link = new FakeLink();
  link.answers.JOINVOICE = "77|5|1|1|0||\n5|alice\n6|bob";
  const voice = new Voice(link, FakeSound);
  const said = [];
  voice.on("said", (words) => words && said.push(words));
  return { link, voice, said };
}

async function inside() {
  const all = fresh();
  await all.voice.join("workspace:team", "team");
  return { ...all, sound: FakeSound.last };
}

const receive = (voice, command, words) => voice.receive(command, bytesOf(words));

test("joining, who is there, and leaving", async () => {
  const { link, voice, said, sound } = await inside();
  assert.deepEqual(link.asked, [["JOINVOICE", "workspace:team", "link"]]);
  assert.equal(voice.state, "in");
  assert.equal(voice.uid, "5");
  assert.equal(sound.own, "5");
  assert.deepEqual([...voice.members], [["5", "alice"], ["6", "bob"]]);
  assert.ok(voice.open && sound.open && sound.hear && !sound.always);
  receive(voice, "VOICECAME", "77|9|carol");
  receive(voice, "VOICECAME", "78|10|of another channel");
  assert.deepEqual([...voice.members.values()], ["alice", "bob", "carol"]);
  receive(voice, "VOICELEFT", "77|6");
  receive(voice, "VOICELEFT", "77|5");
  assert.deepEqual([...voice.members.values()], ["alice", "carol"], "the own place ends by VOICEENDED alone");
  assert.deepEqual(sound.heard, ["gone 9", "gone 6"], "who comes begins anew");
  assert.deepEqual(said, ["You are in voice: team", "carol came into voice", "bob left voice"]);
  voice.leave();
  assert.deepEqual(link.asked.at(-1), ["LEAVEVOICE", "77"]);
  assert.ok(sound.closed && voice.state === "out" && voice.members.size === 0 && voice.ended === null);
});

test("sound goes both ways, of members and of this channel alone", async () => {
  const { link, voice, sound } = await inside();
  receive(voice, "VOICE", "77|6\none\ntwo");
  receive(voice, "VOICE", "77|8\nof nobody");
  receive(voice, "VOICE", "78|6\nof another channel");
  receive(voice, "VOICE", "77|6");
  assert.deepEqual(sound.heard, ["6 one\ntwo"]);
  sound.send(bytesOf("a\nb"));
  assert.deepEqual(link.told, [["VOICE", "77\na\nb"]]);
  link.backlog = 100_000;
  sound.send(bytesOf("late"));
  assert.equal(link.told.length, 1, "nothing waits behind much else");
  voice.leave();
  link.backlog = 0;
  sound.send(bytesOf("after"));
  assert.equal(link.told.length, 1);
});

test("mute, and push-to-talk", async () => {
  const { voice, sound } = await inside();
  voice.mute(true);
  assert.ok(!sound.hear && !sound.open);
  voice.mute(false);
  assert.ok(sound.hear && sound.open);
  voice.hold(true);
  assert.ok(!voice.held, "held is a word of push-to-talk");
  voice.setPush(true);
  assert.ok(sound.hear && !sound.open && sound.always);
  voice.hold(true);
  assert.ok(sound.open);
  voice.mute(true);
  assert.ok(!sound.open, "mute is stronger");
  voice.mute(false);
  voice.hold(false);
  assert.ok(!sound.open);
  voice.setPush(false);
  assert.ok(sound.open);
});

test("without a microphone one listens, and may ask again", async () => {
  for (const why of ["refused", "none", "failed", "codec"]) {
    const { voice } = fresh();
    FakeSound.microphone = why;
    await voice.join("77", "talk");
    assert.equal(voice.state, "in");
    assert.equal(voice.microphone, why);
    assert.ok(!voice.open && !FakeSound.last.open);
    FakeSound.microphone = "on";
    await voice.askMicrophone();
    assert.ok(voice.open);
    FakeSound.last.lost("lost");
    assert.equal(voice.microphone, "lost");
    assert.ok(!voice.open && voice.state === "in");
  }
});

test("what refuses a join is told, and nothing stays open", async () => {
  for (const code of ["DENIED", "NOTFOUND", "UNAVAILABLE", "BADCOMMAND", "LIMIT"]) {
    const { link, voice } = fresh();
    link.answers.JOINVOICE = new Fail(code);
    await voice.join("workspace:team", "team");
    assert.equal(voice.state, "out");
    assert.deepEqual([voice.ended.key, voice.ended.error.code], ["workspace:team", code]);
    assert.ok(FakeSound.last.closed);
  }
  const { link, voice } = fresh();
  FakeSound.lacks = "no codec";
  await voice.join("workspace:team", "team");
  assert.deepEqual([voice.ended.error.code, voice.ended.error.text], ["BROWSER", "no codec"]);
  assert.deepEqual(link.asked, []);
});

test("a connection that breaks ends nothing: the page joins anew", async () => {
  const { link, voice, sound } = await inside();
  link.breaks();
  assert.equal(voice.state, "back");
  assert.ok(!sound.open && !sound.closed && sound.silenced === 1);
  assert.equal(voice.microphone, "on", "it is not asked for again");
  link.answers.JOINVOICE = "77|5|2|1|0||\n5|alice";
  voice.signedOn();
  await settled();
  assert.equal(voice.state, "in");
  assert.deepEqual([...voice.members.values()], ["alice"]);
  assert.ok(sound.open);
  voice.signedOn();
  await settled();
  assert.equal(link.asked.length, 2, "who is in does not join again");
});

test("a connection that breaks during the join", async () => {
  const { link, voice } = fresh();
  link.answers.JOINVOICE = new Fail("LOST");
  await voice.join("77", "talk");
  assert.equal(voice.state, "back");
  link.answers.JOINVOICE = "77|5|1|1|0||\n5|alice";
  voice.signedOn();
  await settled();
  assert.equal(voice.state, "in");
  assert.equal(voice.microphone, "on");
});

test("what passes is tried again, later and later; what does not is told", async (context) => {
  const { link, voice } = await inside();
  context.mock.timers.enable({ apis: ["setTimeout"] });
  link.answers.JOINVOICE = new Fail("UNAVAILABLE");
  receive(voice, "VOICEENDED", "77\nunavailable");
  assert.equal(voice.state, "back");
  let tries = 0;
  for (let wait = 1_000; wait <= 40_000; wait *= 2) {
    context.mock.timers.tick(Math.min(wait, 20_000) - 1);
    await settled();
    assert.equal(link.asked.length, 1 + tries);
    context.mock.timers.tick(1);
    await settled();
    assert.equal(link.asked.length, 1 + ++tries);
  }
  link.answers.JOINVOICE = new Fail("NOTFOUND");
  context.mock.timers.tick(20_000);
  await settled();
  assert.deepEqual([voice.state, voice.ended.error.code], ["out", "NOTFOUND"]);
  context.mock.timers.tick(100_000);
  await settled();
  assert.equal(link.asked.length, 1 + ++tries, "and it is over");
});

test("why it ended", async () => {
  for (const why of ["deleted", "kicked", "elsewhere", "left"]) {
    const { link, voice, sound } = await inside();
    receive(voice, "VOICEENDED", `78\n${why}`);
    assert.equal(voice.state, "in");
    receive(voice, "VOICEENDED", `77\n${why}`);
    assert.deepEqual([voice.state, voice.ended.error.code], ["out", why.toUpperCase()]);
    assert.ok(sound.closed);
    assert.equal(link.asked.length, 1, "the server knows");
  }
});

test("any other end is one that passes", async () => {
  for (const why of ["unavailable", "silent", "of a later server"]) {
    const { voice, sound } = await inside();
    receive(voice, "VOICEENDED", `77\n${why}`);
    assert.ok(voice.state === "back" && !sound.closed && !sound.open);
    voice.signedOn();
    await settled();
    assert.equal(voice.state, "in");
  }
});

test("who leaves while joining does not come in", async () => {
  const { link, voice } = fresh();
  let answer = null;
  link.answers.JOINVOICE = () => new Promise((done) => (answer = done));
  const joining = voice.join("77", "talk");
  await settled();
  assert.equal(voice.state, "joining");
  voice.leave();
  answer(bytesOf("77|5|1|1|0||\n5|alice"));
  await joining;
  assert.equal(voice.state, "out");
  assert.deepEqual(link.asked.at(-1), ["LEAVEVOICE", "77"], "the place that was given is given back");
});

test("who leaves while joining, and joins again, is in once", async () => {
  const { link, voice } = fresh();
  const answers = [];
  link.answers.JOINVOICE = () => new Promise((done) => answers.push(done));
  const first = voice.join("77", "talk");
  await settled();
  voice.leave();
  const second = voice.join("77", "talk");
  await settled();
  for (const answer of answers) answer(bytesOf("77|5|1|1|0||\n5|alice"));
  await Promise.all([first, second]);
  assert.equal(voice.state, "in");
  assert.deepEqual(link.asked.map(([command]) => command), ["JOINVOICE", "JOINVOICE"]);
});

test("another channel takes the place of the one before", async () => {
  const { link, voice, sound } = await inside();
  link.answers.JOINVOICE = "80|5|3|1|0||\n5|alice";
  await voice.join("80", "other");
  assert.ok(sound.closed && !FakeSound.last.closed);
  assert.deepEqual(link.asked.map(([command]) => command), ["JOINVOICE", "LEAVEVOICE", "JOINVOICE"]);
  assert.equal(voice.channel.title, "other");
});

test("looking from outside, and channels that stand alone", async () => {
  const { link, voice } = fresh();
  link.answers.GETVOICE = "77|workspace:team|1\n5|alice\n6|bob";
  assert.deepEqual(await voice.look("workspace:team"), [["5", "alice"], ["6", "bob"]]);
  link.answers.GETVOICE = new Fail("NOTFOUND");
  assert.deepEqual(await voice.look("workspace:new"), []);
  link.answers.GETVOICE = new Fail("UNAVAILABLE");
  await assert.rejects(voice.look("workspace:team"), { code: "UNAVAILABLE" });
  link.answers.LISTVOICE = "80|hall|olga|1|3\n77|workspace:team|alice|1|2";
  assert.deepEqual(await voice.list(), [{ id: "80", name: "hall", owner: "olga", count: 3 }]);
});

test("the microphone: silence is not sent, words are with their beginning, and the clock goes on", () => {
  const stamps = [];
  globalThis.AudioData = class {
    constructor(init) {
      Object.assign(this, init);
    }
    close() {}
  };
  globalThis.AudioEncoder = class {
    state = "unconfigured";
    constructor({ output }) {
      this.output = output;
    }
    configure() {}
    encode(data) {
      this.output({ byteLength: 1, copyTo: (to) => (to[0] = Math.round(data.data[0] * 100)) });
    }
    close() {
      this.state = "closed";
    }
  };
  const sender = new Sender((bytes) => {
    const view = new DataView(bytes.buffer);
    stamps.push([view.getUint32(4, true) / 960, bytes[8]]);
  }, () => assert.fail("the encoder works"));
  const silence = () => new Float32Array(960);
  const loud = () => new Float32Array(960).fill(0.5);
  for (let n = 0; n < 10; n++) sender.take(silence(), true, false);
  assert.deepEqual(stamps, []);
  sender.take(loud(), true, false);
  assert.deepEqual(stamps, [[8, 0], [9, 0], [10, 50]]);
  sender.take(loud(), false, false);
  sender.take(silence(), true, false);
  assert.equal(stamps.length, 3, "muted; and nothing from before is sent after");
  sender.take(silence(), true, true);
  assert.deepEqual(stamps.slice(3), [[12, 0], [13, 0]], "push-to-talk sends all");
  sender.close();
});

test("the loudspeaker: who is heard speaks; what cannot be decoded, and a crowd, does no harm", () => {
  let open = 0;
  globalThis.EncodedAudioChunk = class {
    constructor(init) {
      Object.assign(this, init);
    }
  };
  globalThis.AudioDecoder = class {
    state = "configured";
    decodeQueueSize = 0;
    constructor({ output }) {
      this.output = output;
      open++;
    }
    configure() {}
    decode({ data }) {
      if (data[0] === 0xff) throw new TypeError("no Opus");
      this.output({ numberOfFrames: 960, numberOfChannels: 2, copyTo: (to, { planeIndex }) => to.fill(data[0] / 100 - planeIndex / 10), close() {} });
    }
    close() {
      this.state = "closed";
      open--;
    }
  };
  const played = [];
  const receiver = new Receiver((uid, samples) => played.push([uid, samples && Math.round(samples[0] * 100)]));
  const now = performance.now();
  receiver.take("6", write(1, 0, Uint8Array.of(50)), now);
  receiver.take("7", Uint8Array.of(1, 2, 3), now);
  assert.equal(receiver.tick(now + 20, "5", -120), null);
  assert.deepEqual(receiver.tick(now + 40, "5", -10), new Set(["5", "6"]));
  assert.deepEqual(played, [["6", 45]], "the channels become one");
  receiver.take("6", write(2, 960, Uint8Array.of(0xff)), now + 40);
  receiver.tick(now + 60, "5", -120);
  assert.equal(open, 0);
  receiver.take("6", write(3, 1920, Uint8Array.of(20)), now + 61);
  receiver.tick(now + 200, "5", -120);
  assert.equal(played.length, 1, "not at once again");
  receiver.take("6", write(4, 2880, Uint8Array.of(20)), now + 5_000);
  receiver.tick(now + 5_100, "5", -120);
  assert.deepEqual(played.at(-1), ["6", 15]);
  for (let uid = 100; uid < 200; uid++) receiver.take(String(uid), write(1, 0, Uint8Array.of(50)), now + 5_100);
  receiver.tick(now + 5_200, "5", -120);
  assert.equal(open, 16);
  receiver.tick(now + 11_000, "5", -120);
  assert.equal(open, 0, "who is silent needs no decoder");
  assert.ok(played.filter(([, samples]) => samples === null).length === 16);
  receiver.close();
});
