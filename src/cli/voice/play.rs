//! `--play`: packets of an Ogg Opus file, in real time. A thread of its own reads it, as reading blocks.

use std::fs::File;
use std::io;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::path::PathBuf;
use std::thread;
use std::time::Instant;

use crate::cli::outcome::Stop;
use crate::cli::text;
use crate::client::voice::ogg::Heard;
use crate::client::voice::ogg::Reader;
use crate::client::voice::pacing::Pacing;
use crate::client::voice::Nudge;
use crate::engine::rt;
use crate::engine::rt::channel;

/// Packets that are read before it is their turn.
const AHEAD: usize = 64;

/// What is played.
pub struct Source {
    /// None: standard input.
    path: Option<PathBuf>,
    again: bool,
    /// The longest packet of a file, in bytes.
    pub longest: usize,
}

fn open(path: Option<&Path>) -> io::Result<Reader<Box<dyn Read>>> {
    Reader::new(match path {
        Some(path) => Box::new(BufReader::new(File::open(path)?)),
        None => Box::new(io::stdin().lock()),
    })
}

impl Source {
    /// Looks through a file, so that nobody joins to play what cannot be played.
    ///
    /// # Errors
    /// In words.
    pub fn new(given: &str, again: bool) -> Result<Source, Stop> {
        if given == "-" {
            return match again {
                true => Err(Stop::Usage("--loop needs a file: standard input comes once".to_owned())),
                false => Ok(Source { path: None, again, longest: 0 }),
            };
        }
        let path = PathBuf::from(given);
        let look = || {
            let (mut reader, mut longest) = (open(Some(&path))?, 0);
            while let Some(heard) = reader.read()? {
                longest = longest.max(heard.opus.len());
            }
            match longest {
                0 => Err(io::Error::other("there is no sound in it")),
                longest => Ok(longest),
            }
        };
        match look() {
            Ok(longest) => Ok(Source { path: Some(path), again, longest }),
            Err(error) => Err(unreadable(given, &error)),
        }
    }

    /// Begins to read.
    pub fn start(self, nudge: Nudge) -> Player {
        let (send, packets) = channel::bounded(AHEAD);
        let name = self.path.as_ref().map_or_else(|| "standard input".to_owned(), |path| path.display().to_string());
        thread::spawn(move || {
            if let Err(error) = self.read(&send, &nudge) {
                let _ = rt::block_on(send.send(Err(error)));
            }
            drop(send);
            nudge.nudge();
        });
        Player { name, packets, next: None, over: false, pacing: None, began: Instant::now() }
    }

    fn read(&self, send: &channel::Sender<io::Result<Heard>>, nudge: &Nudge) -> io::Result<()> {
        loop {
            let mut reader = open(self.path.as_deref())?;
            while let Some(heard) = reader.read()? {
                let waited = send.is_empty();
                if rt::block_on(send.send(Ok(heard))).is_err() {
                    return Ok(());
                }
                if waited {
                    nudge.nudge();
                }
            }
            if !self.again {
                return Ok(());
            }
        }
    }
}

fn unreadable(name: &str, error: &io::Error) -> Stop {
    let words = format!("--play {}: {error}", text::clean(name));
    let next = match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::Other => {
            "\nIt must be Ogg Opus; `opusenc sound.wav sound.opus` makes one."
        }
        _ => "",
    };
    Stop::Refused(words + next)
}

/// See the module.
pub struct Player {
    name: String,
    packets: channel::Receiver<io::Result<Heard>>,
    next: Option<Heard>,
    over: bool,
    /// None: nothing was sent so far.
    pacing: Option<Pacing>,
    began: Instant,
}

impl Player {
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    /// Gets what was read.
    fn fill(&mut self) -> Result<(), Stop> {
        if self.next.is_some() || self.over {
            return Ok(());
        }
        match self.packets.try_recv() {
            Ok(Ok(heard)) => self.next = Some(heard),
            Ok(Err(error)) => {
                self.over = true;
                return Err(unreadable(&self.name, &error));
            }
            Err(error) => self.over = error.is_closed(),
        }
        Ok(())
    }

    /// When the next packet is due; None: it is not there yet, or all are sent.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn due(&mut self) -> Result<Option<Instant>, Stop> {
        self.fill()?;
        let due = self.pacing.as_ref().map_or(0, Pacing::due);
        Ok(self.next.as_ref().map(|_| self.began + std::time::Duration::from_micros(due)))
    }

    /// The packet whose time has come, with its timestamp.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn take(&mut self) -> Result<Option<(Heard, u32)>, Stop> {
        if self.due()?.is_none_or(|due| due > Instant::now()) {
            return Ok(None);
        }
        let now = self.now();
        let Some(heard) = self.next.take() else { return Ok(None) };
        let timestamp = self.pacing.get_or_insert_with(|| Pacing::new(now)).send(now, heard.samples);
        Ok(Some((heard, timestamp)))
    }

    /// When the last sample sounds; None: there is more to come.
    pub fn end(&self) -> Option<Instant> {
        let due = self.pacing.as_ref().map_or(0, Pacing::due);
        self.over.then(|| self.began + std::time::Duration::from_micros(due))
    }
}
