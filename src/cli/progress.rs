//! One line at the bottom of a terminal that tells how far a transfer is. Written by hand: a line of text and a clock is
//! all there is to it, and no further crate has to be trusted for that.

use std::io::IsTerminal;
use std::io::Write;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use super::text;
use crate::client::store::Watch;

/// How often the line is written anew.
const BEAT: Duration = Duration::from_millis(100);
/// The rate is that of about so long a time.
const MEMORY: f64 = 3.0;

/// See the module. Also counts, for the last word.
pub struct Progress {
    state: Mutex<State>,
    shown: bool,
}

struct State {
    began: Instant,
    /// Of all that is known so far.
    total: u64,
    /// There will be more than `total`.
    growing: bool,
    moved: u64,
    kept: u64,
    files: u64,
    /// Bytes a second, smoothed.
    rate: f64,
    /// When the line was written, and what was moved by then.
    last: (Instant, u64),
    visible: bool,
}

impl Progress {
    /// Shown only on a terminal, unless somebody reads the output by program.
    pub fn new(json: bool) -> Progress {
        let now = Instant::now();
        let shown = !json && std::io::stderr().is_terminal() && !text::dumb();
        let state = State {
            began: now,
            total: 0,
            growing: true,
            moved: 0,
            kept: 0,
            files: 0,
            rate: 0.0,
            last: (now, 0),
            visible: false,
        };
        Progress { state: Mutex::new(state), shown }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many bytes more are to be moved.
    pub fn expect(&self, bytes: u64) {
        let mut state = self.lock();
        state.total = state.total.saturating_add(bytes);
        self.beat(&mut state);
    }

    /// All that is to be moved is known.
    pub fn complete(&self) {
        self.lock().growing = false;
    }

    /// A file is done.
    pub fn file(&self) {
        let mut state = self.lock();
        state.files += 1;
        self.beat(&mut state);
    }

    /// Takes the line away, for other words or for good.
    pub fn clear(&self) {
        let mut state = self.lock();
        if std::mem::take(&mut state.visible) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    /// Takes the line away, and sums up when it is worth it.
    pub fn end(&self, verb: &str) {
        self.clear();
        let state = self.lock();
        let seconds = state.began.elapsed().as_secs_f64();
        if self.shown && (state.files > 1 || seconds >= 1.0) {
            let rate = text::size(whole(state.moved as f64 / seconds.max(0.001)));
            let files = if state.files == 1 { "1 file".to_owned() } else { format!("{} files", state.files) };
            let kept = match state.kept {
                0 => String::new(),
                kept => format!(", {} were there already", text::size(kept)),
            };
            eprintln!("{verb} {files}, {} in {seconds:.1} s ({rate}/s){kept}", text::size(state.moved));
        }
    }

    fn beat(&self, state: &mut State) {
        let (at, before) = state.last;
        let since = at.elapsed();
        if !self.shown || since < BEAT {
            return;
        }
        let seconds = since.as_secs_f64();
        let now = state.moved.saturating_sub(before) as f64 / seconds;
        let weight = (seconds / MEMORY).min(1.0);
        state.rate = if state.rate == 0.0 { now } else { state.rate + (now - state.rate) * weight };
        state.last = (Instant::now(), state.moved);
        state.visible = true;
        let _ = write!(std::io::stderr(), "\r{}\x1b[K", state.line());
    }
}

/// A number that is not below 0.
fn whole(number: f64) -> u64 {
    // A cast of a float ends at the bounds of the number.
    number as u64
}

impl State {
    fn line(&self) -> String {
        let done = self.moved.saturating_add(self.kept);
        let rate = text::size(whole(self.rate));
        let files = if self.files == 1 { "1 file".to_owned() } else { format!("{} files", self.files) };
        if self.growing || self.total == 0 {
            return format!("{files}, {}  {rate}/s", text::size(done));
        }
        let percent = u128::from(done.min(self.total)) * 100 / u128::from(self.total);
        let left = match self.rate {
            rate if rate >= 1.0 => span(whole(self.total.saturating_sub(done) as f64 / rate)),
            _ => "-:--".to_owned(),
        };
        format!("{percent:3}%  {} of {}  {rate}/s  {left} left", text::size(done), text::size(self.total))
    }
}

/// `m:ss`, or `h:mm:ss`.
fn span(seconds: u64) -> String {
    match (seconds / 3_600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

impl Watch for Progress {
    fn moved(&self, bytes: u64) {
        let mut state = self.lock();
        state.moved = state.moved.saturating_add(bytes);
        self.beat(&mut state);
    }

    fn kept(&self, bytes: u64) {
        let mut state = self.lock();
        state.kept = state.kept.saturating_add(bytes);
        self.beat(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line() {
        let progress = Progress::new(true);
        progress.expect(4 << 20);
        progress.moved(1 << 20);
        let mut state = progress.lock();
        state.rate = 1_048_576.0;
        assert_eq!(state.line(), "0 files, 1.00 MiB  1.00 MiB/s");
        state.growing = false;
        assert_eq!(state.line(), " 25%  1.00 MiB of 4.00 MiB  1.00 MiB/s  0:03 left");
        state.rate = 100.0;
        assert!(state.line().ends_with("8:44:17 left"), "{}", state.line());
        state.rate = 0.0;
        assert!(state.line().ends_with("-:-- left"));
    }
}
