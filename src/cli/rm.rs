//! `convergia rm`: removes what is stored.

use std::io::IsTerminal;
use std::io::Write;

use argh::FromArgs;
use serde_json::json;

use super::outcome::Stop;
use super::text;
use super::work::placed;
use super::work::Work;
use crate::client::store::join;
use crate::client::store::Trouble;
use crate::client::store::Walk;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

placed! {
    /// Remove files, and with -r folders and all that is in them. Nothing brings them back.
    #[argh(
        subcommand,
        name = "rm",
        example = "{command_name} report.pdf",
        example = "{command_name} -r -f old /workspaces/team/drafts",
        note = "A path that does not begin with / is below your own folder, /users/NAME."
    )]
    pub struct Rm {
        /// what
        #[argh(positional)]
        path: Vec<String>,
        /// folders, with all that is in them
        #[argh(switch, short = 'r')]
        recursive: bool,
        /// do not ask, and do not mind what is not there
        #[argh(switch, short = 'f')]
        force: bool,
    }
    json "machine-readable output, a line for each that was named"
}

impl Rm {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        if self.path.is_empty() {
            return Err(Stop::Usage("what? convergia rm PATH…".to_owned()));
        }
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let paths = self.path.iter().map(|path| work.remote(path)).collect::<Result<Vec<_>, _>>()?;
            for remote in paths {
                if work.is_over() {
                    break;
                }
                match self.one(&work, &remote.path).await {
                    Ok(true) => work.json(|| json!({ "path": remote.path, "ok": true })),
                    Ok(false) => {}
                    Err(fail) if fail.code == Code::NotFound && self.force => {}
                    Err(fail) => work.failed(&remote.path, &Trouble::Remote(fail)),
                }
            }
            work.end().await
        })
    }

    /// False: it was not removed, and that is known.
    async fn one(&self, work: &Work, path: &str) -> Result<bool, Fail> {
        let fail = match work.store.delete_file(path).await {
            Ok(()) => return Ok(true),
            Err(fail) if matches!(fail.code, Code::BadArgs | Code::NotFound | Code::Denied | Code::Exists) => fail,
            Err(fail) => return Err(fail),
        };
        if !work.look(path).await?.is_some_and(|entry| entry.folder) {
            return Err(fail);
        }
        if !self.recursive {
            work.told(&format!("{}: a folder; -r removes it", text::clean(path)), "");
            work.json(|| json!({ "path": path, "ok": false, "code": "BADARGS", "text": "a folder" }));
            return Ok(false);
        }
        if !self.force && std::io::stdin().is_terminal() && !agrees(path) {
            return Ok(false);
        }
        tree(work, path).await
    }
}

/// Asks a person whether all of it shall go.
pub fn agrees(path: &str) -> bool {
    eprint!("Remove {} and all that is in it? [y/N] ", text::clean(path));
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    let read = std::io::stdin().read_line(&mut answer).is_ok();
    read && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}

/// The files go while the tree is walked; then the folders, the deepest first. Holds the paths of the folders.
async fn tree(work: &Work, root: &str) -> Result<bool, Fail> {
    let mut walk = Walk::new(&work.store, root.to_owned());
    let mut folders: Vec<Vec<String>> = Vec::new();
    let mut whole = true;
    while let Some((folder, entries)) = walk.next().await {
        if work.is_over() {
            return Ok(false);
        }
        match entries {
            Ok(entries) => {
                for entry in entries.iter().filter(|entry| !entry.folder) {
                    remove(work, join(&folder, &entry.name), true).await;
                }
            }
            Err(fail) => {
                whole = false;
                work.failed(&folder, &Trouble::Remote(fail));
            }
        }
        let depth = folder.matches('/').count();
        folders.resize_with(folders.len().max(depth + 1), Vec::new);
        if let Some(level) = folders.get_mut(depth) {
            level.push(folder);
        }
    }
    for level in folders.into_iter().rev() {
        work.rest().await;
        for folder in level {
            if !work.is_over() {
                remove(work, folder, false).await;
            }
        }
    }
    work.rest().await;
    Ok(whole && !work.has_trouble())
}

/// Begins to remove one, when there is room for one more.
async fn remove(work: &Work, path: String, file: bool) {
    let (slot, work) = (work.slot().await, work.clone());
    rt::spawn(async move {
        let _slot = slot;
        let removed = match file {
            true => work.store.delete_file(&path).await,
            false => work.store.delete_folder(&path).await,
        };
        match removed {
            // Somebody else was faster.
            Err(fail) if fail.code != Code::NotFound => work.failed(&path, &Trouble::Remote(fail)),
            _ => {}
        }
    });
}
