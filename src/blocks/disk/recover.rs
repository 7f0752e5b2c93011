//! The start: what the index does not know of the segments is read.

use std::io;

use super::folder::Folder;
use super::folder::Reading;
use super::index;
use super::index::Entry;
use super::index::Index;
use super::index::News;
use super::Active;
use super::Writer;
use crate::blocks::record::Key;
use crate::blocks::record::Kind;
use crate::blocks::record::Scanner;
use crate::blocks::record::Spot;
use crate::blocks::record::ALIGN;

/// How many records go into one commit.
const BATCH: usize = 4096;

/// Opens the index and brings it up to date; what writes then goes on where the last segment ends.
pub fn recover(folder: &Folder, segment: u64) -> Result<(Index, Key, Writer), String> {
    let words = |error: io::Error| format!("{}: {error}", folder.path().display());
    let there = folder.segments().map_err(words)?;
    let (mut index, key) = open(folder, !there.is_empty())?;
    let mut next_seq = index.next_seq()?;

    // Segments whose files are gone, and with them their blocks.
    let gone: Vec<u32> = index.segments().keys().filter(|id| there.binary_search(id).is_err()).copied().collect();
    for id in &gone {
        let lost = index.cut(*id, 0)?;
        if lost > 0 {
            log::error!("{}: the file of segment {id} is gone, and with it {lost} blocks", folder.path().display());
        }
    }

    let mut ends = Vec::new();
    for id in &there {
        let end = tail(folder, &mut index, &key, *id, &mut next_seq)?;
        ends.push((*id, end));
    }
    while index.settle()? {}
    // Only now: what was put again may have stood in one of these.
    for id in gone {
        index.drop_segment(id)?;
    }

    let mut active = None;
    if let Some((id, Some(end))) = ends.last().filter(|(_, end)| end.is_some_and(|end| end < segment)) {
        active = Some(Active { id: *id, file: folder.file(*id).map_err(words)?, length: *end });
    }
    let last = there.last().copied().unwrap_or(0);
    let next_segment = last.checked_add(1).ok_or("there is no number for a new segment")?;
    let writer = Writer { active, next_seq, next_segment, compaction: None, stuck: Default::default() };
    Ok((index, key, writer))
}

/// The index with the key of the store; an empty one if it is lost, or is another store's.
fn open(folder: &Folder, segments: bool) -> Result<(Index, Key), String> {
    let path = folder.path();
    let kept = folder.key()?;
    let fresh = match kept {
        Some(key) => key,
        None => {
            let mut key = [0; 32];
            aws_lc_rs::rand::fill(&mut key).map_err(|_| "no random bytes from the system".to_owned())?;
            Key(key)
        }
    };
    let had = path.join(index::FILE).exists();
    if !had && kept.is_none() && segments {
        return Err(format!(
            "{}: there are segments, but neither the index nor the key to read them with (store.key)",
            path.display()
        ));
    }
    let (index, key) = match Index::open(path, &fresh) {
        Ok((index, key)) if kept.is_none_or(|kept| kept == key) => (index, key),
        other => {
            let why = other.err().unwrap_or_else(|| "it is of another store".to_owned());
            if kept.is_none() && segments {
                return Err(format!("{}: neither index nor store.key can be read: {why}", path.display()));
            }
            log::error!("{}: the index cannot be used, and is made anew: {why}", path.display());
            index::remove(path)?;
            Index::open(path, &fresh)?
        }
    };
    if kept.is_none() {
        folder.keep_key(&key)?;
    }
    if segments && index.segments().is_empty() {
        log::warn!("{}: the index is lost; all blocks are read to make it anew, which may take long", path.display());
    }
    Ok((index, key))
}

/// Reads what the index does not know of a segment. Answers where its last record ends, if it can be written behind that.
fn tail(folder: &Folder, index: &mut Index, key: &Key, id: u32, next_seq: &mut u64) -> Result<Option<u64>, String> {
    let words = |error: io::Error| format!("segment {id}: {error}");
    let known = index.segments().get(&id).copied();
    let from = known.map_or(0, |segment| segment.length);
    let file = folder.file(id).map_err(words)?;
    let length = file.metadata().map_err(words)?.len();
    if known.is_some() && length == from {
        return Ok(Some(from));
    }
    if length < from {
        // The last record's filling may be cut off: it is not needed.
        let lost = index.cut(id, length.next_multiple_of(ALIGN))?;
        log::error!("segment {id} is shorter than it was; {lost} blocks are lost");
        return Ok(None);
    }
    let source = Reading(&file);
    let mut scanner = Scanner::new(&source, *key, id, from, length);
    let (mut news, mut end, mut broken) = (Vec::new(), from, 0_u64);
    loop {
        let found = match scanner.find_next() {
            Ok(found) => found,
            Err(error) => {
                // What stands behind is found when the disk can read it again.
                log::error!("segment {id} cannot be read from byte {} on: {error}", scanner.offset());
                index.found(id, end, &news, *next_seq)?;
                return Ok(None);
            }
        };
        let Some(found) = found else { break };
        *next_seq = (*next_seq).max(found.header.seq.saturating_add(1));
        let (hash, seq) = (found.header.hash, found.header.seq);
        match found.header.kind {
            _ if !found.whole => {
                broken = broken.saturating_add(1);
                continue;
            }
            Kind::Block => {
                let spot = Spot { segment: id, offset: found.offset };
                news.push(News::Block(Entry { hash, spot, length: found.header.length, seq, again: None }));
            }
            Kind::Again => news.push(News::Again { hash, segment: id, seq }),
            Kind::Start | Kind::Gone => (),
        }
        end = scanner.offset();
        if news.len() >= BATCH {
            index.found(id, end, &news, *next_seq)?;
            news.clear();
        }
    }
    if broken > 0 {
        log::warn!("segment {id}: {broken} blocks are not whole, and left out");
    }
    // What comes behind was never answered for, and must not be taken for something later.
    let cut = file.set_len(end).and_then(|()| file.sync_all());
    let stays = match cut {
        Ok(()) => Some(end),
        Err(error) => {
            log::error!("segment {id}: cutting it back: {error}");
            None
        }
    };
    index.found(id, end, &news, *next_seq)?;
    Ok(stays)
}
