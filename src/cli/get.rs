//! `convergia get`: files and folders of the storage onto this machine.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::outcome::Stop;
use super::remote::Remote;
use super::text;
use super::work::placed;
use super::work::Work;
use crate::client::store::join;
use crate::client::store::Entry;
use crate::client::store::Trouble;
use crate::client::store::Upload;
use crate::client::store::Walk;
use crate::client::store::Whole;
use crate::engine::rt;

placed! {
    /// Copy files out of the storage, as cp does. A file that was cut off goes on where it stopped.
    #[argh(
        subcommand,
        name = "get",
        example = "{command_name} report.pdf\n  /users/NAME/report.pdf into this folder",
        example = "{command_name} -r /workspaces/team/plans /users/bob/notes.txt backup/",
        example = "{command_name} --stdout notes.txt | less",
        note = "The last path is where they go; with one path alone that is this folder. A remote path that does not begin with / is \
                below /users/NAME."
    )]
    pub struct Get {
        /// what, and where to
        #[argh(positional, arg_name = "path")]
        paths: Vec<String>,
        /// folders, with all that is in them
        #[argh(switch, short = 'r')]
        recursive: bool,
        /// print the files one after another, and copy them nowhere
        #[argh(switch)]
        stdout: bool,
    }
    json "machine-readable output, a line a file"
}

impl Get {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let (sources, to) = match &self.paths[..] {
            [] => return Err(Stop::Usage("what? convergia get PATH… [WHERE]".to_owned())),
            sources if self.stdout => (sources, "."),
            [one] => (std::slice::from_ref(one), "."),
            [sources @ .., to] => (sources, to.as_str()),
        };
        let into = Path::new(to).is_dir();
        if !into && (sources.len() > 1 || to.ends_with('/')) {
            return Err(Stop::Refused(format!("{}: there is no such folder", text::clean(to))));
        }
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let done = self.all(&work, sources, to, into).await;
            work.progress.complete();
            work.rest().await;
            work.progress.end("received");
            let ended = work.end().await;
            done.and(ended)
        })
    }

    async fn all(&self, work: &Work, sources: &[String], to: &str, into: bool) -> Result<(), Stop> {
        let sources = sources.iter().map(|source| work.remote(source)).collect::<Result<Vec<_>, _>>()?;
        for source in sources {
            if work.is_over() {
                break;
            }
            let entry = match work.store.find(&source.path).await {
                // The name alone does not tell that it is there.
                Ok(entry) => entry,
                Err(fail) => {
                    work.failed(&source.path, &Trouble::Remote(fail));
                    continue;
                }
            };
            if entry.folder && !self.recursive {
                return Err(Stop::Usage(format!("{}: a folder; -r copies it", text::clean(&source.path))));
            }
            if self.stdout {
                match entry.folder {
                    true => return Err(Stop::Usage("a folder does not go to standard output".to_owned())),
                    false => print(work, &source, &entry).await?,
                }
                continue;
            }
            let local = if into { Path::new(to).join(source.name()) } else { PathBuf::from(to) };
            match entry.folder {
                true => tree(work, source.path, local).await,
                false => file(work, source.path, entry, local).await,
            }
        }
        Ok(())
    }
}

async fn print(work: &Work, source: &Remote, entry: &Entry) -> Result<(), Stop> {
    let mut out = std::io::stdout();
    let mut take = |bytes: &[u8]| out.write_all(bytes);
    match work.store.read_whole(Whole::File(&source.path), (0, entry.size), &mut take).await {
        Ok(()) => {}
        // Nobody reads it any more.
        Err(Trouble::Local(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
        Err(trouble) => work.failed(&source.path, &trouble),
    }
    out.flush().map_err(|error| Stop::Refused(error.to_string()))
}

/// Makes the folders while it walks; the files follow as there is room.
async fn tree(work: &Work, path: String, local: PathBuf) {
    let mut walk = Walk::new(&work.store, path.clone());
    while let Some((folder, entries)) = walk.next().await {
        if work.is_over() {
            return;
        }
        // Every name in it was checked: it leads nowhere else.
        let below = folder.get(path.len()..).unwrap_or_default().trim_start_matches('/');
        let here = local.join(below);
        let entries = match entries {
            Ok(entries) => entries,
            Err(fail) => {
                work.failed(&folder, &Trouble::Remote(fail));
                continue;
            }
        };
        if let Err(error) = fs::create_dir_all(&here) {
            work.failed(&here.display().to_string(), &Trouble::Local(error));
            continue;
        }
        for entry in entries.into_iter().filter(|entry| !entry.folder) {
            if work.is_over() {
                return;
            }
            let (path, local) = (join(&folder, &entry.name), here.join(&entry.name));
            file(work, path, entry, local).await;
        }
    }
}

/// Begins to copy one file, when there is room for one more.
async fn file(work: &Work, path: String, entry: Entry, local: PathBuf) {
    work.progress.expect(entry.size);
    let (slot, work) = (work.slot().await, work.clone());
    rt::spawn(async move {
        let _slot = slot;
        match work.store.download(&path, &entry, &local, work.progress.as_ref()).await {
            Ok(done) => {
                work.progress.file();
                let (size, unchanged) = (entry.size, done == Upload::Unchanged);
                let local = local.to_string_lossy();
                work.json(|| json!({ "path": path, "local": local, "ok": true, "size": size, "unchanged": unchanged }));
            }
            Err(trouble @ Trouble::Local(_)) => work.failed(&local.display().to_string(), &trouble),
            Err(trouble) => work.failed(&path, &trouble),
        }
    });
}
