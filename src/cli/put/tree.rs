//! A folder with all that is in it. The tree is walked while it is sent: what is held is a listing for each folder on the way
//! down, and what is under way.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use serde_json::json;

use crate::cli::remote;
use crate::cli::text;
use crate::cli::work::Work;
use crate::client::store::join;
use crate::client::store::Trouble;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::Code;
use crate::wire::Fail;

/// Opens when a folder is there: what goes into it waits here. Clones are the same.
#[derive(Clone)]
pub struct Gate {
    closed: channel::Receiver<()>,
    there: Arc<AtomicBool>,
}

impl Gate {
    /// One that is open.
    pub fn open() -> Gate {
        let (_, closed) = channel::bounded(1);
        Gate { closed, there: Arc::new(AtomicBool::new(true)) }
    }

    /// One that opens when the sender is dropped.
    fn new() -> (channel::Sender<()>, Gate) {
        let (send, closed) = channel::bounded(1);
        (send, Gate { closed, there: Arc::default() })
    }

    /// Waits; false: the folder could not be made, and that was told.
    pub async fn is_there(&self) -> bool {
        // Nothing is ever sent.
        let _ = self.closed.recv().await;
        self.there.load(Ordering::Acquire)
    }
}

/// A folder that is being listed.
struct Level {
    local: PathBuf,
    path: String,
    gate: Gate,
    entries: fs::ReadDir,
    /// The names of this folder that are not what they are called here: two may become one.
    changed: HashSet<String>,
}

/// Copies a folder to `path`.
pub async fn put(work: &Work, local: &Path, path: &str) {
    let mut levels = Vec::new();
    enter(work, &mut levels, local.to_owned(), path.to_owned(), Gate::open()).await;
    while let Some(level) = levels.last_mut() {
        if work.is_over() {
            return;
        }
        let entry = match level.entries.next() {
            None => {
                levels.pop();
                continue;
            }
            Some(Err(error)) => {
                let local = level.local.display().to_string();
                work.failed(&local, &Trouble::Local(error));
                levels.pop();
                continue;
            }
            Some(Ok(entry)) => entry,
        };
        let local = entry.path();
        let facts = match entry.metadata() {
            Ok(facts) => facts,
            // It has gone meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => {
                work.failed(&local.display().to_string(), &Trouble::Local(error));
                continue;
            }
        };
        if !facts.is_dir() && !facts.is_file() {
            work.say(&format!("{}: left out; it is neither a file nor a folder", shown(&local)));
            continue;
        }
        let name = match level.name(&entry) {
            Ok(name) => name,
            Err(words) => {
                work.told(&format!("{}: not sent: {words}", shown(&local)), "");
                work.json(|| json!({ "path": local.to_string_lossy(), "ok": false, "code": "BADARGS", "text": words }));
                continue;
            }
        };
        let (path, gate) = (join(&level.path, &name), level.gate.clone());
        match facts.is_dir() {
            true => enter(work, &mut levels, local, path, gate).await,
            false => super::put_file(work, local, path, facts.len(), gate).await,
        }
    }
}

fn shown(local: &Path) -> String {
    text::clean(&local.display().to_string())
}

impl Level {
    /// The name that an entry gets.
    fn name(&mut self, entry: &fs::DirEntry) -> Result<String, String> {
        let given = entry.file_name();
        let given = given.to_str().ok_or("its name is not UTF-8")?;
        let name = remote::segment(given)?;
        if name != given {
            let other = self.local.join(&name);
            if fs::symlink_metadata(&other).is_ok() || !self.changed.insert(name) {
                return Err("another file here has the same name in Unicode form NFC".to_owned());
            }
            return remote::segment(given);
        }
        Ok(name)
    }
}

/// Begins a folder: it is made behind the one that it is in, and listed meanwhile.
async fn enter(work: &Work, levels: &mut Vec<Level>, local: PathBuf, path: String, above: Gate) {
    let entries = match fs::read_dir(&local) {
        Ok(entries) => entries,
        Err(error) => return work.failed(&local.display().to_string(), &Trouble::Local(error)),
    };
    let (made, gate) = Gate::new();
    let (slot, task, folder, there) = (work.slot().await, work.clone(), path.clone(), Arc::clone(&gate.there));
    rt::spawn(async move {
        let (_slot, _made) = (slot, made);
        if !above.is_there().await || task.is_over() {
            return;
        }
        match make(&task, &folder).await {
            Ok(()) => there.store(true, Ordering::Release),
            Err(fail) => task.failed(&folder, &Trouble::Remote(fail)),
        }
    });
    levels.push(Level { local, path, gate, entries, changed: HashSet::new() });
}

/// A folder that is there is as good as a new one.
async fn make(work: &Work, path: &str) -> Result<(), Fail> {
    if path == remote::home(&work.session.user) {
        return Ok(());
    }
    match work.store.create_folder(path).await {
        // What may not be made may be there: a workspace's folder, or another's that one may write to.
        Err(fail) if matches!(fail.code, Code::Exists | Code::Denied) => match work.store.info(path).await {
            Ok(info) if info.folder => Ok(()),
            _ => Err(fail),
        },
        result => result,
    }
}
