//! One entry of a portion as a line: what management writes and main servers read (`PORTION`, `ROUTES`), and its hash.
//!
//! - `u|username|server|server…`: signed on there; no server: nowhere
//! - `r|server|next hop`: the way there; nothing: none
//! - `g|server`: gone, nobody is signed on there any more; in place of a line for each user, and so in no checksum
//! - `m|request-id|username|from|to`: a session has moved; an event, no state, so it is in no checksum

use std::fmt;

use crate::wire::name;
use crate::wire::Fail;

/// How many servers one user may be signed on at. A user has 8 sessions; that a server reports too many, or that one
/// counts twice while it moves, must not fail at once, and a line stays short.
pub const PLACES: usize = 64;

/// A line, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Where a user is signed on.
    User {
        /// As registered.
        name: &'a str,
        /// In the order of their ids, none twice.
        at: Places<'a>,
    },
    /// Which way a server is reached.
    Route {
        /// The server to reach.
        server: &'a str,
        /// The neighbour to send to, if there is a way.
        next: Option<&'a str>,
    },
    /// Nobody is signed on at a server any more.
    Gone {
        /// The server.
        server: &'a str,
    },
    /// One session of a user has moved.
    Moved {
        /// Of the redirect.
        id: &'a str,
        /// The user, as registered.
        name: &'a str,
        /// The server that had the session.
        from: &'a str,
        /// The server that has it now.
        to: &'a str,
    },
}

/// The servers of a user's line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Places<'a>(&'a str);

impl<'a> Places<'a> {
    /// Their ids, sorted.
    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        self.0.split('|').filter(|id| !id.is_empty())
    }
}

impl<'a> Entry<'a> {
    /// Reads a line, without its LF. Everything is checked: names, order and number of servers, number of columns.
    ///
    /// # Errors
    /// BADARGS, with what is wrong.
    pub fn parse(line: &'a str) -> Result<Entry<'a>, Fail> {
        let (kind, rest) = line.split_once('|').ok_or_else(|| Fail::bad_args("a line of a portion has columns"))?;
        match kind {
            "u" => {
                let (name, at) = rest.split_once('|').unwrap_or((rest, ""));
                name::check_user(name)?;
                Ok(Entry::User { name, at: places(at)? })
            }
            "r" => {
                let (server, next) = rest.split_once('|').ok_or_else(|| Fail::bad_args("r|server|next hop"))?;
                name::check(server)?;
                let next = Some(next).filter(|next| !next.is_empty());
                next.map_or(Ok(()), name::check)?;
                Ok(Entry::Route { server, next })
            }
            "g" => {
                name::check(rest)?;
                Ok(Entry::Gone { server: rest })
            }
            "m" => {
                let mut columns = rest.split('|');
                let mut column = || columns.next().ok_or_else(|| Fail::bad_args("m|request-id|username|from|to"));
                let (id, name, from, to) = (column()?, column()?, column()?, column()?);
                if columns.next().is_some() || from == to {
                    return Err(Fail::bad_args("m|request-id|username|from|to"));
                }
                name::check_user(name)?;
                for one in [id, from, to] {
                    name::check(one)?;
                }
                Ok(Entry::Moved { id, name, from, to })
            }
            _ => Err(Fail::bad_args("a line of a portion begins with u, r, g or m")),
        }
    }
}

fn places(at: &str) -> Result<Places<'_>, Fail> {
    if at.is_empty() {
        return Ok(Places(at));
    }
    let mut before = "";
    for (n, id) in at.split('|').enumerate() {
        name::check(id)?;
        // One form for each state: the checksum is of the line.
        if n >= PLACES || (n > 0 && id <= before) {
            return Err(Fail::bad_args("the servers of a user are sorted, none twice, and 64 at most"));
        }
        before = id;
    }
    Ok(Places(at))
}

impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::User { name, at } => write!(f, "u|{name}|{}", at.0),
            Entry::Route { server, next } => write!(f, "r|{server}|{}", next.unwrap_or_default()),
            Entry::Gone { server } => write!(f, "g|{server}"),
            Entry::Moved { id, name, from, to } => write!(f, "m|{id}|{name}|{from}|{to}"),
        }
    }
}

/// Appends a user's line and its LF; `at` is sorted.
pub fn put_user<'a>(out: &mut String, name: &str, at: impl Iterator<Item = &'a str>) {
    out.push_str("u|");
    out.push_str(name);
    let start = out.len();
    for id in at {
        out.push('|');
        out.push_str(id);
    }
    if out.len() == start {
        out.push('|');
    }
    out.push('\n');
}

/// Appends a route's line and its LF.
pub fn put_route(out: &mut String, server: &str, next: Option<&str>) {
    for part in ["r|", server, "|", next.unwrap_or_default(), "\n"] {
        out.push_str(part);
    }
}

/// The hash of a line, without its LF: FNV-1a of 64 bits, then the finalizer of splitmix64, so that sums of similar
/// lines do not cancel out.
pub fn hash(line: &str) -> u64 {
    Fnv::new().add(line).finish()
}

/// The hash of a user's line; 0 for a user who is nowhere, as empty entries do not count.
pub fn user_hash<'a>(name: &str, at: impl Iterator<Item = &'a str>) -> u64 {
    let mut fnv = Fnv::new().add("u|").add(name);
    let mut nowhere = true;
    for id in at {
        fnv = fnv.add("|").add(id);
        nowhere = false;
    }
    match nowhere {
        true => 0,
        false => fnv.finish(),
    }
}

/// The hash of a route's line; 0 without a next hop.
pub fn route_hash(server: &str, next: Option<&str>) -> u64 {
    next.map_or(0, |next| Fnv::new().add("r|").add(server).add("|").add(next).finish())
}

/// A checksum as it is written: 16 hexadecimal digits.
pub fn checksum_text(checksum: u64) -> String {
    format!("{checksum:016x}")
}

/// A checksum from its text.
///
/// # Errors
/// BADARGS unless it is 16 lower-case hexadecimal digits.
pub fn parse_checksum(text: &str) -> Result<u64, Fail> {
    let good = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let number = u64::from_str_radix(text, 16).ok().filter(|_| good);
    number.ok_or_else(|| Fail::bad_args("a checksum is 16 hexadecimal digits"))
}

#[derive(Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(self, text: &str) -> Fnv {
        Fnv(text.bytes().fold(self.0, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
    }

    fn finish(self) -> u64 {
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_known_lines() {
        let page = include_str!("../../docs/protocol.md");
        for (line, known) in [
            ("u|alice|main-1", "6ea3577575edf2f5"),
            ("u|Bob|main-1|main-2", "f676bd73cedcbe19"),
            ("r|main-2|main-3", "d212d6ea9f58a9c9"),
        ] {
            assert_eq!(checksum_text(hash(line)), known, "{line}");
            assert!(page.contains(&format!("| `{}` | `{known}` |", line.replace('|', "\\|"))), "{line}");
        }
        assert_eq!(user_hash("Bob", ["main-1", "main-2"].into_iter()), hash("u|Bob|main-1|main-2"));
        assert_eq!(route_hash("main-2", Some("main-3")), hash("r|main-2|main-3"));
        assert_eq!((user_hash("Bob", [].into_iter()), route_hash("main-2", None)), (0, 0));
    }

    #[test]
    fn good_lines_are_written_as_they_were_read() {
        for line in ["u|Åsa|a|b|c", "u|bob|", "r|a|b", "r|a|", "g|a", "m|17|bob|a|b"] {
            assert_eq!(Entry::parse(line).unwrap().to_string(), line);
        }
        assert_eq!(Entry::parse("u|bob").unwrap(), Entry::parse("u|bob|").unwrap());
        let mut lines = String::new();
        put_user(&mut lines, "bob", ["a", "b"].into_iter());
        put_user(&mut lines, "bob", [].into_iter());
        put_route(&mut lines, "a", None);
        assert_eq!(lines, "u|bob|a|b\nu|bob|\nr|a|\n");
    }

    #[test]
    fn bad_lines() {
        let many: Vec<String> = (0..=PLACES).map(|n| format!("s{n:03}")).collect();
        for line in [
            "",
            "u",
            "u|",
            "x|a|b",
            "u|a b|c",
            "u|bob|b|a",
            "u|bob|a|a",
            "u|bob|a|",
            "u|bob||a",
            "u|bob|a/b",
            "r|a",
            "r||a",
            "r|a|b|c",
            "r|a|..",
            "g|",
            "g|a|b",
            "m|1|bob|a",
            "m|1|bob|a|b|c",
            "m|1|bob|a|a",
            "m||bob|a|b",
            "m|1|b b|a|b",
            &format!("u|bob|{}", many.join("|")),
        ] {
            assert!(Entry::parse(line).is_err(), "{line:?}");
        }
        for text in ["", "0", "00000000000000AA", "+000000000000001", "00000000000000001"] {
            assert!(parse_checksum(text).is_err(), "{text}");
        }
        assert_eq!(parse_checksum(&checksum_text(u64::MAX)), Ok(u64::MAX));
    }
}
