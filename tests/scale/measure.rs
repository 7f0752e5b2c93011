//! CPU and memory, as the kernel counts them, and the table of results.

use rustix::time::clock_gettime;
use rustix::time::ClockId;
use std::fs;

/// CPU from a moment on.
pub struct Watch(u64);

impl Watch {
    pub fn start() -> Watch {
        Watch(cpu())
    }

    /// What this thread has computed since, in ns. What other processes do meanwhile does not count.
    pub fn cpu(&self) -> u64 {
        cpu().saturating_sub(self.0)
    }
}

/// Memory from a moment on. To ask the kernel takes milliseconds, so it is no part of a `Watch`.
pub struct Memory(usize);

impl Memory {
    pub fn start() -> Memory {
        Memory(memory())
    }

    /// How many bytes more the process has now.
    pub fn more(&self) -> usize {
        memory().saturating_sub(self.0)
    }
}

fn cpu() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn memory() -> usize {
    let text = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("Rss:")?.strip_suffix("kB")?.trim().parse().ok());
    kib.unwrap_or(0) * 1024
}

/// The table that is printed at the end.
#[derive(Default)]
pub struct Report(Vec<(String, String)>);

impl Report {
    pub fn row(&mut self, what: &str, value: String) {
        self.0.push((what.to_owned(), value));
    }

    /// `ns` for people.
    pub fn time(ns: u64) -> String {
        match ns {
            0..100_000 => format!("{:.1} µs", ns as f64 / 1e3),
            100_000..1_000_000_000 => format!("{:.1} ms", ns as f64 / 1e6),
            _ => format!("{:.1} s", ns as f64 / 1e9),
        }
    }

    pub fn print(&self) {
        println!("\n| what | measured |\n|---|---|");
        for (what, value) in &self.0 {
            println!("| {what} | {value} |");
        }
    }
}
