//! `convergia mkdir`: makes folders in the storage.

use argh::FromArgs;
use serde_json::json;

use super::outcome::Stop;
use super::work::placed;
use super::work::Work;
use crate::client::store::Trouble;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

placed! {
    /// Make folders.
    #[argh(
        subcommand,
        name = "mkdir",
        example = "{command_name} photos",
        example = "{command_name} -p /workspaces/team/2026/plans",
        note = "A path that does not begin with / is below your own folder, /users/NAME."
    )]
    pub struct Mkdir {
        /// which
        #[argh(positional)]
        path: Vec<String>,
        /// those above as well, and do not mind what is there
        #[argh(switch, short = 'p')]
        parents: bool,
    }
    json "machine-readable output, a line a folder"
}

impl Mkdir {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        if self.path.is_empty() {
            return Err(Stop::Usage("which? convergia mkdir PATH…".to_owned()));
        }
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let paths = self.path.iter().map(|path| work.remote(path)).collect::<Result<Vec<_>, _>>()?;
            for remote in paths {
                match self.one(&work, &remote.path).await {
                    Ok(()) => work.json(|| json!({ "path": remote.path, "ok": true })),
                    Err(fail) => work.failed(&remote.path, &Trouble::Remote(fail)),
                }
            }
            work.end().await
        })
    }

    /// With -p the folder itself first: most often those above are there.
    async fn one(&self, work: &Work, path: &str) -> Result<(), Fail> {
        let fail = match work.store.create_folder(path).await {
            Err(fail) if self.parents => fail,
            result => return result,
        };
        match fail.code {
            Code::Exists => match work.store.info(path).await {
                Ok(info) if info.folder => Ok(()),
                _ => Err(fail),
            },
            Code::NotFound => {
                let slashes: Vec<usize> = path.match_indices('/').map(|(at, _)| at).skip(1).collect();
                for above in slashes.into_iter().filter_map(|at| path.get(..at)) {
                    match work.store.create_folder(above).await {
                        // It may be one that is fixed, or another's.
                        Err(fail) if !matches!(fail.code, Code::Exists | Code::Denied | Code::BadArgs) => {
                            return Err(fail)
                        }
                        _ => {}
                    }
                }
                work.store.create_folder(path).await
            }
            _ => Err(fail),
        }
    }
}
