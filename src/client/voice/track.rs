//! A recording of one speaker: what was not said, or not heard, takes its time in it too.

use std::io;
use std::io::Write;

use super::jitter::Sound;
use super::ogg::Writer;
use super::toc;
use super::toc::RATE;

/// A gap is no longer than what passed here since the packet before, and this, in milliseconds: whatever a timestamp says.
const BELIEVED: u64 = 2_000;

/// See the module.
pub struct Track<W: Write> {
    writer: Writer<W>,
    /// The first byte of the packet before.
    toc: u8,
    /// The timestamp of what would follow it.
    next: u32,
    /// When it was given out, in milliseconds.
    at: u64,
}

impl<W: Write> Track<W> {
    /// Begins with `sound`, `lead` milliseconds after the beginning of the recording. `page` as for `Writer::new`.
    ///
    /// # Errors
    /// Writing fails.
    pub fn new(to: W, serial: u32, page: u64, now: u64, lead: u64, sound: &Sound) -> io::Result<Track<W>> {
        let writer = Writer::new(to, serial, if toc::is_stereo(&sound.opus) { 2 } else { 1 }, page)?;
        let toc = sound.opus.first().copied().unwrap_or_default();
        let mut track = Track { writer, toc, next: sound.timestamp, at: now };
        track.bridge(samples(lead))?;
        track.put(now, sound)?;
        Ok(track)
    }

    /// Samples so far.
    pub fn samples(&self) -> u64 {
        self.writer.position()
    }

    /// What comes behind; `now` in milliseconds.
    ///
    /// # Errors
    /// Writing fails.
    pub fn write(&mut self, now: u64, sound: &Sound) -> io::Result<()> {
        let passed = now.saturating_sub(self.at);
        let told = sound.timestamp.wrapping_sub(self.next);
        let gap = match sound.follows && told <= i32::MAX as u32 {
            true => u64::from(told).min(samples(passed.saturating_add(BELIEVED))),
            // Another stream: the timestamps of the two have nothing to do with each other.
            false => samples(passed).saturating_sub(toc::frame(self.toc).into()),
        };
        self.bridge(gap)?;
        self.put(now, sound)
    }

    fn put(&mut self, now: u64, sound: &Sound) -> io::Result<()> {
        let long = toc::samples(&sound.opus).unwrap_or_default();
        (self.toc, self.at) = (sound.opus.first().copied().unwrap_or_default(), now);
        self.next = sound.timestamp.wrapping_add(long);
        self.writer.write(&sound.opus)
    }

    fn bridge(&mut self, mut gap: u64) -> io::Result<()> {
        while let Some((packet, long)) = toc::bridge(self.toc, gap) {
            self.writer.write(&packet)?;
            gap = gap.saturating_sub(long.into());
        }
        Ok(())
    }

    /// Ends the file.
    ///
    /// # Errors
    /// Writing fails.
    pub fn end(self) -> io::Result<W> {
        self.writer.end()
    }
}

fn samples(ms: u64) -> u64 {
    ms.saturating_mul(u64::from(RATE) / 1_000)
}

#[cfg(test)]
mod tests {
    use super::super::ogg::Reader;
    use super::super::ogg::PAGE;
    use super::*;

    fn sound(n: u32, follows: bool) -> Sound {
        Sound { opus: vec![0xf8, n as u8], timestamp: n.wrapping_mul(960), follows }
    }

    /// Lengths of what is in the file, in packets of 20 ms; gaps are negative.
    fn shape(track: Track<Vec<u8>>) -> Vec<i64> {
        let bytes = track.end().unwrap();
        let mut reader = Reader::new(&bytes[..]).unwrap();
        let mut shape: Vec<i64> = Vec::new();
        while let Some(heard) = reader.read().unwrap() {
            let sign = if heard.opus[0] & 3 == 3 { -1 } else { 1 };
            let length = sign * i64::from(heard.samples / 960);
            match shape.last_mut().filter(|last| last.signum() == sign) {
                Some(last) => *last += length,
                None => shape.push(length),
            }
        }
        shape
    }

    #[test]
    fn gaps_take_their_time() {
        let mut track = Track::new(Vec::new(), 1, PAGE, 500, 400, &sound(7, false)).unwrap();
        track.write(520, &sound(8, true)).unwrap();
        // Three were lost.
        track.write(600, &sound(12, true)).unwrap();
        // Another stream, a second later.
        track.write(1_620, &sound(900_000, false)).unwrap();
        assert_eq!(track.samples(), (20 + 2 + 3 + 1 + 50 + 1) * 960);
        assert_eq!(shape(track), [-20, 2, -3, 1, -50, 1]);
    }

    #[test]
    fn timestamps_are_not_believed_far() {
        let mut track = Track::new(Vec::new(), 1, PAGE, 0, 0, &sound(0, false)).unwrap();
        // Half a day ahead, 20 ms later.
        track.write(20, &sound(2_000_000, true)).unwrap();
        // Behind what was there.
        track.write(40, &sound(1_999_990, true)).unwrap();
        track.write(60, &sound(1_999_991, true)).unwrap();
        assert_eq!(shape(track), [1, -101, 3]);
    }

    #[test]
    fn timestamps_go_round() {
        let mut track = Track::new(Vec::new(), 1, PAGE, 0, 0, &sound(0, false)).unwrap();
        track.next = 0u32.wrapping_sub(960);
        track.write(20, &sound(0, true)).unwrap();
        assert_eq!(shape(track), [1, -1, 1]);
    }
}
