//! Packets of one batch, framed and parsed.

use memchr::memchr3;

use super::frame::Framer;
use super::packet::word;
use super::packet::BadPacket;
use super::packet::MAX_ID;
use super::raw;
use super::Packet;
use super::Raw;

/// Cuts a batch into packets. Most packets of a batch say the same to the same, so it remembers how the one before
/// began: where the next begins alike, that part is neither searched for line ends nor parsed again.
#[derive(Debug)]
pub struct Batch<'a> {
    input: &'a [u8],
    start: usize,
    framer: Framer,
    /// Of the packet before, from behind its ID: `SP COMMAND SP field ~ LF`, with no other `~` in it. Empty: nothing to go by.
    opening: &'a [u8],
    /// The length of the command in it.
    command: usize,
}

/// A packet without its EOL, not parsed yet.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// All of it.
    pub bytes: &'a [u8],
    /// How much of it is an ID and the batch's opening; 0: it begins otherwise.
    known: usize,
    /// Where its first `~` is, if that was seen.
    escape: Option<usize>,
}

/// A packet, and what else came to light.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parsed<'a> {
    /// The packet.
    pub packet: Packet<'a>,
    /// Its command is the one asked for.
    pub alike: bool,
    /// The length of the first field of its DATA, if there is a second and it was seen.
    pub first: Option<usize>,
}

impl<'a> Batch<'a> {
    /// `framer` is the link's; `input` is what it has not called whole packets yet, and what came since.
    pub fn new(input: &'a [u8], framer: Framer) -> Batch<'a> {
        Batch { input, start: 0, framer, opening: &[], command: 0 }
    }

    /// How many bytes were whole packets so far.
    pub fn used(&self) -> usize {
        self.start
    }

    /// For the next batch, which begins with what was not used of this one.
    pub fn into_framer(self) -> Framer {
        self.framer
    }

    /// The next packet; None: it has not come as a whole.
    #[inline(always)]
    pub fn line(&mut self) -> Option<Line<'a>> {
        let known = self.known();
        if known == 0 {
            return self.other(0, 0);
        }
        let from = self.start + known;
        match memchr3(b'~', b'\n', b'\r', &self.input[from..]) {
            Some(found) if self.input[from + found] != b'~' => {
                let bytes = &self.input[self.start..from + found];
                self.start = from + found + 1;
                Some(Line { bytes, known, escape: None })
            }
            Some(found) => self.other(known, found),
            None => self.other(known, self.input.len() - from),
        }
    }

    /// A packet that begins otherwise, or has escapes behind the opening. In `more` bytes behind `known` is nothing special.
    #[inline(never)]
    fn other(&mut self, known: usize, more: usize) -> Option<Line<'a>> {
        let (bytes, escape) = self.framer.next_behind(self.input, &mut self.start, known + more)?;
        Some(Line { bytes, known, escape })
    }

    #[inline(always)]
    fn known(&self) -> usize {
        if self.opening.is_empty() || !self.framer.is_fresh() {
            return 0;
        }
        let rest = self.input.get(self.start..).unwrap_or_default();
        match word(rest, MAX_ID) {
            Ok(id) => match rest.get(id..id + self.opening.len()) {
                Some(begins) if raw::same(begins, self.opening) => id + self.opening.len(),
                _ => 0,
            },
            Err(_) => 0,
        }
    }

    /// Parses the line that `line` gave last. `likely`: the command of the packet before, or nothing.
    #[inline(always)]
    pub fn parse(&mut self, line: Line<'a>, likely: &str) -> Result<Parsed<'a>, BadPacket> {
        let Line { bytes, known, .. } = line;
        if known == 0 {
            return self.parse_other(line, likely);
        }
        let (id, rest) = bytes.split_at(known - self.opening.len());
        let (command, data) = (&self.opening[1..=self.command], Raw(&rest[self.command + 2..]));
        let first = Some(self.opening.len() - self.command - 4);
        Ok(Parsed { packet: Packet { id, command, data }, alike: !likely.is_empty(), first })
    }

    #[inline(never)]
    fn parse_other(&mut self, line: Line<'a>, likely: &str) -> Result<Parsed<'a>, BadPacket> {
        let Line { bytes, escape, .. } = line;
        self.opening = &[];
        let (packet, alike) = Packet::parse_like(bytes, likely)?;
        let data_at = bytes.len() - packet.data.0.len();
        let first = match escape {
            Some(at) if at >= data_at && bytes.get(at + 1) == Some(&b'\n') => Some(at - data_at),
            _ => None,
        };
        if let Some(first) = first {
            (self.opening, self.command) = (&bytes[packet.id.len()..data_at + first + 2], packet.command.len());
        }
        Ok(Parsed { packet, alike, first })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a batch must give: framed and parsed one by one.
    fn plain(input: &[u8]) -> Vec<Result<Packet<'_>, BadPacket>> {
        let (mut framer, mut start, mut all) = (Framer::default(), 0, Vec::new());
        while let Some(line) = framer.next(input, &mut start) {
            all.push(Packet::parse(line));
        }
        all
    }

    fn check(input: &[u8]) {
        let (mut batch, mut all) = (Batch::new(input, Framer::default()), Vec::new());
        let mut likely = String::new();
        while let Some(line) = batch.line() {
            let parsed = batch.parse(line, &likely);
            if let Ok(Parsed { packet, alike, first }) = parsed {
                assert!(!alike || likely.as_bytes() == packet.command, "{packet:?}");
                if let Some(first) = first {
                    let (field, rest) = packet.data.split_field();
                    assert_eq!((field.0.len(), rest.is_some()), (first, true), "{packet:?}");
                }
                likely = String::from_utf8_lossy(packet.command).into_owned();
            }
            all.push(parsed.map(|parsed| parsed.packet));
        }
        assert_eq!(all, plain(input), "{:?}", input.escape_ascii().to_string());
    }

    #[test]
    fn packets_that_begin_alike_and_others() {
        check(
            b"1 S bob~\nhi\n2 S bob~\nho~\n\n0 S bob~\n~~\r\n\n3 S bobby~\nx\n4 T bob~\nx\n5 S bob~~\nx\n6 S bob~\n\n",
        );
        check(b"1 S b~xb~\nhi\n1 S b~xb~\nhi\n1 S\n1 S \n2  S bob~\n\n-1 S bob~\nx\n-~1 S bob~\nx\n0 S bob~\nx");
        check(b"1 S ~\nhi\n1 S ~\nhi\n\n1 S ~\n\n1 S ~\n~");
    }

    #[test]
    fn any_bytes() {
        // Few letters, so that openings repeat and break everywhere.
        let letters = *b"01 SS~~\n\nbb\r";
        let mut state = 7u64;
        for _ in 0..20_000 {
            let mut input = Vec::new();
            for _ in 0..8 {
                input.extend_from_slice(b"1 S b~\n");
                for _ in 0..6 {
                    state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    input.push(letters[(state >> 33) as usize % letters.len()]);
                }
            }
            check(&input);
        }
    }
}
