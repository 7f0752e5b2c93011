//! The records of a segment file, and the scanner that finds them whatever the file holds. Pure.
//!
//! A record is a header of 64 bytes and, if it is a block, its bytes, filled up to a multiple of 64. So all records begin at
//! multiples of 64, and after bytes that make no sense the scanner finds the next one. The check in the header is keyed, with a
//! key that no one outside knows, and names segment and offset: bytes that a user stored never pass for a record.

use std::io;

use super::hash::Hash;

/// Records begin at multiples of it, in bytes.
pub const ALIGN: u64 = 64;
/// Bytes of a header.
pub const HEADER: usize = 64;
/// The largest block, in bytes.
pub const MAX_BLOCK: usize = 1 << 20;

const MAGIC: &[u8] = b"CVB1";
/// What the check covers.
const CHECKED: usize = HEADER - 8;
/// The scanner's window, in bytes.
const WINDOW: usize = 256 << 10;

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The first of a segment: its seq is below all that come after it anywhere.
    Start = 1,
    /// A block.
    Block = 2,
    /// A block that is there was put again: its new seq. No bytes follow.
    Again = 3,
    /// A block that was deleted; its bytes may be gone.
    Gone = 4,
}

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: Kind,
    /// Bytes of the block; 0 for kinds without.
    pub length: u32,
    pub seq: u64,
    pub hash: Hash,
}

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spot {
    pub segment: u32,
    /// Of its header, in bytes.
    pub offset: u64,
}

/// The key of a store's checks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key(pub [u8; 32]);

impl Key {
    fn check(&self, spot: Spot, header: &[u8]) -> [u8; 8] {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&spot.segment.to_le_bytes());
        hasher.update(&spot.offset.to_le_bytes());
        hasher.update(header);
        let mut check = [0; 8];
        hasher.finalize_xof().fill(&mut check);
        check
    }
}

/// The bytes that a record with a block of `length` bytes takes.
pub fn span(length: u32) -> u64 {
    HEADER as u64 + u64::from(length).next_multiple_of(ALIGN)
}

impl Header {
    /// The bytes that the record takes.
    pub fn span(&self) -> u64 {
        span(self.length)
    }

    /// As it stands in the file at that spot.
    pub fn encode(&self, key: &Key, spot: Spot) -> [u8; HEADER] {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[self.kind as u8, 0, 0, 0]);
        bytes.extend_from_slice(&self.length.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.seq.to_le_bytes());
        bytes.extend_from_slice(&self.hash.0);
        let check = key.check(spot, &bytes);
        bytes.extend_from_slice(&check);
        std::array::from_fn(|n| bytes.get(n).copied().unwrap_or(0))
    }

    /// The header in these bytes, if they are one, written for that spot.
    pub fn decode(bytes: &[u8], key: &Key, spot: Spot) -> Option<Header> {
        let (checked, check) = bytes.get(..HEADER)?.split_at_checked(CHECKED)?;
        // Before the hash, as most of what is no header fails here.
        let rest = checked.strip_prefix(MAGIC)?;
        if key.check(spot, checked) != check {
            return None;
        }
        let (kind, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (seq, hash) = rest.get(4..)?.split_first_chunk::<8>()?;
        let kind = match kind {
            [1, 0, 0, 0] => Kind::Start,
            [2, 0, 0, 0] => Kind::Block,
            [3, 0, 0, 0] => Kind::Again,
            [4, 0, 0, 0] => Kind::Gone,
            _ => return None,
        };
        let length = u32::from_le_bytes(*length);
        let fits = match kind {
            Kind::Block | Kind::Gone => (1..=MAX_BLOCK as u32).contains(&length),
            Kind::Start | Kind::Again => length == 0,
        };
        let hash = Hash(hash.try_into().ok()?);
        fits.then_some(Header { kind, length, seq: u64::from_le_bytes(*seq), hash })
    }
}

/// What the scanner reads.
pub trait Source {
    /// Fills the buffer from that offset on; less only at the end.
    ///
    /// # Errors
    /// Those of the disk.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
}

impl Source for [u8] {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..length), rest.get(..length)) {
            to.copy_from_slice(from);
        }
        Ok(length)
    }
}

/// A record that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    pub offset: u64,
    pub header: Header,
    /// Whether it is all there: a block's bytes are those of its name.
    pub whole: bool,
}

/// Goes through a segment, record by record. Uses a window of 256 KiB and the room of one block, whatever is in the file.
pub struct Scanner<'a, S: Source + ?Sized> {
    source: &'a S,
    key: Key,
    segment: u32,
    offset: u64,
    end: u64,
    window: Vec<u8>,
    window_at: u64,
    data: Vec<u8>,
}

impl<'a, S: Source + ?Sized> Scanner<'a, S> {
    /// Over what stands from `offset` on and before `end`.
    pub fn new(source: &'a S, key: Key, segment: u32, offset: u64, end: u64) -> Scanner<'a, S> {
        let offset = offset.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX);
        Scanner { source, key, segment, offset, end, window: Vec::new(), window_at: 0, data: Vec::new() }
    }

    /// The bytes of the block that was found last.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Where the next record is looked for.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn find_next(&mut self) -> io::Result<Option<Found>> {
        self.data.clear();
        while self.offset.saturating_add(HEADER as u64) <= self.end {
            let spot = Spot { segment: self.segment, offset: self.offset };
            let key = self.key;
            let Some(bytes) = self.window(HEADER)? else { return Ok(None) };
            let Some(header) = Header::decode(bytes, &key, spot) else {
                self.offset = self.offset.saturating_add(ALIGN);
                continue;
            };
            let mut whole = true;
            if header.kind == Kind::Block {
                whole = self.read_data(header.length as usize)? && Hash::of(&self.data) == header.hash;
            }
            self.offset = self.offset.saturating_add(header.span());
            return Ok(Some(Found { offset: spot.offset, header, whole }));
        }
        Ok(None)
    }

    /// `length` bytes at the offset, if there are so many.
    fn window(&mut self, length: usize) -> io::Result<Option<&[u8]>> {
        let inside = |window: &Vec<u8>, at: u64, offset: u64| {
            let start = usize::try_from(offset.checked_sub(at)?).ok()?;
            Some(start..start.checked_add(length)?).filter(|range| range.end <= window.len())
        };
        if inside(&self.window, self.window_at, self.offset).is_none() {
            let room = usize::try_from(self.end.saturating_sub(self.offset)).unwrap_or(WINDOW).min(WINDOW);
            self.window.resize(room, 0);
            // Not to be taken for what was asked, should the read fail.
            self.window_at = u64::MAX;
            let read = self.source.read_at(self.offset, &mut self.window)?;
            self.window.truncate(read);
            self.window_at = self.offset;
        }
        Ok(inside(&self.window, self.window_at, self.offset).and_then(|range| self.window.get(range)))
    }

    /// Reads the bytes after the header at the offset; whether they are all there.
    fn read_data(&mut self, length: usize) -> io::Result<bool> {
        let at = self.offset.saturating_add(HEADER as u64);
        if at.saturating_add(length as u64) > self.end {
            return Ok(false);
        }
        let start = usize::try_from(at.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        if let Some(bytes) = self.window.get(start..start.saturating_add(length)) {
            self.data.extend_from_slice(bytes);
            return Ok(true);
        }
        self.data.resize(length, 0);
        let read = self.source.read_at(at, &mut self.data)?;
        self.data.truncate(read);
        Ok(read == length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = Key([7; 32]);

    fn put(file: &mut Vec<u8>, kind: Kind, seq: u64, data: &[u8]) {
        let header = Header { kind, length: data.len() as u32, seq, hash: Hash::of(data) };
        file.extend_from_slice(&header.encode(&KEY, Spot { segment: 3, offset: file.len() as u64 }));
        file.extend_from_slice(data);
        file.resize(file.len().next_multiple_of(64), 0);
    }

    fn scan(file: &[u8]) -> Vec<(u64, bool)> {
        let mut scanner = Scanner::new(file, KEY, 3, 0, file.len() as u64);
        let mut found = Vec::new();
        while let Some(record) = scanner.find_next().unwrap() {
            found.push((record.header.seq, record.whole));
        }
        found
    }

    #[test]
    fn what_was_written_is_found_whatever_is_between() {
        let mut file = Vec::new();
        put(&mut file, Kind::Start, 1, b"");
        put(&mut file, Kind::Block, 2, b"words");
        put(&mut file, Kind::Again, 3, b"");
        file.extend_from_slice(&[0xff; 6400]);
        put(&mut file, Kind::Block, 4, &[9; 300 << 10]);
        put(&mut file, Kind::Gone, 5, &[1; 64]);
        put(&mut file, Kind::Block, 6, &[2; 65]);
        assert_eq!(scan(&file), [(1, true), (2, true), (3, true), (4, true), (5, true), (6, true)]);
        // A cut record is none, or not whole.
        for cut in 1..=129 + 64 {
            let found = scan(&file[..file.len() - cut]);
            assert_eq!(found[..5], [(1, true), (2, true), (3, true), (4, true), (5, true)]);
            assert!(found.len() == 5 || (cut <= 63) == found[5].1, "{cut}");
        }
    }

    #[test]
    fn any_changed_byte_of_a_header_or_block_shows() {
        let mut file = Vec::new();
        put(&mut file, Kind::Block, 2, &[5; 64]);
        put(&mut file, Kind::Block, 3, &[6; 64]);
        for at in 0..128 {
            let mut bent = file.clone();
            bent[at] ^= 0x10;
            let found = scan(&bent);
            let expected: &[(u64, bool)] = if at < 64 { &[(3, true)] } else { &[(2, false), (3, true)] };
            assert_eq!(found, expected, "{at}");
        }
    }

    #[test]
    fn a_record_counts_at_its_own_place_only() {
        let mut file = Vec::new();
        put(&mut file, Kind::Block, 2, &[5; 64]);
        let moved = [&[0; 64], file.as_slice()].concat();
        assert!(scan(&moved).is_empty());
        let mut other = Scanner::new(file.as_slice(), KEY, 4, 0, 128);
        assert_eq!(other.find_next().unwrap(), None);
        let mut other = Scanner::new(file.as_slice(), Key([8; 32]), 3, 0, 128);
        assert_eq!(other.find_next().unwrap(), None);
    }
}
