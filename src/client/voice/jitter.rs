//! What one speaker says, in order and in time: packets that the network delayed differently or mixed up. Driven by the caller's
//! clock, in milliseconds.

use std::collections::BTreeMap;

use super::frame::Frame;

/// How long the first packet waits: so late may others be and still sound in time.
pub const START: u64 = 60;
/// The same where nobody waits for it, as for a file.
pub const PATIENT: u64 = 500;
/// Packets that are held, at most; when there are more, the oldest is given out at once. More come only after a standstill of the
/// network, or from who sends too fast.
const HELD: usize = 256;
/// Who says nothing for so long begins anew: it may be another stream, with other numbers.
const PAUSE: u64 = 1_000;
/// Who is so far behind in sequence, in packets, is no late packet but another stream.
const ANEW: i64 = 250;
/// A packet that says it sounds later than this is not believed, in milliseconds.
const AHEAD: u64 = 2_000;

/// Samples of a millisecond.
const MS: u64 = 48;

fn samples(ms: u64) -> u64 {
    ms.saturating_mul(MS)
}

/// A packet whose time has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sound {
    /// Opus.
    pub opus: Vec<u8>,
    /// As its sender wrote it.
    pub timestamp: u32,
    /// It follows what came before it: between the timestamps there is as much time as the speaker let pass. Else it is the first one, or
    /// of another stream.
    pub follows: bool,
}

/// What became of the packets of a speaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Given out.
    pub heard: u64,
    /// Never came, as far as the numbers tell.
    pub missing: u64,
    /// Came behind one that follows it, or twice.
    pub late: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Jitter {
    /// How long the first packet waits.
    wait: u64,
    held: BTreeMap<i64, (u32, Vec<u8>)>,
    /// The sequence of what was given out last, without its going round.
    last: Option<i64>,
    /// When packets sound: the one with this timestamp at this time, in samples at 48 kHz, so that nothing is rounded twice.
    clock: Option<(u32, u64)>,
    /// When the last one came.
    came: u64,
    /// What is given out next begins anew.
    anew: bool,
    count: Count,
}

impl Default for Jitter {
    fn default() -> Jitter {
        Jitter::waiting(START)
    }
}

impl Jitter {
    /// One whose first packet waits for so long, in milliseconds.
    pub fn waiting(wait: u64) -> Jitter {
        let (last, clock, count) = (None, None, Count::default());
        Jitter { wait, held: BTreeMap::new(), last, clock, came: 0, anew: false, count }
    }

    /// So far.
    pub fn count(&self) -> Count {
        self.count
    }

    /// A packet came.
    pub fn push(&mut self, now: u64, frame: Frame<'_>) {
        if self.held.is_empty() && now.saturating_sub(self.came) > PAUSE {
            self.last = None;
        }
        self.came = now;
        // The number next to the newest one that is known.
        let newest = self.held.last_key_value().map(|(sequence, _)| *sequence).or(self.last);
        let mut sequence = newest.map_or(i64::from(frame.sequence), |newest| {
            newest.wrapping_add(i64::from(frame.sequence.wrapping_sub(newest as u16) as i16))
        });
        if let Some(last) = self.last.filter(|last| sequence <= *last) {
            if last.saturating_sub(sequence) < ANEW || !self.held.is_empty() {
                self.count.late += 1;
                return;
            }
            self.last = None;
            sequence = frame.sequence.into();
        }
        if self.last.is_none() && self.held.is_empty() {
            self.begin(now, frame.timestamp);
            self.anew = true;
        } else if self.held.is_empty() && self.due_at(now, frame.timestamp) < now {
            // All that came before it was too late: so may be what follows, without a longer wait.
            self.begin(now, frame.timestamp);
        }
        match self.held.contains_key(&sequence) || self.held.len() > HELD {
            true => self.count.late += 1,
            false => drop(self.held.insert(sequence, (frame.timestamp, frame.opus.to_vec()))),
        }
    }

    fn begin(&mut self, now: u64, timestamp: u32) {
        self.clock = Some((timestamp, samples(now.saturating_add(self.wait))));
    }

    /// When what has this timestamp sounds.
    fn due_at(&self, now: u64, timestamp: u32) -> u64 {
        let due = self.clock.map_or(samples(now), |clock| self.due_in_samples(clock, timestamp));
        due.div_ceil(MS)
    }

    fn due_in_samples(&self, (base, at): (u32, u64), timestamp: u32) -> u64 {
        let due = at.saturating_add_signed(i64::from(timestamp.wrapping_sub(base) as i32));
        due.min(samples(self.came.saturating_add(AHEAD)))
    }

    /// When `pop` has something; None: when something came.
    pub fn due(&self, now: u64) -> Option<u64> {
        let (_, (timestamp, _)) = self.held.first_key_value()?;
        Some(if self.held.len() > HELD { now } else { self.due_at(now, *timestamp) })
    }

    /// The next packet, if its time has come.
    pub fn pop(&mut self, now: u64) -> Option<Sound> {
        if self.due(now)? > now {
            return None;
        }
        let (sequence, (timestamp, opus)) = self.held.pop_first()?;
        // Timestamps go round: later ones are counted from here.
        self.clock = self.clock.map(|clock| (timestamp, self.due_in_samples(clock, timestamp)));
        let missing = self.last.map_or(0, |last| sequence.saturating_sub(last).saturating_sub(1));
        self.count.missing += u64::try_from(missing).unwrap_or(0);
        self.count.heard += 1;
        self.last = Some(sequence);
        Some(Sound { opus, timestamp, follows: !std::mem::take(&mut self.anew) })
    }

    /// All that is held, in order, whatever time it is.
    pub fn rest(&mut self) -> Option<Sound> {
        self.pop(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const OPUS: [u8; 2] = [0xf8, 0];

    fn frame(n: u64) -> Frame<'static> {
        Frame { sequence: n as u16, timestamp: (n * 960) as u32, opus: &OPUS }
    }

    /// What was given out until `now`: packets by number, and when.
    fn drain(jitter: &mut Jitter, until: u64) -> Vec<(u64, u64)> {
        let mut all = Vec::new();
        while let Some(due) = jitter.due(0).filter(|due| *due <= until) {
            assert!(due == 0 || jitter.pop(due - 1).is_none());
            let sound = jitter.pop(due).unwrap();
            all.push((u64::from(sound.timestamp / 960), due));
        }
        all
    }

    #[test]
    fn the_first_one_waits_and_the_rest_follows_in_time() {
        let mut jitter = Jitter::default();
        for (n, delay) in [0, 7, 50, 0, 19].into_iter().enumerate() {
            jitter.push(1_000 + n as u64 * 20 + delay, frame(n as u64));
        }
        assert_eq!(drain(&mut jitter, u64::MAX), [(0, 1_060), (1, 1_080), (2, 1_100), (3, 1_120), (4, 1_140)]);
        assert_eq!(jitter.count(), Count { heard: 5, missing: 0, late: 0 });
    }

    #[test]
    fn mixed_up_is_put_in_order_and_late_is_dropped() {
        let mut jitter = Jitter::default();
        [0, 2, 1, 2, 4].into_iter().for_each(|n| jitter.push(0, frame(n)));
        assert_eq!(drain(&mut jitter, 1_000), [(0, 60), (1, 80), (2, 100), (4, 140)]);
        // Behind what was given out.
        jitter.push(150, frame(3));
        jitter.push(150, frame(5));
        assert_eq!(drain(&mut jitter, 1_000), [(5, 160)]);
        assert_eq!(jitter.count(), Count { heard: 5, missing: 1, late: 2 });
    }

    #[test]
    fn who_was_slow_is_waited_for_anew() {
        let mut jitter = Jitter::default();
        jitter.push(0, frame(0));
        assert_eq!(drain(&mut jitter, 60), [(0, 60)]);
        jitter.push(500, frame(1));
        jitter.push(500, frame(2));
        assert_eq!(drain(&mut jitter, 1_000), [(1, 560), (2, 580)]);
        assert_eq!(jitter.count().late, 0);
    }

    #[test]
    fn numbers_go_round() {
        // The sequence goes round, and, at 4,473,924 packets, the timestamp too.
        for (first, count) in [(0, 140_000), (4_473_000, 2_000)] {
            let (mut jitter, mut heard) = (Jitter::default(), 0);
            for n in first..first + count {
                jitter.push(n * 20, frame(n));
                heard += std::iter::from_fn(|| jitter.pop(n * 20)).count() as u64;
            }
            heard += std::iter::from_fn(|| jitter.rest()).count() as u64;
            assert_eq!((heard, jitter.count()), (count, Count { heard, missing: 0, late: 0 }));
        }
    }

    #[test]
    fn short_packets_do_not_drift() {
        let mut jitter = Jitter::default();
        for n in 0..40_000u32 {
            let now = u64::from(n) * 5 / 2;
            jitter.push(now, Frame { sequence: n as u16, timestamp: n * 120, opus: &[0xe0, 0] });
            while jitter.pop(now).is_some() {}
        }
        assert!((24..=25).contains(&jitter.held.len()), "60 ms of them: {}", jitter.held.len());
    }

    #[test]
    fn another_stream_begins_anew() {
        for (pause, last) in [(100, 5_000), (1_100, 100)] {
            let mut jitter = Jitter::default();
            jitter.push(0, frame(last));
            assert!(!jitter.pop(60).unwrap().follows);
            jitter.push(60 + pause, frame(0));
            jitter.push(60 + pause, frame(1));
            let sounds: Vec<bool> = [jitter.rest().unwrap(), jitter.rest().unwrap()].map(|sound| sound.follows).into();
            assert_eq!((sounds, jitter.count().late), (vec![false, true], 0));
        }
    }

    proptest! {
        /// Whatever comes: what is held has a bound, and everything comes out within two seconds.
        #[test]
        fn nobody_fills_it(frames in proptest::collection::vec((any::<u16>(), any::<u32>(), 0u64..50), 1..600)) {
            let (mut jitter, mut now) = (Jitter::default(), 0);
            for (sequence, timestamp, pause) in frames {
                now += pause;
                jitter.push(now, Frame { sequence, timestamp, opus: &OPUS });
                while jitter.pop(now).is_some() {}
                prop_assert!(jitter.held.len() <= HELD + 1);
                prop_assert!(jitter.due(now).is_none_or(|due| due > now && due <= now + AHEAD));
            }
        }
    }
}
