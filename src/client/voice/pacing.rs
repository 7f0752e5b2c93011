//! When the next packet goes out: in real time, by how long the packets before it sound. Nothing adds up: each moment is counted from
//! the beginning.

use super::toc::RATE;

/// Who is later than this does not catch up, in microseconds: a burst of old packets would help nobody.
const LATE: u64 = 2_000_000;

/// See the module.
#[derive(Clone, Debug)]
pub struct Pacing {
    /// When the first sample sounds, in microseconds of the caller's clock.
    began: u64,
    /// Samples that were sent, and those that were skipped.
    samples: u64,
}

impl Pacing {
    /// Begins now, in microseconds.
    pub fn new(now: u64) -> Pacing {
        Pacing { began: now, samples: 0 }
    }

    /// When the next packet is due, in microseconds.
    pub fn due(&self) -> u64 {
        self.began.saturating_add(micros(self.samples))
    }

    /// A packet of so many samples goes out now; its timestamp. After a standstill it stands behind a gap.
    pub fn send(&mut self, now: u64, samples: u32) -> u32 {
        let late = now.saturating_sub(self.due());
        if late > LATE {
            self.samples = self.samples.saturating_add(u64::from(RATE).saturating_mul(late) / 1_000_000);
        }
        let timestamp = self.samples as u32;
        self.samples = self.samples.saturating_add(samples.into());
        timestamp
    }
}

fn micros(samples: u64) -> u64 {
    // 48 samples are a millisecond.
    samples / 48 * 1_000 + samples % 48 * 1_000 / 48
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_drift_in_a_day() {
        let mut pacing = Pacing::new(7);
        let (mut now, mut sent) = (7, 0u64);
        while sent < 48_000 * 86_400 {
            // Whoever waits wakes up a little late.
            now = now.max(pacing.due() + sent % 997);
            assert_eq!(pacing.send(now, 120), sent as u32);
            sent += 120;
        }
        assert_eq!(pacing.due(), 7 + 86_400 * 1_000_000);
    }

    #[test]
    fn after_a_standstill_there_is_a_gap() {
        let mut pacing = Pacing::new(0);
        assert_eq!((pacing.send(0, 960), pacing.due()), (0, 20_000));
        assert_eq!((pacing.send(2_020_000, 960), pacing.due()), (960, 40_000));
        assert_eq!((pacing.send(4_040_000, 960), pacing.due()), (193_920, 4_060_000));
    }
}
