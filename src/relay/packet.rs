//! RELAY and RELAYED on the wire (docs/protocol.md, 64477).

use std::borrow::Cow;

use super::HOPS;
use super::ITEMS;
use super::RESULTS;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Sessions that one item can have missed: as many as a user can have.
const MOVES: usize = 8;

/// The longest name of a stream's end, in bytes on the wire.
const LONGEST: usize = 272;

/// A stream is between two main servers, which have names, or between two realms.
fn check_end(end: &str) -> Result<(), Fail> {
    match end.contains(':') {
        true => name::check_realm(end),
        false => name::check(end),
    }
}

/// What became of an item that was not simply queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Refused; the sender is told.
    Fail(Code, String),
    /// Sessions it was for have moved: it is to be sent on, for each of those moves alone.
    Moved {
        /// It was queued to another session too.
        delivered: bool,
        /// The moves' request ids, and the servers.
        to: Vec<(String, String)>,
    },
}

/// Items that did not simply succeed, by their numbers, in their order.
pub type Results = Vec<(u64, Outcome)>;

/// The head of a RELAY: where it goes, and what it carries of which stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// How many more servers it may pass.
    pub ttl: u8,
    /// The server at the end.
    pub dest: String,
    /// The start of that server that is meant, Unix milliseconds; another start knows nothing of the stream.
    pub boot: u64,
    /// The server that sends.
    pub origin: String,
    /// The stream's number; a greater one is a later one.
    pub stream: u64,
    /// The number of the first item.
    pub first: u64,
    /// All up to this number was acknowledged.
    pub acked: u64,
    /// The version of the origin's table when the items were accepted.
    pub version: u64,
}

/// The head of a RELAYED: how far a stream has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// See `Relay`.
    pub ttl: u8,
    /// The stream's origin.
    pub dest: String,
    /// The stream's end, which says this.
    pub from: String,
    /// The start of the server that says this.
    pub boot: u64,
    /// The stream's number.
    pub stream: u64,
    /// All items up to this number are done with.
    pub upto: u64,
    /// The stream is not known: everything that is not acknowledged has no known outcome.
    pub unknown: bool,
    /// Something is missing in between: send again.
    pub gap: bool,
}

/// A packet of either kind, as far as every server on its way must read it.
#[derive(Clone, Debug)]
pub struct Routed<'a> {
    /// How many more servers it may pass.
    pub ttl: u8,
    /// The server at the end.
    pub dest: Cow<'a, str>,
    /// All behind the ttl and its `|`, as it stands on the wire.
    pub rest: &'a [u8],
}

impl<'a> Routed<'a> {
    /// Reads the start of DATA.
    ///
    /// # Errors
    /// BADARGS.
    pub fn parse(data: Raw<'a>) -> Result<Routed<'a>, Fail> {
        let bad = || Fail::bad_args("a relayed packet begins with hops|server");
        let at = memchr::memchr(b'|', data.0).filter(|at| *at <= 3).ok_or_else(bad)?;
        let (ttl, rest) = (Raw(&data.0[..at]).number()?, &data.0[at + 1..]);
        let ttl = u8::try_from(ttl).ok().filter(|ttl| *ttl <= HOPS).ok_or_else(bad)?;
        let end = memchr::memchr(b'|', rest).filter(|end| *end <= LONGEST).ok_or_else(bad)?;
        let dest = Raw(&rest[..end]).text()?;
        check_end(&dest)?;
        Ok(Routed { ttl, dest, rest })
    }
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    raw::escape_into(out, name.as_bytes());
    out.push(b'|');
}

fn put(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut left = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (left % 10) as u8;
        left /= 10;
        if left == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Columns of a head, taken one after another.
struct Columns<'a>(std::str::Split<'a, char>);

impl<'a> Columns<'a> {
    fn text(&mut self) -> Result<&'a str, Fail> {
        self.0.next().ok_or_else(|| Fail::bad_args("the head of a relayed packet is too short"))
    }

    fn name(&mut self) -> Result<String, Fail> {
        let text = self.text()?;
        name::check(text)?;
        Ok(text.to_owned())
    }

    fn end(&mut self) -> Result<String, Fail> {
        let text = self.text()?;
        check_end(text)?;
        Ok(text.to_owned())
    }

    /// Pairs of an id and a server, up to the end.
    fn pairs(&mut self) -> Result<Vec<(String, String)>, Fail> {
        let mut pairs = Vec::new();
        while let Some(id) = self.0.next() {
            if pairs.len() >= MOVES {
                return Err(Fail::bad_args("too many moves"));
            }
            name::check(id)?;
            pairs.push((id.to_owned(), self.name()?));
        }
        Ok(pairs)
    }

    fn number(&mut self) -> Result<u64, Fail> {
        Raw(self.text()?.as_bytes()).number()
    }
}

/// What the tag of a packet covers, and the tag.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// From behind the ttl to before the tag's `|`.
    pub head: &'a [u8],
    /// Behind the tag.
    pub body: &'a [u8],
    /// In hex; empty: none.
    pub tag: &'a [u8],
}

impl<'a> Signed<'a> {
    /// Splits what follows the ttl.
    fn split(rest: &'a [u8]) -> Result<(Raw<'a>, Signed<'a>), Fail> {
        let (head, body) = Raw(rest).split_field();
        let body = body.unwrap_or_default();
        let bar = memchr::memrchr(b'|', head.0).ok_or_else(|| Fail::bad_args("the tag is missing"))?;
        let (covered, tag) = (&head.0[..bar], &head.0[bar + 1..]);
        Ok((Raw(covered), Signed { head: covered, body: body.0, tag }))
    }
}

impl Relay {
    /// Appends everything from the ttl to the last `|` before the tag.
    pub fn put(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.ttl));
        out.push(b'|');
        put_name(out, &self.dest);
        put(out, self.boot);
        out.push(b'|');
        put_name(out, &self.origin);
        for number in [self.stream, self.first, self.acked] {
            put(out, number);
            out.push(b'|');
        }
        put(out, self.version);
    }

    /// Reads a whole packet: the head, what the items are, the items, and what its tag covers.
    ///
    /// # Errors
    /// BADARGS.
    pub fn parse<'a>(routed: &Routed<'a>) -> Result<(Relay, Raw<'a>, Raw<'a>, Signed<'a>), Fail> {
        let (covered, signed) = Signed::split(routed.rest)?;
        let text = covered.text()?;
        let mut columns = Columns(text.split('|'));
        let relay = Relay {
            ttl: routed.ttl,
            dest: columns.end()?,
            boot: columns.number()?,
            origin: columns.end()?,
            stream: columns.number()?,
            first: columns.number()?,
            acked: columns.number()?,
            version: columns.number()?,
        };
        let [what, items] = Raw(signed.body).take()?;
        if relay.first == 0 || relay.stream == 0 {
            return Err(Fail::bad_args("streams and items are counted from 1"));
        }
        Ok((relay, what, items, signed))
    }
}

impl Relayed {
    /// Appends everything from the ttl to the last `|` before the tag.
    pub fn put(&self, out: &mut Vec<u8>) {
        put(out, u64::from(self.ttl));
        out.push(b'|');
        put_name(out, &self.dest);
        put_name(out, &self.from);
        for number in [self.boot, self.stream, self.upto] {
            put(out, number);
            out.push(b'|');
        }
        out.extend_from_slice(match (self.unknown, self.gap) {
            (true, _) => b"unknown",
            (false, true) => b"gap",
            (false, false) => b"",
        });
    }

    /// Reads a whole packet: the head, the results, what its tag covers.
    ///
    /// # Errors
    /// BADARGS.
    pub fn parse<'a>(routed: &Routed<'a>) -> Result<(Relayed, Results, Signed<'a>), Fail> {
        let (covered, signed) = Signed::split(routed.rest)?;
        let text = covered.text()?;
        let mut columns = Columns(text.split('|'));
        let (dest, from) = (columns.end()?, columns.end()?);
        let (boot, stream, upto) = (columns.number()?, columns.number()?, columns.number()?);
        let flag = columns.text()?;
        let relayed =
            Relayed { ttl: routed.ttl, dest, from, boot, stream, upto, unknown: flag == "unknown", gap: flag == "gap" };
        Ok((relayed, results(Raw(signed.body))?, signed))
    }
}

/// Appends one result as a line, unescaped.
pub fn put_result(out: &mut String, number: u64, outcome: &Outcome) {
    use std::fmt::Write;
    // Writing to a String cannot fail.
    let _ = match outcome {
        Outcome::Fail(code, text) => {
            writeln!(out, "{number}|{}|{}", code.word(), text.replace(|c: char| c == '|' || c.is_control(), " "))
        }
        Outcome::Moved { delivered, to } => {
            let to: String = to.iter().map(|(id, server)| format!("|{id}|{server}")).collect();
            writeln!(out, "{number}|MOVED|{}{to}", if *delivered { "yes" } else { "no" })
        }
    };
}

fn results(lines: Raw<'_>) -> Result<Results, Fail> {
    let text = lines.text()?;
    let mut found = Vec::new();
    for line in text.lines() {
        let bad = || Fail::bad_args("a result is number|CODE|text or number|MOVED|id|server");
        let mut columns = Columns(line.split('|'));
        let (number, code, first) = (columns.number()?, columns.text()?, columns.text()?);
        let outcome = match code {
            "MOVED" => Outcome::Moved { delivered: first == "yes", to: columns.pairs()? },
            _ => Outcome::Fail(Code::parse(code.as_bytes()).ok_or_else(bad)?, first.chars().take(500).collect()),
        };
        // In order, so that one pass finds them all.
        if found.last().is_some_and(|(last, _)| *last >= number) {
            return Err(bad());
        }
        if found.len() >= RESULTS + ITEMS {
            return Err(Fail::bad_args("too many results"));
        }
        found.push((number, outcome));
    }
    Ok(found)
}

/// Appends an item: its length as it stands on the wire, a space, the bytes.
#[inline]
pub fn put_item(out: &mut Vec<u8>, item: &[u8]) {
    out.reserve(item.len() + 21);
    put(out, item.len() as u64);
    out.push(b' ');
    out.extend_from_slice(item);
}

/// The items of a packet, one after another.
#[derive(Clone, Debug)]
pub struct Items<'a>(pub &'a [u8]);

impl<'a> Iterator for Items<'a> {
    type Item = Result<&'a [u8], Fail>;

    #[inline]
    fn next(&mut self) -> Option<Result<&'a [u8], Fail>> {
        if self.0.is_empty() {
            return None;
        }
        let mut length = 0usize;
        let mut at = 0;
        while let Some(digit) = self.0.get(at).filter(|byte| byte.is_ascii_digit()) {
            length = length.saturating_mul(10).saturating_add(usize::from(*digit - b'0'));
            at += 1;
        }
        let whole = self.0.get(at) == Some(&b' ') && at > 0;
        let end = (at + 1).saturating_add(length);
        match self.0.get(at + 1..end).filter(|item| whole && is_whole(item)) {
            Some(item) => {
                self.0 = &self.0[end..];
                Some(Ok(item))
            }
            None => {
                self.0 = &[];
                Some(Err(Fail::bad_args("an item is its length, a space, and so many bytes")))
            }
        }
    }
}

/// Whether an item ends where an escape does: a `~` at its end would swallow what is written behind it.
#[inline]
fn is_whole(item: &[u8]) -> bool {
    item.last() != Some(&b'~') || item.iter().rev().take_while(|byte| **byte == b'~').count() % 2 == 0
}
