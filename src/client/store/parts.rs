//! Parts that nobody goes on with: a `put` was cut off, and the file here has changed since. They count against the quota.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use super::join;
use super::upload::part_of;
use super::upload::PART;
use super::Store;

/// A part that nothing was written to for so long is nobody's; milliseconds. Who writes one that large writes all the time.
const OLD: u64 = 24 * 60 * 60 * 1_000;
/// Folders that are remembered. A tree is sent folder by folder.
const FOLDERS: usize = 16;

/// The names of old parts in the folders that were looked at last; a folder whose listing is under way has none so far.
pub(super) type Old = Arc<Mutex<VecDeque<(String, Vec<String>)>>>;

impl Store {
    /// Removes the old parts of earlier files at `path`, but for its `own`. An entry in its folder has to be new, so that the
    /// folder tells what the time is there.
    pub(super) async fn remove_old_parts(&self, path: &str, own: Option<&str>) {
        let Some((folder, name)) = path.rsplit_once('/') else { return };
        let (begin, own) = (part_of(name), own.and_then(|own| own.rsplit('/').next()));
        for part in self.old_parts(folder).await {
            if part.starts_with(&begin) && Some(part.as_str()) != own {
                // Another may have removed it; what cannot be removed is no reason to send nothing.
                let _ = self.delete_file(&join(folder, &part)).await;
            }
        }
    }

    /// Those of a folder, which is listed once.
    async fn old_parts(&self, folder: &str) -> Vec<String> {
        {
            let mut known = self.old.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((_, parts)) = known.iter().find(|(other, _)| other == folder) {
                return parts.clone();
            }
            if known.len() >= FOLDERS {
                known.pop_front();
            }
            known.push_back((folder.to_owned(), Vec::new()));
        }
        let entries = self.list(folder).await.unwrap_or_default();
        // The newest entry is from now by the server's clock. Ours may be wrong.
        let now = entries.iter().map(|entry| entry.modified).max().unwrap_or(0);
        let old = entries
            .into_iter()
            .filter(|entry| !entry.folder && entry.name.starts_with(PART) && now.saturating_sub(entry.modified) > OLD);
        let old: Vec<String> = old.map(|entry| entry.name).collect();
        let mut known = self.old.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, parts)) = known.iter_mut().find(|(other, _)| other == folder) {
            parts.clone_from(&old);
        }
        old
    }
}
