//! Sound devices without a card. ALSA's plugin `null` takes and gives samples as fast as it is asked; in front of it the plugin `file`
//! writes them to a pipe, or reads them from one. At the other end of the pipe is a thread here, at the pace of a card: by a timer of the kernel.

use std::fs::File;
use std::io;
use std::io::Read;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::sync::Arc;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::fs::mkfifoat;
use rustix::fs::open;
use rustix::fs::Mode;
use rustix::fs::OFlags;
use rustix::fs::CWD;
use rustix::time::timerfd_create;
use rustix::time::timerfd_settime;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;
use rustix::time::Timespec;

use super::support::TempDir;

/// Samples a second.
pub const RATE: u32 = 48_000;
/// Samples of 20 ms, in which a card works.
const PERIOD: usize = 960;

/// Both ends of a pipe with a name, so that opening it waits for nobody.
fn pipe(path: &Path) -> File {
    mkfifoat(CWD, path, Mode::RUSR | Mode::WUSR).expect("a pipe");
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
    File::from(open(path, flags, Mode::empty()).expect("the pipe"))
}

/// Comes each 20 ms.
struct Timer(File);

impl Timer {
    fn new() -> Timer {
        let timer: OwnedFd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).expect("a timer");
        let period = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };
        let setting = Itimerspec { it_interval: period, it_value: period };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting).expect("the timer takes its setting");
        Timer(File::from(timer))
    }

    /// Waits: how often it came.
    fn wait(&mut self) -> usize {
        let mut times = [0; 8];
        self.0.read_exact(&mut times).expect("the timer comes");
        usize::try_from(u64::from_ne_bytes(times)).expect("a number")
    }
}

/// A device, until it is dropped.
struct Device {
    folder: TempDir,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Device {
    /// What is done at each turn is told how often the timer came.
    fn new(mut turn: impl FnMut(&mut File, usize) + Send + 'static) -> Device {
        let folder = TempDir::new();
        let mut pipe = pipe(&folder.path().join("pipe"));
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            let mut timer = Timer::new();
            while !until.load(Ordering::Relaxed) {
                turn(&mut pipe, timer.wait());
            }
        });
        Device { folder, over, thread: Some(thread) }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("pipe")
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The configuration of ALSA, all of it.
fn alsa(file: &Path, infile: Option<&Path>) -> String {
    let infile = infile.map_or_else(String::new, |path| format!("infile \"{}\"\n", path.display()));
    format!(
        "pcm.nothing {{ type null }}\npcm.default {{\ntype file\nslave.pcm nothing\nfile \"{}\"\n{infile}format raw\n}}\n",
        file.display()
    )
}

/// It hears a tone.
pub struct Microphone(Device);

impl Microphone {
    /// Turns it on.
    pub fn new(hertz: f64, loud: f64) -> Microphone {
        let mut n = 0u64;
        Microphone(Device::new(move |pipe, times| {
            for _ in 0..times {
                let mut bytes = Vec::with_capacity(PERIOD * 4);
                for n in n..n + PERIOD as u64 {
                    let wave = (n as f64 / f64::from(RATE) * hertz * std::f64::consts::TAU).sin() * loud;
                    bytes.extend((wave as f32).to_le_bytes());
                }
                // So few bytes go as a whole or not at all, which is when nobody listens.
                match pipe.write(&bytes) {
                    Ok(count) => assert_eq!(count, bytes.len()),
                    Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
                }
                n += PERIOD as u64;
            }
        }))
    }

    /// For ALSA: one channel of floats.
    pub fn alsa(&self) -> String {
        alsa(Path::new("/dev/null"), Some(&self.0.path()))
    }
}

/// What it sounds can be had here.
pub struct Loudspeaker {
    device: Device,
    samples: mpsc::Receiver<Vec<f32>>,
}

impl Loudspeaker {
    /// Turns it on.
    pub fn new() -> Loudspeaker {
        let (send, samples) = mpsc::channel();
        let mut kept = Vec::new();
        let device = Device::new(move |pipe, times| {
            let mut room = vec![0; times * PERIOD * 8];
            match pipe.read(&mut room) {
                Ok(count) => kept.extend_from_slice(&room[..count]),
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
            // Two channels of floats, with the same in both.
            let whole = kept.len() / 8 * 8;
            let rest = kept.split_off(whole);
            let frames = std::mem::replace(&mut kept, rest);
            let one = |frame: &[u8]| {
                assert_eq!(frame[..4], frame[4..]);
                f32::from_le_bytes([frame[0], frame[1], frame[2], frame[3]])
            };
            let _ = send.send(frames.chunks_exact(8).map(one).collect());
        });
        Loudspeaker { device, samples }
    }

    /// For ALSA: two channels of floats.
    pub fn alsa(&self) -> String {
        alsa(&self.device.path(), None)
    }

    /// What sounds next.
    #[track_caller]
    pub fn next(&self, patience: Duration) -> Vec<f32> {
        self.samples.recv_timeout(patience).expect("the loudspeaker is on")
    }
}
