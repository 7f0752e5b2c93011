//! What a microphone hears until the task fetches it: the microphone does not wait, so the oldest is lost when nobody comes.

use std::collections::VecDeque;

/// Sound is fetched in pieces of a 50th of a second: 20 ms.
pub const PIECES: u32 = 50;
/// What is kept, at most: half a second.
const KEPT: u32 = 2;

/// See the module. One channel.
#[derive(Debug, Default)]
pub struct Taken {
    samples: VecDeque<f32>,
    /// Samples that nobody fetched in time, before these.
    lost: u64,
    /// The task was told that there is something.
    nudged: bool,
}

impl Taken {
    /// The microphone, of so many samples a second, hears more. True: the task is to be nudged.
    pub fn put(&mut self, piece: &[f32], rate: u32) -> bool {
        self.samples.extend(piece);
        let over = self.samples.len().saturating_sub((rate / KEPT) as usize);
        self.samples.drain(..over);
        self.lost = self.lost.saturating_add(over as u64);
        self.samples.len() >= (rate / PIECES) as usize && !std::mem::replace(&mut self.nudged, true)
    }

    /// All that there is goes behind `to`; how much was lost before it, in samples.
    pub fn fetch(&mut self, to: &mut Vec<f32>) -> u64 {
        to.extend(self.samples.drain(..));
        self.nudged = false;
        std::mem::take(&mut self.lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_fetches_is_lost_at_last() {
        let mut taken = Taken::default();
        assert!(!taken.put(&[0.5; 480], 48_000) && taken.put(&[0.5; 480], 48_000));
        assert!(!taken.put(&[0.5; 960], 48_000), "nudged once");
        let mut out = Vec::new();
        assert_eq!((taken.fetch(&mut out), out.len()), (0, 1_920));
        assert!(taken.put(&[0.25; 25_000], 48_000));
        out.clear();
        assert_eq!((taken.fetch(&mut out), out.len()), (1_000, 24_000));
    }
}
