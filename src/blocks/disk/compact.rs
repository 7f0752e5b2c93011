//! Giving space back: what lives in a segment that is mostly dead is copied to the one that is written to, and its file removed.
//!
//! It may be cut off anywhere: until the index knows the copy, durably, the old record counts; a segment that was half copied is
//! gone through again from its beginning.

use std::io;

use super::folder::Reading;
use super::index::Entry;
use super::index::Segment;
use super::lock;
use super::said;
use super::write::RESERVE;
use super::Disk;
use super::Writer;
use crate::blocks::record::Header;
use crate::blocks::record::Kind;
use crate::blocks::record::Scanner;
use crate::blocks::record::Spot;
use crate::blocks::Error;

/// What one step copies, in bytes (and one record more), and how much of a segment it goes through.
const COPIED: usize = 4 << 20;
const READ: u64 = 16 << 20;
/// The segment that is written to is emptied too when space is short, if it is so long, in bytes.
const LEAST: u64 = 1 << 20;
/// How many records one step copies.
const RECORDS: usize = 1024;

/// A segment that is being emptied.
pub struct Compaction {
    segment: u32,
    /// How far it was gone through.
    offset: u64,
}

/// A copy to be made: the entry as it is, and the record.
struct Copy {
    from: Entry,
    header: Header,
    data: Vec<u8>,
}

impl Disk {
    /// One step; whether there is more to do.
    pub(super) fn compact(&self) -> Result<bool, Error> {
        let mut writer = lock(&self.writer);
        let writer = &mut *writer;
        let now = match writer.compaction.take() {
            Some(now) => now,
            None => match self.choose(writer) {
                Some(segment) => Compaction { segment, offset: 0 },
                None => {
                    // They get another try when it is called again.
                    writer.stuck.clear();
                    return Ok(false);
                }
            },
        };
        let segment = now.segment;
        match self.step(writer, now) {
            Ok(next) => {
                writer.compaction = next;
                Ok(true)
            }
            Err(error) => {
                // The disk cannot read it, or is full: the next one may do.
                log::error!("segment {segment} is not compacted: {error}");
                writer.stuck.insert(segment);
                Err(error)
            }
        }
    }

    /// The segment with the least to copy of those that are worth it. When space is short, more are.
    fn choose(&self, writer: &mut Writer) -> Option<u32> {
        let index = lock(&self.index);
        let taken = index.segments().values().fold(0_u64, |sum, segment| sum.saturating_add(segment.taken()));
        let short = taken > self.capacity / 8 * 7 || self.folder.free() < 2 * RESERVE;
        let worth = |segment: &Segment| {
            let (live, taken) = (u128::from(segment.live), u128::from(segment.taken()));
            live * 2 < taken || live * 8 < u128::from(segment.length) || (short && live * 8 < taken * 7)
        };
        // The one that is written to is left, if it alone could give space back.
        if short {
            let active = writer.active.as_ref().and_then(|active| index.segments().get(&active.id));
            if active.is_some_and(|segment| segment.length > LEAST.min(self.segment / 2) && worth(segment)) {
                writer.active = None;
            }
        }
        let active = writer.active.as_ref().map(|active| active.id);
        let others = index
            .segments()
            .iter()
            .filter(|(id, segment)| Some(**id) != active && !writer.stuck.contains(id) && worth(segment));
        others.min_by_key(|(_, segment)| segment.live).map(|(id, _)| *id)
    }

    fn step(&self, writer: &mut Writer, now: Compaction) -> Result<Option<Compaction>, Error> {
        let known = lock(&self.index).segments().get(&now.segment).copied().unwrap_or_default();
        if known.live == 0 {
            self.remove(writer, now.segment)?;
            return Ok(None);
        }
        if now.offset >= known.length {
            self.leftovers(writer, now.segment)?;
            return Ok(Some(now));
        }
        let words = |error: io::Error| said(format_args!("segment {}: {error}", now.segment));
        let file = self.folder.file(now.segment).map_err(words)?;
        let source = Reading(&file);
        let mut scanner = Scanner::new(&source, self.key, now.segment, now.offset, known.length);
        let (mut copies, mut size) = (Vec::new(), 0_usize);
        let until = now.offset.saturating_add(READ);
        let mut end = known.length;
        while let Some(found) = scanner.find_next().map_err(words)? {
            if let Some(from) = lock(&self.index).find(&found.header.hash).map_err(Error::Io)? {
                let spot = Spot { segment: now.segment, offset: found.offset };
                let counts = match found.header.kind {
                    Kind::Block => from.spot == spot,
                    Kind::Again => from.again == Some(now.segment) && from.seq == found.header.seq,
                    Kind::Start | Kind::Gone => false,
                };
                if counts {
                    // The copy of a block has its latest seq, so what told that is not needed any more.
                    let header = Header { seq: from.seq, ..found.header };
                    size = size.saturating_add(scanner.data().len());
                    let mut data = scanner.data().to_vec();
                    // A rotten one is copied as it is: who asks for it is told.
                    data.resize(header.length as usize, 0);
                    copies.push(Copy { from, header, data });
                }
            }
            if size >= COPIED || copies.len() >= RECORDS || scanner.offset() >= until {
                end = scanner.offset();
                break;
            }
        }
        self.copy(writer, copies)?;
        Ok(Some(Compaction { segment: now.segment, offset: end }))
    }

    /// Copies what has no readable header in the segment: by what the index says.
    fn leftovers(&self, writer: &mut Writer, segment: u32) -> Result<(), Error> {
        let entries = lock(&self.index).of_segment(segment, 4).map_err(Error::Io)?;
        let mut copies = Vec::new();
        for from in entries {
            let own = from.spot.segment == segment;
            let kind = if own { Kind::Block } else { Kind::Again };
            let length = if own { from.length } else { 0 };
            let mut data = Vec::new();
            if own {
                let words = |error: io::Error| said(format_args!("segment {segment}: {error}"));
                let file = self.folder.file(segment).map_err(words)?;
                if let Some((_, read)) = super::folder::read(&file, from.spot.offset, length as usize).map_err(words)? {
                    data = read;
                }
                data.resize(length as usize, 0);
            }
            copies.push(Copy { from, header: Header { kind, length, seq: from.seq, hash: from.hash }, data });
        }
        if copies.is_empty() {
            return Err(said(format_args!("the index counts blocks in segment {segment} that it does not have")));
        }
        self.copy(writer, copies)
    }

    /// Appends the copies and lets the index point to them.
    fn copy(&self, writer: &mut Writer, copies: Vec<Copy>) -> Result<(), Error> {
        let mut rest = copies.as_slice();
        while !rest.is_empty() {
            let count = self.room(writer, rest.iter().map(|copy| copy.header.span()))?;
            let (now, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            let records: Vec<(Header, &[u8])> = now.iter().map(|copy| (copy.header, copy.data.as_slice())).collect();
            let late = self.append(writer, &records, |disk, id, length, spots, next| {
                let moves = now.iter().zip(spots).map(|(copy, spot)| {
                    let to = match copy.header.kind {
                        Kind::Again => Entry { again: Some(id), ..copy.from },
                        _ => Entry { spot: *spot, again: None, ..copy.from },
                    };
                    (copy.from, to)
                });
                let moves: Vec<(Entry, Entry)> = moves.collect();
                let mut index = lock(&disk.index);
                let late = index.moved(id, length, &moves, next)?;
                disk.count(&index);
                Ok(late)
            })?;
            // Deleted while they were copied. Of what was put again there is no copy.
            let late: Vec<Entry> = late.into_iter().filter(|entry| entry.again.is_none()).collect();
            self.mark(&late);
            rest = behind;
        }
        Ok(())
    }

    fn remove(&self, writer: &mut Writer, segment: u32) -> Result<(), Error> {
        // A segment that begins with a later seq than any in this one.
        self.active(writer)?;
        self.folder.remove(segment).map_err(|error| said(format_args!("segment {segment}: {error}")))?;
        let mut index = lock(&self.index);
        index.drop_segment(segment).map_err(Error::Io)?;
        self.count(&index);
        Ok(())
    }
}
