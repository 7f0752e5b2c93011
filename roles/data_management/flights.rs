//! Blocks that are on their way to data servers, or there and not committed so far: nobody may take them for garbage.

use std::collections::HashMap;

use crate::storage::Hash;
use crate::storage::ServerNo;

/// How often each block is on its way to each server.
#[derive(Debug, Default)]
pub struct Flights(HashMap<(ServerNo, Hash), usize>);

impl Flights {
    /// One more.
    pub fn begin(&mut self, server: ServerNo, hash: Hash) {
        *self.0.entry((server, hash)).or_default() += 1;
    }

    /// One less: it was committed, is garbage, or never came.
    pub fn end(&mut self, server: ServerNo, hash: Hash) {
        if let Some(count) = self.0.get_mut(&(server, hash)) {
            *count -= 1;
            if *count == 0 {
                self.0.remove(&(server, hash));
            }
        }
    }

    /// Whether there is one.
    pub fn has(&self, server: ServerNo, hash: &Hash) -> bool {
        self.0.contains_key(&(server, *hash))
    }

    /// All on their way to that server.
    pub fn to(&self, server: ServerNo) -> impl Iterator<Item = Hash> + '_ {
        self.0.keys().filter(move |(to, _)| *to == server).map(|(_, hash)| *hash)
    }
}
