//! `convergia put`: files and folders of this machine into the storage.

mod tree;

use std::path::Path;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::outcome::Stop;
use super::remote;
use super::text;
use super::work;
use super::work::placed;
use super::work::Work;
use crate::client::store::join;
use crate::client::store::Trouble;
use crate::client::store::Upload;
use crate::engine::rt;
use tree::Gate;

placed! {
    /// Copy files into the storage, as cp does. What is there already with the same bytes is not sent again, and a file that
    /// was cut off goes on where it stopped.
    #[argh(
        subcommand,
        name = "put",
        example = "{command_name} report.pdf\n  to /users/NAME/report.pdf",
        example = "{command_name} report.pdf notes.txt papers/\n  into the folder /users/NAME/papers",
        example = "{command_name} -r photos /workspaces/team",
        note = "The last path is where they go; with one path alone that is your own folder. A remote path that does not begin with \
                / is below /users/NAME."
    )]
    pub struct Put {
        /// what, and where to
        #[argh(positional, arg_name = "path")]
        paths: Vec<String>,
        /// folders, with all that is in them
        #[argh(switch, short = 'r')]
        recursive: bool,
    }
    json "machine-readable output, a line a file"
}

/// One thing that is copied, and where to.
struct Copy {
    local: PathBuf,
    /// The path that it gets.
    path: String,
    folder: bool,
    size: u64,
}

impl Put {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let (sources, to) = match &self.paths[..] {
            [] => return Err(Stop::Usage("what? convergia put FILE… [WHERE]".to_owned())),
            [one] => (std::slice::from_ref(one), "."),
            [sources @ .., to] => (sources, to.as_str()),
        };
        // Before signing on: what is not there is not worth it.
        let sources = sources.iter().map(|source| self.source(source)).collect::<Result<Vec<_>, _>>()?;
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let begun = match copies(&work, sources, to).await {
                Ok(copies) => {
                    put_all(&work, copies).await;
                    Ok(())
                }
                Err(stop) => Err(stop),
            };
            work.progress.end("sent");
            let ended = work.end().await;
            begun.and(ended)
        })
    }

    fn source(&self, given: &str) -> Result<(PathBuf, bool, u64), Stop> {
        let path = PathBuf::from(given);
        let facts =
            std::fs::metadata(&path).map_err(|error| Stop::Refused(format!("{}: {error}", text::clean(given))))?;
        match facts.is_dir() {
            true if !self.recursive => Err(Stop::Usage(format!("{}: a folder; -r copies it", text::clean(given)))),
            false if !facts.is_file() => {
                Err(Stop::Refused(format!("{}: neither a file nor a folder", text::clean(given))))
            }
            folder => Ok((path, folder, if folder { 0 } else { facts.len() })),
        }
    }
}

/// Decides where each goes, as cp does.
async fn copies(work: &Work, sources: Vec<(PathBuf, bool, u64)>, to: &str) -> Result<Vec<Copy>, Stop> {
    let target = work.remote(to)?;
    let there = work.look(&target.path).await.map_err(|fail| work::refused(to, &fail))?;
    let into = there.as_ref().is_some_and(|entry| entry.folder);
    if !into && (target.folder || sources.len() > 1) {
        let words =
            format!("{}: there is no such folder\nMake it: convergia mkdir {}", text::clean(to), text::clean(to));
        return Err(Stop::Refused(words));
    }
    let mut copies = Vec::new();
    for (local, folder, size) in sources {
        // `.` and `/` have no name: what is in them is copied.
        let path = match local.file_name().filter(|_| into) {
            None => target.path.clone(),
            Some(name) => {
                let name = name.to_str().ok_or_else(|| Stop::Refused(format!("{}: not UTF-8", local.display())))?;
                join(&target.path, &remote::segment(name).map_err(Stop::Refused)?)
            }
        };
        copies.push(Copy { local, path, folder, size });
    }
    Ok(copies)
}

async fn put_all(work: &Work, copies: Vec<Copy>) {
    for copy in copies {
        if work.is_over() {
            break;
        }
        match copy.folder {
            true => tree::put(work, &copy.local, &copy.path).await,
            false => put_file(work, copy.local, copy.path, copy.size, Gate::open()).await,
        }
    }
    work.progress.complete();
    work.rest().await;
}

/// Begins to copy one file, when there is room for one more and its folder is there.
async fn put_file(work: &Work, local: PathBuf, path: String, size: u64, gate: Gate) {
    work.progress.expect(size);
    let (slot, work) = (work.slot().await, work.clone());
    rt::spawn(async move {
        let _slot = slot;
        if !gate.is_there().await || work.is_over() {
            return;
        }
        match work.store.upload(&local, &path, work.progress.as_ref()).await {
            Ok(done) => {
                work.progress.file();
                work.json(|| json!({ "path": path, "ok": true, "size": size, "unchanged": done == Upload::Unchanged }));
            }
            Err(trouble) => failed(&work, &local, &path, &trouble),
        }
    });
}

/// Trouble of this machine names the local file, all other the remote one.
fn failed(work: &Work, local: &Path, path: &str, trouble: &Trouble) {
    match trouble {
        Trouble::Remote(_) => work.failed(path, trouble),
        _ => work.failed(&local.display().to_string(), trouble),
    }
}
