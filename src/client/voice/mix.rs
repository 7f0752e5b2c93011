//! What all speakers say, as one sound: it is taken in by whoever decodes, and out by the clock of a sound device. Positions are
//! samples at 48 kHz since the device began. The two clocks drift apart; who runs empty gets a small lead again, and what piles up is left
//! out until only the lead is there.

use std::collections::VecDeque;

/// The least and the most that waits ahead of the device when somebody begins: 20 and 200 ms.
const LEAD: (usize, usize) = (960, 9_600);
/// What may pile up above that: 200 ms.
const PILE: u64 = 9_600;
/// The longest that is added at once: a packet of 120 ms, and a gap as long.
const LONGEST: usize = 11_520;

/// Where a speaker is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place {
    /// Where what comes next begins; None: nothing came so far.
    next: Option<u64>,
    /// Too much has piled up.
    skips: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Mix {
    samples: VecDeque<f32>,
    /// The position of the first one.
    at: u64,
    /// What the device takes at once.
    piece: usize,
}

impl Mix {
    /// The device takes so much; what is not there is silence. Louder than 1 there is nothing.
    pub fn take(&mut self, to: &mut [f32]) {
        let there = self.samples.len().min(to.len());
        for (to, sample) in to.iter_mut().zip(self.samples.drain(..there)) {
            *to = sample.clamp(-1.0, 1.0);
        }
        to[there..].fill(0.0);
        self.at = self.at.saturating_add(to.len() as u64);
        self.piece = self.piece.max(to.len());
    }

    fn lead(&self) -> u64 {
        // A whole piece may be taken right before what comes next.
        (self.piece * 2).clamp(LEAD.0, LEAD.1) as u64
    }

    /// A speaker says that, after a silence of `gap` samples. False: it was left out.
    pub fn add(&mut self, place: &mut Place, gap: u64, sound: &[f32]) -> bool {
        let begin = self.at.saturating_add(self.lead());
        // Who is late begins anew.
        let next = place.next.map(|next| next.saturating_add(gap)).filter(|next| *next >= self.at).unwrap_or(begin);
        place.skips = next > begin.saturating_add(if place.skips { 0 } else { PILE });
        if place.skips {
            return false;
        }
        let sound = sound.get(..LONGEST).unwrap_or(sound);
        // It is at most the lead and the pile.
        let offset = usize::try_from(next - self.at).unwrap_or(usize::MAX).min(LEAD.1 + PILE as usize);
        let end = offset + sound.len();
        if self.samples.len() < end {
            self.samples.resize(end, 0.0);
        }
        for (to, sample) in self.samples.range_mut(offset..end).zip(sound) {
            *to += sample;
        }
        place.next = Some(next.saturating_add(sound.len() as u64));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(mix: &mut Mix, count: usize) -> Vec<f32> {
        let mut out = vec![9.0; count];
        mix.take(&mut out);
        out
    }

    #[test]
    fn two_at_once_are_added_up() {
        let mut mix = Mix::default();
        let (mut alice, mut bob) = (Place::default(), Place::default());
        assert_eq!(take(&mut mix, 480), [0.0; 480]);
        assert!(mix.add(&mut alice, 7, &[0.25; 960]) && mix.add(&mut bob, 0, &[0.5; 480]));
        assert!(mix.add(&mut alice, 0, &[0.75; 480]) && mix.add(&mut bob, 480, &[0.5; 480]));
        let out = take(&mut mix, 960 + 1_440 + 10);
        let expected = [&[0.0; 960][..], &[0.75; 480], &[0.25; 480], &[1.0; 480], &[0.0; 10]].concat();
        assert_eq!(out, expected);
    }

    #[test]
    fn who_comes_late_begins_anew() {
        let mut mix = Mix::default();
        let mut place = Place::default();
        assert!(mix.add(&mut place, 0, &[0.5; 960]));
        take(&mut mix, 5_000);
        assert!(mix.add(&mut place, 0, &[0.5; 960]));
        // Now the device takes more at once.
        let out = take(&mut mix, 9_600 + 960);
        assert_eq!((out[9_599], out[9_600], out[10_559]), (0.0, 0.5, 0.5));
    }

    #[test]
    fn what_piles_up_is_left_out() {
        let mut mix = Mix::default();
        let mut place = Place::default();
        let added = (0..1_000).filter(|_| mix.add(&mut place, 0, &[0.5; 960])).count();
        assert_eq!(added, 11, "200 ms, and what begins within them");
        assert!(mix.samples.len() <= 960 + 9_600 + 960);
        // A gap from afar adds nothing either.
        assert!(!mix.add(&mut place, u64::MAX, &[0.5; 960]));
        // Only when it has shrunk to the lead it goes on, without a hole.
        take(&mut mix, 960);
        assert!(!mix.add(&mut place, 0, &[0.5; 960]));
        (0..9).for_each(|_| drop(take(&mut mix, 960)));
        assert!(mix.add(&mut place, 0, &[0.5; 960]));
        assert!(take(&mut mix, 960).iter().all(|sample| *sample == 0.5));
    }
}
