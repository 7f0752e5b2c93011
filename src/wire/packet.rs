//! Packets and replies: parsing what came, writing what goes.

use std::borrow::Cow;

use super::fail::Code;
use super::fail::Fail;
use super::raw;
use super::raw::Raw;

/// The longest ID (contract 1).
pub const MAX_ID: usize = 32;
/// The longest command word of any table. A longer one is still a packet, as an unknown command is no reason to close.
pub const MAX_COMMAND: usize = 32;

/// One packet, borrowed from the buffer it was read into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// 1–32 of `A–Z a–z 0–9 _ . -`; begins with `-` when the accepting side of the link began the exchange.
    pub id: &'a [u8],
    /// The command word; looked up by the receiver, an unknown one is FAIL BADCOMMAND.
    pub command: &'a [u8],
    /// What follows, still escaped.
    pub data: Raw<'a>,
}

/// The line is no packet: the link gets `-0 ERROR FAIL BADPACKET` and is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadPacket;

const fn id_table() -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric() || b == b'_' || b == b'.' || b == b'-';
        byte += 1;
    }
    table
}

const WORD: [bool; 256] = id_table();

/// The word at the start of `line`: its end, if it is 1 to `max` bytes long and ends at a space or the line's end.
#[inline]
pub(super) fn word(line: &[u8], max: usize) -> Result<usize, BadPacket> {
    let mut end = 0;
    while end < line.len() && WORD[usize::from(line[end])] {
        end += 1;
    }
    let ended = end == line.len() || line[end] == b' ';
    if end == 0 || end > max || !ended {
        return Err(BadPacket);
    }
    Ok(end)
}

impl<'a> Packet<'a> {
    /// Parses a line without its EOL.
    pub fn parse(line: &'a [u8]) -> Result<Packet<'a>, BadPacket> {
        let end = word(line, MAX_ID)?;
        let id = &line[..end];
        let rest = line.get(end + 1..).ok_or(BadPacket)?;
        let end = word(rest, usize::MAX)?;
        let command = &rest[..end];
        let data = rest.get(end + 1..).unwrap_or_default();
        Ok(Packet { id, command, data: Raw(data) })
    }
}

impl<'a> Packet<'a> {
    /// The same as `parse`, sooner when the command is `likely`, and whether it is: most packets follow one of their kind.
    #[inline]
    pub fn parse_like(line: &'a [u8], likely: &str) -> Result<(Packet<'a>, bool), BadPacket> {
        let end = word(line, MAX_ID)?;
        let (id, rest) = line.split_at(end);
        let after = rest.get(1..).and_then(|rest| rest.strip_prefix(likely.as_bytes()));
        match after.and_then(|after| after.strip_prefix(b" ")) {
            Some(data) if !likely.is_empty() => {
                Ok((Packet { id, command: &rest[1..=likely.len()], data: Raw(data) }, true))
            }
            _ => Packet::parse(line).map(|packet| (packet, false)),
        }
    }
}

/// A response's DATA, told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// `OK[ SP data]`
    Ok(Raw<'a>),
    /// `FAIL SP code[ SP text]`; a code this version does not know reads as INTERNAL.
    Fail(Code, Raw<'a>),
}

impl<'a> Reply<'a> {
    /// Reads a response's DATA.
    pub fn parse(data: Raw<'a>) -> Result<Reply<'a>, BadPacket> {
        let (first, rest) = split_space(data.0);
        match &*first {
            b"OK" => Ok(Reply::Ok(Raw(rest))),
            b"FAIL" => {
                let (code, text) = split_space(rest);
                Ok(Reply::Fail(Code::parse(&code).unwrap_or(Code::Internal), Raw(text)))
            }
            _ => Err(BadPacket),
        }
    }
}

/// The word meant before the first space, and what follows, still escaped. A peer may escape anything, so the space too:
/// its `~` then stands at the end of the word, where unescaping drops it.
fn split_space(bytes: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let (word, rest) = match memchr::memchr(b' ', bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    (Raw(word).unescape(), rest)
}

/// Appends `id SP command`, and a space when data will follow.
fn head(out: &mut Vec<u8>, id: &[u8], command: &[u8]) {
    out.extend_from_slice(id);
    out.push(b' ');
    out.extend_from_slice(command);
}

/// Appends a packet whose DATA is `fields`, escaped and separated by LF.
pub fn put_packet(out: &mut Vec<u8>, id: &[u8], command: &[u8], fields: &[&[u8]]) {
    head(out, id, command);
    for (n, field) in fields.iter().enumerate() {
        out.extend_from_slice(if n == 0 { b" " } else { raw::SEPARATOR });
        raw::escape_into(out, field);
    }
    out.push(b'\n');
}

/// Appends `id command OK[ SP data]`; `data` is escaped here.
pub fn put_ok(out: &mut Vec<u8>, id: &[u8], command: &[u8], data: &[u8]) {
    head(out, id, command);
    out.extend_from_slice(b" OK");
    if !data.is_empty() {
        out.push(b' ');
        raw::escape_into(out, data);
    }
    out.push(b'\n');
}

/// Appends `id command FAIL code[ text]`.
pub fn put_fail(out: &mut Vec<u8>, id: &[u8], command: &[u8], fail: &Fail) {
    head(out, id, command);
    out.extend_from_slice(b" FAIL ");
    out.extend_from_slice(fail.code.word().as_bytes());
    if !fail.text.is_empty() {
        out.push(b' ');
        raw::escape_into(out, fail.text.as_bytes());
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_with_and_without_data() {
        let packet = Packet::parse(b"7 SENDMESSAGE bob~\nhi there").unwrap();
        assert_eq!(packet.id, b"7");
        assert_eq!(packet.command, b"SENDMESSAGE");
        assert_eq!(packet.data, Raw(b"bob~\nhi there"));
        assert_eq!(Packet::parse(b"-1 PING").unwrap().data, Raw(b""));
        assert_eq!(Packet::parse(b"-1 PING ").unwrap().data, Raw(b""));
    }

    #[test]
    fn refuses_what_is_no_packet() {
        for line in [&b"7"[..], b" PING", b"7 ", b"7  PING", b"7~ PING", b"\xff PING", b"7 PI~NG", b"7 P\x00"] {
            assert_eq!(Packet::parse(line), Err(BadPacket), "{line:?}");
        }
        assert!(Packet::parse(&[&[b'a'; 32][..], b" PING"].concat()).is_ok());
        assert!(Packet::parse(&[&[b'a'; 33][..], b" PING"].concat()).is_err());
    }

    #[test]
    fn replies() {
        assert_eq!(Reply::parse(Raw(b"OK")), Ok(Reply::Ok(Raw(b""))));
        assert_eq!(Reply::parse(Raw(b"OK a b")), Ok(Reply::Ok(Raw(b"a b"))));
        assert_eq!(Reply::parse(Raw(b"FAIL WRONG no")), Ok(Reply::Fail(Code::Wrong, Raw(b"no"))));
        assert!(Reply::parse(Raw(b"OKAY")).is_err());
    }
}
