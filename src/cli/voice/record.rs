//! `--record`: a file for each speaker. FILE has the first one, FILE-NAME the others; all begin when the first one spoke, so that
//! playing them at once gives the conversation.

use std::collections::BTreeMap;
use std::fs::File;
use std::fs::OpenOptions;
use std::io;
use std::io::BufWriter;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use crate::cli::outcome::Stop;
use crate::client::voice::jitter::Sound;
use crate::client::voice::ogg::PAGE;
use crate::client::voice::toc::RATE;
use crate::client::voice::track::Track;

/// Speakers that are recorded, at most: each has a file open.
const SPEAKERS: usize = 64;
/// Files of one name that are there already, at most.
const TRIES: u32 = 100;

type Out = Box<dyn Write>;

/// A recording that is done.
#[derive(Debug, PartialEq, Eq)]
pub struct Done {
    /// Who.
    pub user: String,
    /// Where; None: standard output.
    pub file: Option<PathBuf>,
    /// How long.
    pub milliseconds: u64,
}

/// See the module.
pub struct Recorder {
    /// None: standard output.
    path: Option<PathBuf>,
    /// The file for the first speaker; None: it has one.
    first: Option<Out>,
    began: u64,
    tracks: BTreeMap<String, (Option<PathBuf>, Track<Out>)>,
    /// Speakers that get no file.
    left_out: Vec<String>,
}

fn create(path: &Path) -> io::Result<Out> {
    let file: File = OpenOptions::new().write(true).create_new(true).open(path)?;
    Ok(Box::new(BufWriter::new(file)))
}

/// A name as a part of a file's.
fn plain(name: &str) -> String {
    let keep = |c: char| if c.is_alphanumeric() || matches!(c, '-' | '_') { c } else { '_' };
    name.chars().take(48).map(keep).collect()
}

impl Recorder {
    /// Makes the file for the first speaker.
    ///
    /// # Errors
    /// It is there already, or cannot be made; in words.
    pub fn new(given: &str) -> Result<Recorder, Stop> {
        let path = (given != "-").then(|| PathBuf::from(given));
        let first = match &path {
            None => Box::new(io::stdout()) as Out,
            Some(path) => create(path).map_err(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Stop::Refused(format!(
                    "--record {}: it is there already.\nGive another name, or remove it.",
                    path.display()
                )),
                _ => Stop::Refused(format!("--record {}: {error}", path.display())),
            })?,
        };
        Ok(Recorder { path, first: Some(first), began: 0, tracks: BTreeMap::new(), left_out: Vec::new() })
    }

    /// Records what a speaker says; `now` in milliseconds. Ok(Some): a speaker gets no file, and why.
    ///
    /// # Errors
    /// Writing fails; in words.
    pub fn write(&mut self, now: u64, user: &str, sound: &Sound) -> Result<Option<String>, Stop> {
        if let Some((path, track)) = self.tracks.get_mut(user) {
            return track.write(now, sound).map(|()| None).map_err(|error| broken(path.as_deref(), &error));
        }
        if self.left_out.iter().any(|other| other == user) {
            return Ok(None);
        }
        let (path, out) = match self.first.take() {
            Some(first) => {
                self.began = now;
                (self.path.clone(), first)
            }
            None => {
                let beside = self.path.clone().filter(|_| self.tracks.len() < SPEAKERS);
                let Some(beside) = beside else {
                    self.left_out.push(user.to_owned());
                    let why =
                        if self.path.is_none() { "standard output has one speaker" } else { "there are too many" };
                    return Ok(Some(why.to_owned()));
                };
                let (path, out) = another(&beside, user).map_err(|error| broken(Some(&beside), &error))?;
                (Some(path), out)
            }
        };
        let lead = now.saturating_sub(self.began);
        // Who reads standard output does so at once.
        let page = if path.is_some() { PAGE } else { 0 };
        let track =
            Track::new(out, rand::random(), page, now, lead, sound).map_err(|error| broken(path.as_deref(), &error))?;
        self.tracks.insert(user.to_owned(), (path, track));
        Ok(None)
    }

    /// Ends all files; that of nobody goes.
    ///
    /// # Errors
    /// Writing fails; in words.
    pub fn end(self) -> Result<Vec<Done>, Stop> {
        if let (Some(first), Some(path)) = (self.first, &self.path) {
            drop(first);
            let _ = std::fs::remove_file(path);
        }
        let end = |(user, (file, track)): (String, (Option<PathBuf>, Track<Out>))| {
            let milliseconds = track.samples() / (u64::from(RATE) / 1_000);
            let ended = track.end().and_then(|mut out| out.flush());
            ended.map_err(|error| broken(file.as_deref(), &error)).map(|()| Done { user, file, milliseconds })
        };
        self.tracks.into_iter().map(end).collect()
    }
}

/// The file beside `path` for another speaker.
fn another(path: &Path, user: &str) -> io::Result<(PathBuf, Out)> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let end = path.extension().map_or_else(String::new, |end| format!(".{}", end.to_string_lossy()));
    for n in 1..TRIES {
        let more = if n == 1 { String::new() } else { format!("-{n}") };
        let path = path.with_file_name(format!("{stem}-{}{more}{end}", plain(user)));
        match create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => return other.map(|out| (path, out)),
        }
    }
    Err(io::Error::other(format!("there are {TRIES} files for {user} already")))
}

fn broken(path: Option<&Path>, error: &io::Error) -> Stop {
    let name = path.map_or_else(|| "standard output".into(), |path| path.display().to_string());
    Stop::Refused(format!("the recording cannot be written: {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::voice::ogg::Reader;

    fn sound(n: u8) -> Sound {
        Sound { opus: vec![0xf8, n], timestamp: u32::from(n) * 960, follows: n > 0 }
    }

    #[test]
    fn one_file_for_each_speaker() {
        let folder =
            std::env::temp_dir().join(format!("convergia-record-{}-{}", std::process::id(), rand::random::<u32>()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("talk.opus");
        let given = path.to_str().unwrap();
        std::fs::write(folder.join("talk-h_1__bob.opus"), "kept").unwrap();
        let mut recorder = Recorder::new(given).unwrap();
        assert!(matches!(Recorder::new(given), Err(Stop::Refused(words)) if words.contains("already")));
        for n in 0..3 {
            assert_eq!(recorder.write(1_000 + u64::from(n) * 20, "alice", &sound(n)), Ok(None));
            assert_eq!(recorder.write(1_100 + u64::from(n) * 20, "h:1::bob", &sound(n)), Ok(None));
        }
        let done = recorder.end().unwrap();
        let bob = folder.join("talk-h_1__bob-2.opus");
        assert_eq!(done[0], Done { user: "alice".into(), file: Some(path.clone()), milliseconds: 60 });
        assert_eq!(done[1], Done { user: "h:1::bob".into(), file: Some(bob.clone()), milliseconds: 160 });
        for (path, packets) in [(&path, 3), (&bob, 4)] {
            let mut reader = Reader::new(File::open(path).unwrap()).unwrap();
            assert_eq!(std::iter::from_fn(|| reader.read().unwrap()).count(), packets);
        }
        assert_eq!(std::fs::read(folder.join("talk-h_1__bob.opus")).unwrap(), b"kept");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(Recorder::new(given).unwrap().end(), Ok(Vec::new()));
        assert!(!path.exists(), "a file without a speaker is none");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
