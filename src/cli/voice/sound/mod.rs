//! The microphone and the loudspeaker of this machine, with the feature `sound-card`: what the one hears goes out as Opus, and what
//! others say is decoded and mixed for the other.

mod device;

use std::collections::BTreeMap;

use opusic_c::Application;
use opusic_c::Bitrate;
use opusic_c::Channels;
use opusic_c::Decoder;
use opusic_c::Encoder;
use opusic_c::SampleRate;

use crate::client::voice::jitter;
use crate::client::voice::mix::Mix;
use crate::client::voice::mix::Place;
use crate::client::voice::rate::Rate;
use crate::client::voice::taken::Taken;
use crate::client::voice::toc::RATE;
use crate::client::voice::Nudge;

use device::lock;
use device::On;
use device::Shared;

/// Samples of a packet that is sent: 20 ms.
const PACKET: usize = 960;
/// Samples of the longest packet there is: 120 ms.
const LONGEST: usize = 5_760;
/// Bytes of a packet, at most: any channel carries them.
const BYTES: usize = 472;
/// Bits a second, as the page sends.
const BITS: u32 = 32_000;
/// A gap of so many samples is bridged by the decoder; a longer one is silence: 60 ms.
const BRIDGED: u32 = 2_880;
/// Opus counts gaps by this, in samples: 2.5 ms.
const STEP: u32 = 120;
/// The longest gap that is believed, in samples: 2 s.
const BELIEVED: u32 = 96_000;
/// Who speaks at once and is heard, at most: a decoder has some 20 KiB.
const SPEAKERS: usize = 64;

struct Microphone {
    on: On,
    taken: Shared<Taken>,
    encoder: Encoder,
    rate: Rate,
    /// As the device gives it.
    raw: Vec<f32>,
    /// At 48 kHz.
    samples: Vec<f32>,
    timestamp: u32,
}

struct Speaker {
    decoder: Decoder,
    place: Place,
    /// The timestamp of what follows without a gap; None: nothing came so far.
    next: Option<u32>,
}

struct Loudspeaker {
    on: On,
    mix: Shared<Mix>,
    /// By uid.
    speakers: BTreeMap<u64, Speaker>,
    samples: Vec<f32>,
}

/// See the module.
#[derive(Default)]
pub struct Sound {
    microphone: Option<Microphone>,
    loudspeaker: Option<Loudspeaker>,
}

fn codec(_: opusic_c::ErrorCode) -> String {
    "Opus cannot be started".to_owned()
}

impl Microphone {
    fn new(nudge: &Nudge) -> Result<Microphone, String> {
        let mut encoder = Encoder::new(Channels::Mono, SampleRate::Hz48000, Application::Voip).map_err(codec)?;
        encoder.set_bitrate(Bitrate::Value(BITS)).map_err(codec)?;
        let taken = Shared::default();
        let on = device::microphone(&taken, nudge)?;
        let rate = Rate::new(on.rate, RATE);
        let (raw, samples) = (Vec::new(), Vec::new());
        Ok(Microphone { on, taken, encoder, rate, raw, samples, timestamp: rand::random() })
    }

    fn take(&mut self) -> Option<(Vec<u8>, u32)> {
        if self.samples.len() < PACKET {
            let lost = lock(&self.taken).fetch(&mut self.raw);
            let lost = lost.saturating_mul(RATE.into()) / u64::from(self.on.rate.max(1));
            self.timestamp = self.timestamp.wrapping_add(lost as u32);
            for sample in self.raw.drain(..) {
                self.rate.feed(sample, |sample| self.samples.push(sample));
            }
        }
        let packet = self.samples.get(..PACKET)?;
        let mut opus = vec![0; BYTES];
        let coded = self.encoder.encode_float_to_slice(packet, &mut opus);
        self.samples.drain(..PACKET);
        let timestamp = self.timestamp;
        self.timestamp = timestamp.wrapping_add(PACKET as u32);
        opus.truncate(coded.ok()?);
        Some((opus, timestamp))
    }
}

impl Loudspeaker {
    fn new(nudge: &Nudge) -> Result<Loudspeaker, String> {
        let mix = Shared::default();
        let on = device::loudspeaker(&mix, nudge)?;
        Ok(Loudspeaker { on, mix, speakers: BTreeMap::new(), samples: vec![0.0; BRIDGED as usize + LONGEST] })
    }

    fn hear(&mut self, uid: u64, sound: &jitter::Sound) {
        if !self.speakers.contains_key(&uid) {
            // A decoder makes one channel of two by itself.
            let decoder = Decoder::new(Channels::Mono, SampleRate::Hz48000);
            let Some(decoder) = decoder.ok().filter(|_| self.speakers.len() < SPEAKERS) else { return };
            self.speakers.insert(uid, Speaker { decoder, place: Place::default(), next: None });
        }
        let Some(speaker) = self.speakers.get_mut(&uid) else { return };
        let gap = speaker.next.filter(|_| sound.follows).map_or(0, |next| sound.timestamp.wrapping_sub(next));
        // Far behind is far ahead, as timestamps go round.
        let mut gap = if gap > i32::MAX as u32 { 0 } else { gap.min(BELIEVED) };
        let mut bridged = 0;
        if gap > 0 && gap <= BRIDGED && gap.is_multiple_of(STEP) {
            let bridge = self.samples.get_mut(..gap as usize).unwrap_or_default();
            bridged = speaker.decoder.decode_float_to_slice(&[], bridge, false).unwrap_or_default();
            gap = gap.saturating_sub(bridged as u32);
        }
        let room = self.samples.get_mut(bridged..).unwrap_or_default();
        let decoded = speaker.decoder.decode_float_to_slice(&sound.opus, room, false).unwrap_or_default();
        speaker.next = Some(sound.timestamp.wrapping_add(decoded as u32));
        let sound = self.samples.get(..bridged + decoded).unwrap_or_default();
        lock(&self.mix).add(&mut speaker.place, gap.into(), sound);
    }
}

impl Sound {
    /// Turns on what is wanted, of what there is; and why something is missing.
    pub fn open(microphone: bool, loudspeaker: bool, nudge: &Nudge) -> (Sound, Vec<String>) {
        let (mut sound, mut missing) = (Sound::default(), Vec::new());
        if loudspeaker {
            match Loudspeaker::new(nudge) {
                Ok(loudspeaker) => sound.loudspeaker = Some(loudspeaker),
                Err(why) => missing.push(format!("no loudspeaker ({why}): you only see who speaks")),
            }
        }
        if microphone {
            match Microphone::new(nudge) {
                Ok(microphone) => sound.microphone = Some(microphone),
                Err(why) => missing.push(format!("no microphone ({why}): the others do not hear you")),
            }
        }
        (sound, missing)
    }

    /// Whether the microphone is on, and the loudspeaker.
    pub fn is_on(&self) -> (bool, bool) {
        (self.microphone.is_some(), self.loudspeaker.is_some())
    }

    /// A packet of what the microphone heard, with its timestamp.
    pub fn take(&mut self) -> Option<(Vec<u8>, u32)> {
        self.microphone.as_mut().and_then(Microphone::take)
    }

    /// Somebody says that now.
    pub fn hear(&mut self, uid: u64, sound: &jitter::Sound) {
        if let Some(loudspeaker) = &mut self.loudspeaker {
            loudspeaker.hear(uid, sound);
        }
    }

    /// Somebody is silent.
    pub fn quiet(&mut self, uid: u64) {
        if let Some(loudspeaker) = &mut self.loudspeaker {
            loudspeaker.speakers.remove(&uid);
        }
    }

    /// A device that has stopped working is turned off: the words about it.
    pub fn trouble(&mut self) -> Option<String> {
        if let Some(why) = self.microphone.as_ref().and_then(|microphone| microphone.on.trouble()) {
            self.microphone = None;
            return Some(format!("your microphone is off: {why}"));
        }
        let why = self.loudspeaker.as_ref().and_then(|loudspeaker| loudspeaker.on.trouble())?;
        self.loudspeaker = None;
        Some(format!("your loudspeaker is off: {why}"))
    }
}
