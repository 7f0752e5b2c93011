//! The stores of blocks, as a data server uses them: what was answered is there, whoever is killed and whatever is full.

#[path = "../support/mod.rs"]
mod support;

mod disk;
mod s3;
mod speed;

use convergia::blocks::BlockStore;
use convergia::blocks::Hash;
use convergia::blocks::Listed;

/// Content number `n`: others for other numbers, of 5 B to `most` bytes.
pub fn content(n: u64, most: usize) -> Vec<u8> {
    let mut random = support::Random::from(n);
    let length = usize::try_from(random.below(most as u64 - 4)).expect("small") + 5;
    let mut data = Vec::with_capacity(length + 8);
    while data.len() < length {
        data.extend_from_slice(&random.below(u64::MAX).to_le_bytes());
    }
    data.truncate(length);
    data
}

/// Everything in a store, in pages.
pub fn all(store: &dyn BlockStore, page: usize) -> Vec<Listed> {
    let mut listed: Vec<Listed> = Vec::new();
    loop {
        let after: Option<Hash> = listed.last().map(|last| last.hash);
        let more = store.list(after.as_ref(), page).expect("a list");
        if more.is_empty() {
            assert!(listed.windows(2).all(|pair| pair[0].hash < pair[1].hash), "not in order");
            return listed;
        }
        assert!(more.len() <= page);
        listed.extend(more);
    }
}
