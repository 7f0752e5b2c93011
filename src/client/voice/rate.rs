//! Another sample rate, by straight lines between samples: for sound devices that have no 48 kHz. Sounds higher than half of the lower rate
//! are not taken away first; in speech there is little of them.

/// See the module. One channel.
#[derive(Clone, Debug)]
pub struct Rate {
    from: u64,
    to: u64,
    /// Where the next sample lies behind `last`, in parts of which `to` are a sample of what comes in.
    at: u64,
    last: f32,
}

impl Rate {
    /// From so many samples a second to so many; 0 counts as 1.
    pub fn new(from: u32, to: u32) -> Rate {
        Rate { from: u64::from(from.max(1)), to: u64::from(to.max(1)), at: 0, last: 0.0 }
    }

    /// A sample comes; those that follow from it go to `give`. There is one sample of delay.
    pub fn feed(&mut self, sample: f32, mut give: impl FnMut(f32)) {
        while self.at < self.to {
            give(self.last + (sample - self.last) * (self.at as f32 / self.to as f32));
            self.at += self.from;
        }
        self.at -= self.to;
        self.last = sample;
    }

    /// How many must come until at least `count` are given.
    pub fn needs(&self, count: usize) -> usize {
        let Some(more) = u64::try_from(count).ok().and_then(|count| count.checked_sub(1)) else { return 0 };
        let end = more.saturating_mul(self.from).saturating_add(self.at);
        usize::try_from(end / self.to + 1).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wave(rate: u32, n: usize) -> f32 {
        (n as f32 / rate as f32 * 440.0 * std::f32::consts::TAU).sin()
    }

    #[test]
    fn a_tone_stays_the_tone() {
        for (from, to) in [(48_000, 48_000), (44_100, 48_000), (48_000, 44_100), (16_000, 48_000), (96_000, 48_000)] {
            let mut rate = Rate::new(from, to);
            let mut out = Vec::new();
            for n in 0..from as usize {
                rate.feed(wave(from, n), |sample| out.push(sample));
            }
            assert!(out.len().abs_diff(to as usize) <= 1, "{from} to {to}: {}", out.len());
            // One sample of what came in later.
            let delay = to as f32 / from as f32;
            for (n, is) in out.iter().enumerate().skip(10) {
                let was = ((n as f32 - delay) / to as f32 * 440.0 * std::f32::consts::TAU).sin();
                assert!((is - was).abs() < 0.02, "{from} to {to}, {n}: {is} instead of {was}");
            }
        }
    }

    #[test]
    fn needs_no_more_and_no_less() {
        for (from, to) in [(48_000, 48_000), (48_000, 44_100), (48_000, 8_000), (48_000, 192_000)] {
            let mut rate = Rate::new(from, to);
            for count in [0, 1, 7, 480, 959, 1, 2] {
                let (needs, mut given) = (rate.needs(count), 0);
                for n in 0..needs {
                    assert!(given < count, "{from} to {to}: {n} of {needs} were enough for {count}");
                    rate.feed(0.5, |_| given += 1);
                }
                assert!(given >= count, "{from} to {to}: {given} of {count}");
            }
        }
    }
}
