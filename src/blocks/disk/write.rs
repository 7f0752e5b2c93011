//! Appending: what a put does, and the part that compaction shares.

use std::collections::HashSet;
use std::io;
use std::io::IoSlice;
use std::sync::atomic::Ordering;
use std::sync::Arc;

use rustix::io::Errno;

use super::folder;
use super::index::Entry;
use super::index::News;
use super::lock;
use super::said;
use super::Active;
use super::Disk;
use super::Writer;
use crate::blocks::record;
use crate::blocks::record::Header;
use crate::blocks::record::Kind;
use crate::blocks::record::Spot;
use crate::blocks::record::HEADER;
use crate::blocks::record::MAX_BLOCK;
use crate::blocks::Error;
use crate::blocks::Hash;
use crate::blocks::Stored;

/// What puts leave free on the disk, in bytes: the index and compaction need some, so that deleting gives space back.
pub(super) const RESERVE: u64 = 8 << 20;
/// Fills records up to a multiple of 64 bytes.
const ZEROS: [u8; HEADER] = [0; HEADER];

/// A record to be appended, and what comes of it.
struct Part<'a> {
    /// Which block of the call.
    number: usize,
    header: Header,
    data: &'a [u8],
}

impl Disk {
    /// See `BlockStore::put`.
    pub(super) fn write(&self, blocks: &[(Hash, &[u8])]) -> Vec<Result<Stored, Error>> {
        let wrong = || Err(said(format_args!("a block has 1 to {MAX_BLOCK} bytes")));
        let mut answers: Vec<Result<Stored, Error>> = blocks.iter().map(|_| wrong()).collect();
        let good = blocks.iter().enumerate().filter(|(_, (_, data))| (1..=MAX_BLOCK).contains(&data.len()));
        let mut wanted: Vec<(usize, Hash, &[u8])> = good.map(|(n, (hash, data))| (n, *hash, *data)).collect();
        let mut writer = lock(&self.writer);
        // Once more for those that were there, and were deleted before their new seq was known.
        for round in 0..2 {
            wanted = self.round(&mut writer, &wanted, round > 0, &mut answers);
            if wanted.is_empty() {
                break;
            }
        }
        answers
    }

    /// Plans and appends what is wanted. Answers what has to be done again.
    fn round<'a>(
        &self,
        writer: &mut Writer,
        wanted: &[(usize, Hash, &'a [u8])],
        anew: bool,
        answers: &mut [Result<Stored, Error>],
    ) -> Vec<(usize, Hash, &'a [u8])> {
        let mut answer = |number: usize, with: Result<Stored, Error>| {
            if let Some(answer) = answers.get_mut(number) {
                *answer = with;
            }
        };
        let mut here = HashSet::new();
        let mut used = self.used.load(Ordering::Relaxed);
        let capacity = self.capacity.min(used.saturating_add(self.folder.free().saturating_sub(RESERVE)));
        let mut parts = Vec::with_capacity(wanted.len());
        for (number, hash, data) in wanted {
            let there = here.contains(hash)
                || match anew {
                    true => false,
                    false => match self.is_there(hash) {
                        Ok(there) => there,
                        Err(error) => {
                            answer(*number, Err(error));
                            continue;
                        }
                    },
                };
            let (kind, data) = if there { (Kind::Again, &[][..]) } else { (Kind::Block, *data) };
            // Both fit: it was checked.
            let length = u32::try_from(data.len()).unwrap_or(0);
            let header = Header { kind, length, seq: writer.next_seq, hash: *hash };
            let after = used.saturating_add(header.span());
            // A new seq of what is there takes little, and has to be had, or nothing could be deleted safely.
            if after > capacity && kind == Kind::Block {
                answer(*number, Err(Error::Full));
                continue;
            }
            used = after;
            here.insert(*hash);
            // Whatever comes of this put, no other has its number.
            writer.next_seq = writer.next_seq.saturating_add(1);
            parts.push(Part { number: *number, header, data });
        }
        let mut rest = parts.as_slice();
        let mut again = HashSet::new();
        while !rest.is_empty() {
            let done = self.group(writer, rest);
            match done {
                Ok((count, missing)) => {
                    let (written, behind) = rest.split_at_checked(count).unwrap_or((rest, &[]));
                    for part in written {
                        if part.header.kind == Kind::Again && missing.contains(&part.header.hash) {
                            again.insert(part.number);
                        }
                        answer(part.number, Ok(Stored { hash: part.header.hash, seq: part.header.seq }));
                    }
                    rest = behind;
                }
                Err(error) => {
                    log::error!("blocks were not stored: {error}");
                    for part in rest {
                        answer(part.number, Err(error.clone()));
                    }
                    break;
                }
            }
        }
        wanted.iter().filter(|(number, ..)| again.contains(number)).copied().collect()
    }

    /// Whether that block is stored, and whole: a rotten one is stored anew.
    fn is_there(&self, hash: &Hash) -> Result<bool, Error> {
        let entry = lock(&self.index).find(hash).map_err(Error::Io)?;
        match entry {
            Some(entry) => Ok(self.read(&entry)?.is_some()),
            None => Ok(false),
        }
    }

    /// Appends as many of the parts as the segment takes, at least one; durable and indexed on return. Answers how many, and
    /// which blocks, put again, are not there any more.
    fn group(&self, writer: &mut Writer, parts: &[Part<'_>]) -> Result<(usize, Vec<Hash>), Error> {
        let spans = parts.iter().map(|part| part.header.span());
        let count = self.room(writer, spans)?;
        let parts = parts.get(..count).unwrap_or_default();
        let records: Vec<(Header, &[u8])> = parts.iter().map(|part| (part.header, part.data)).collect();
        let missing = self.append(writer, &records, |disk, id, length, spots, next| {
            let news = records.iter().zip(spots).map(|((header, _), spot)| match header.kind {
                Kind::Again => News::Again { hash: header.hash, segment: id, seq: header.seq },
                _ => News::Block(Entry {
                    hash: header.hash,
                    spot: *spot,
                    length: header.length,
                    seq: header.seq,
                    again: None,
                }),
            });
            let news: Vec<News> = news.collect();
            let mut index = lock(&disk.index);
            let missing = index.put(id, length, &news, next)?;
            disk.count(&index);
            Ok(missing)
        })?;
        Ok((count, missing))
    }

    /// Sees to it that there is a segment to write to, and says how many records of these spans it takes: at least one.
    pub(super) fn room(&self, writer: &mut Writer, spans: impl Iterator<Item = u64>) -> Result<usize, Error> {
        if writer.active.as_ref().is_some_and(|active| active.length >= self.segment) {
            writer.active = None;
        }
        let mut length = self.active(writer)?.length;
        let mut count: usize = 0;
        for span in spans {
            if count > 0 && length >= self.segment {
                break;
            }
            length = length.saturating_add(span);
            count = count.saturating_add(1);
        }
        Ok(count)
    }

    /// The segment that is written to; a new one, if there is none.
    pub(super) fn active<'a>(&self, writer: &'a mut Writer) -> Result<&'a mut Active, Error> {
        let active = match writer.active.take() {
            Some(active) => active,
            None => {
                let id = writer.next_segment;
                // So that no seq is given twice, even if all segments before and the index go.
                let start = Header { kind: Kind::Start, length: 0, seq: writer.next_seq, hash: Hash([0; 32]) };
                let bytes = start.encode(&self.key, Spot { segment: id, offset: 0 });
                let file =
                    self.folder.create(id, &bytes).map_err(|error| said(format_args!("a new segment: {error}")))?;
                writer.next_segment = id.checked_add(1).ok_or_else(|| said("there is no number for a new segment"))?;
                writer.next_seq = writer.next_seq.saturating_add(1);
                Active { id, file, length: start.span() }
            }
        };
        Ok(writer.active.insert(active))
    }

    /// Appends records to the segment that is written to, syncs it, then lets `tell` tell the index: with the segment, its new
    /// length, where each record stands, and the next seq. If anything fails, the segment is as it was, or is left.
    pub(super) fn append<T>(
        &self,
        writer: &mut Writer,
        records: &[(Header, &[u8])],
        tell: impl FnOnce(&Disk, u32, u64, &[Spot], u64) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.active(writer)?;
        let next = writer.next_seq;
        let Some(active) = &mut writer.active else { return Err(said("no segment")) };
        let mut length = active.length;
        let mut heads = Vec::with_capacity(records.len());
        let mut spots = Vec::with_capacity(records.len());
        for (header, _) in records {
            let spot = Spot { segment: active.id, offset: length };
            heads.push(header.encode(&self.key, spot));
            spots.push(spot);
            length = length.saturating_add(header.span());
        }
        let mut slices = Vec::with_capacity(records.len().saturating_mul(3));
        for ((header, data), head) in records.iter().zip(&heads) {
            let fill = header.span().saturating_sub(HEADER as u64).saturating_sub(data.len() as u64);
            let fill = usize::try_from(fill).ok().and_then(|fill| ZEROS.get(..fill)).unwrap_or_default();
            slices.extend([IoSlice::new(head), IoSlice::new(data), IoSlice::new(fill)]);
        }
        let (id, file) = (active.id, Arc::clone(&active.file));
        let mut leave = false;
        let written = folder::write(&file, active.length, &mut slices).and_then(|()| file.sync_data());
        let told = match written {
            Ok(()) => tell(self, id, length, &spots, next),
            Err(error) => {
                // Another file helps against all but a disk that is full.
                leave = !is_full(&error) && active.length > HEADER as u64;
                Err(format!("segment {id}: {error}"))
            }
        };
        match told {
            Ok(told) => {
                active.length = length;
                Ok(told)
            }
            Err(error) => {
                // Nothing of it is indexed. What cannot be cut off is not written behind.
                let cut = file.set_len(active.length).and_then(|()| file.sync_all());
                if leave || cut.is_err() {
                    log::error!("segment {id} is left, and another one begun");
                    writer.active = None;
                }
                Err(Error::Io(error))
            }
        }
    }
}

/// Whether the disk, or this user's part of it, is full.
fn is_full(error: &io::Error) -> bool {
    [Errno::NOSPC, Errno::DQUOT].iter().any(|full| error.raw_os_error() == Some(full.raw_os_error()))
}

// The largest block fits into the number of its header.
const _: () = assert!(MAX_BLOCK <= u32::MAX as usize && record::ALIGN == HEADER as u64);
