//! CPU and memory of a process, from /proc; and medians.

use std::collections::HashMap;
use std::fs;
use std::time::Duration;

use crate::Result;

/// The unit of /proc/PID/stat; Linux has had 100 a second there on every platform this bench is for.
const TICK: Duration = Duration::from_millis(10);

/// The CPU time that a process has used so far.
#[derive(Clone, Debug, Default)]
pub struct Cpu {
    /// In ns, exact, but a thread that ends takes its own away.
    threads: HashMap<String, u64>,
    /// In ticks: coarse, but with the threads that have ended.
    total: u64,
}

impl Cpu {
    /// Reads the CPU time of process `pid`.
    pub fn of(pid: u32) -> Result<Cpu> {
        let mut threads = HashMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let entry = entry?;
            // A thread may end between the listing and the reading.
            if let Ok(text) = fs::read_to_string(entry.path().join("schedstat")) {
                threads.insert(entry.file_name().to_string_lossy().into_owned(), first_number(&text)?);
            }
        }
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        // Behind the name in brackets, which may hold anything: state is field 3, utime 14, stime 15.
        let (_, fields) = stat.rsplit_once(')').ok_or("/proc/PID/stat has no name")?;
        let mut times = fields.split_whitespace().skip(11);
        let (user, system) = (times.next().unwrap_or_default(), times.next().unwrap_or_default());
        Ok(Cpu { threads, total: user.parse::<u64>()? + system.parse::<u64>()? })
    }

    /// What was used from `earlier` until now. The exact sum over threads, unless threads have ended meanwhile and
    /// the coarse total shows that theirs is missing.
    pub fn since(&self, earlier: &Cpu) -> Duration {
        let used = |(thread, now): (&String, &u64)| now - earlier.threads.get(thread).copied().unwrap_or(0).min(*now);
        let exact = Duration::from_nanos(self.threads.iter().map(used).sum());
        let ended = earlier.threads.keys().any(|thread| !self.threads.contains_key(thread));
        let coarse = TICK * u32::try_from(self.total.saturating_sub(earlier.total)).unwrap_or(u32::MAX);
        if ended && coarse > exact + 2 * TICK {
            return coarse;
        }
        exact
    }
}

/// The CPU time of the calling thread, exact.
pub fn own_thread() -> Result<Duration> {
    Ok(Duration::from_nanos(first_number(&fs::read_to_string("/proc/thread-self/schedstat")?)?))
}

/// Resident memory of process `pid`, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Rss:")).ok_or("smaps_rollup has no Rss")?;
    Ok(first_number(line)? * 1024)
}

fn first_number(text: &str) -> Result<u64> {
    Ok(text.split_whitespace().next().ok_or("a number is missing in /proc")?.parse()?)
}

/// Minimum, median and maximum of several rounds.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Of at least one value; of none, zeros.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Spread {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |n: usize| values.get(n).copied().unwrap_or(0.0);
        let last = values.len().saturating_sub(1);
        Spread { min: at(0), median: (at(last / 2) + at(values.len() / 2)) / 2.0, max: at(last) }
    }

    /// `min median max`, with `digits` behind the point.
    pub fn show(&self, digits: usize) -> String {
        format!("{:.digits$} {:.digits$} {:.digits$}", self.min, self.median, self.max)
    }
}
