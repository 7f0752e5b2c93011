//! `convergia mv`: gives what is stored another name or place.

use argh::FromArgs;
use serde_json::json;

use super::outcome::Stop;
use super::text;
use super::work;
use super::work::placed;
use super::work::Work;
use crate::client::store::join;
use crate::client::store::Trouble;
use crate::engine::rt;

placed! {
    /// Move or rename what is stored, as mv does.
    #[argh(
        subcommand,
        name = "mv",
        example = "{command_name} draft.txt final.txt",
        example = "{command_name} a.txt b.txt /workspaces/team/papers",
        note = "A path that does not begin with / is below your own folder, /users/NAME."
    )]
    pub struct Mv {
        /// what, and where to
        #[argh(positional, arg_name = "path")]
        paths: Vec<String>,
        /// replace a file that is there
        #[argh(switch, short = 'f')]
        force: bool,
    }
    json "machine-readable output, a line for each"
}

impl Mv {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let (to, sources) = match self.paths.split_last() {
            Some((to, sources)) if !sources.is_empty() => (to, sources),
            _ => return Err(Stop::Usage("what, and where to? convergia mv PATH… WHERE".to_owned())),
        };
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let target = work.remote(to)?;
            let sources = sources.iter().map(|source| work.remote(source)).collect::<Result<Vec<_>, _>>()?;
            let there = work.look(&target.path).await.map_err(|fail| work::refused(to, &fail))?;
            let into = there.is_some_and(|entry| entry.folder);
            if !into && (sources.len() > 1 || target.folder) {
                return Err(Stop::Refused(format!("{}: there is no such folder", text::clean(to))));
            }
            for source in sources {
                let path = if into { join(&target.path, source.name()) } else { target.path.clone() };
                let moved = match self.force {
                    true if path != source.path => work.store.replace(&source.path, &path).await,
                    _ => work.store.rename(&source.path, &path).await,
                };
                match moved {
                    Ok(()) => work.json(|| json!({ "path": source.path, "to": path, "ok": true })),
                    Err(fail) => work.failed(&source.path, &Trouble::Remote(fail)),
                }
            }
            work.end().await
        })
    }
}
