//! A tree of the storage, folder by folder, with the next listings under way.

use std::collections::VecDeque;

use super::Entry;
use super::Store;
use crate::engine::rt;
use crate::wire::Fail;

/// Listings under way or waiting to be taken. One holds a folder's entries.
const AHEAD: usize = 16;

type Listing = rt::JoinHandle<Result<Vec<Entry>, Fail>>;

/// Goes through a tree: a folder comes after the one that it is in. Holds the names of folders that are still to come.
pub struct Walk {
    store: Store,
    ahead: VecDeque<(String, Listing)>,
    todo: Vec<String>,
}

impl Walk {
    /// Everything at `root` and below.
    pub fn new(store: &Store, root: String) -> Walk {
        Walk { store: store.clone(), ahead: VecDeque::new(), todo: vec![root] }
    }

    /// The next folder's path, and its entries or why they cannot be had. None: that was all.
    pub async fn next(&mut self) -> Option<(String, Result<Vec<Entry>, Fail>)> {
        while self.ahead.len() < AHEAD {
            let Some(path) = self.todo.pop() else { break };
            let (store, folder) = (self.store.clone(), path.clone());
            self.ahead.push_back((path, rt::spawn(async move { store.list(&folder).await })));
        }
        let (path, listing) = self.ahead.pop_front()?;
        let entries = listing.await;
        if let Ok(entries) = &entries {
            let folders = entries.iter().rev().filter(|entry| entry.folder);
            self.todo.extend(folders.map(|entry| join(&path, &entry.name)));
        }
        Some((path, entries))
    }
}

/// The path of `name` in a folder.
pub fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}
