//! The datagrams: who is there, and a question for it (docs/protocol.md, section 17). Pure.

use super::id::Id;
use crate::accounts::keys;
use crate::config::PortKey;
use crate::wire::packet;
use crate::wire::Fail;
use crate::wire::Framer;
use crate::wire::Packet;

/// The longest datagram; bytes.
pub const LONGEST: usize = 512;
/// Says what a signature is for.
const CONTEXT: &str = "convergia-lan-v1";
const ANNOUNCE: &str = "ANNOUNCE";
/// In place of the kind of a port: who it is leaves.
const LEFT: &str = "left";

/// The question who is there.
pub const WHO_IS_HERE: &[u8] = b"0 WHOISHERE\n";

/// The kinds of ports for direct links.
pub const PORTS: [PortKey; 2] = [PortKey::ClientClient, PortKey::RealmClientClient];

/// Somebody is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// Who.
    pub id: Id,
    /// What kind of port it is; None: who it is leaves.
    pub kind: Option<PortKey>,
    /// The TCP port for direct links.
    pub port: u16,
    /// The Ed25519 key that signed this.
    pub public: [u8; 32],
    /// Unix milliseconds, by the sender's clock.
    pub time: u64,
}

/// An announcement whose signature nobody has looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unchecked {
    said: Announcement,
    signature: [u8; 64],
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Who is there?
    WhoIsHere,
    /// Somebody is, if the signature is good.
    Announce(Unchecked),
}

impl Announcement {
    fn fields(&self) -> [String; 5] {
        let (kind, public) = (self.kind.map_or(LEFT, PortKey::name).to_owned(), keys::to_base64(&self.public));
        [self.id.to_string(), kind, self.port.to_string(), public, self.time.to_string()]
    }

    fn text(&self) -> Vec<u8> {
        format!("{CONTEXT}\n{}", self.fields().join("\n")).into_bytes()
    }

    /// The datagram, signed by the key whose seed this is.
    ///
    /// # Errors
    /// TOOLONG when the id leaves no room; INTERNAL when there is no signature to be had.
    pub fn sign(&self, seed: &[u8; 32]) -> Result<Vec<u8>, Fail> {
        let signature = keys::to_base64(&keys::sign(seed, &self.text())?);
        let fields = self.fields();
        let mut all: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        all.push(signature.as_bytes());
        let mut out = Vec::with_capacity(LONGEST);
        packet::put_packet(&mut out, b"0", ANNOUNCE.as_bytes(), &all);
        match out.len() <= LONGEST {
            true => Ok(out),
            false => Err(Fail::new(crate::wire::Code::TooLong, "this name and server are too long to be announced")),
        }
    }
}

impl Unchecked {
    /// When it was signed, as it says; Unix milliseconds.
    pub fn time(&self) -> u64 {
        self.said.time
    }

    /// Key and port: what tells one client from another, as it says.
    pub fn place(&self) -> ([u8; 32], u16) {
        (self.said.public, self.said.port)
    }

    /// Looks at the signature: that takes some ten microseconds, so whoever calls it counts.
    pub fn check(self) -> Option<Announcement> {
        keys::verify(&self.said.public, &self.said.text(), &self.signature).then_some(self.said)
    }
}

/// Reads a datagram. None: it is none of ours.
pub fn parse(bytes: &[u8]) -> Option<Datagram> {
    if bytes.len() > LONGEST {
        return None;
    }
    if bytes == WHO_IS_HERE {
        return Some(Datagram::WhoIsHere);
    }
    let mut end = 0;
    let line = Framer::default().next(bytes, &mut end)?;
    // One packet, and nothing around it.
    if end != bytes.len() || line.len() + 1 != bytes.len() {
        return None;
    }
    let packet = Packet::parse(line).ok()?;
    if packet.id != b"0" || packet.command != ANNOUNCE.as_bytes() {
        return None;
    }
    let [id, kind, port, public, time, signature] = packet.data.take().ok()?;
    let kind = kind.text().ok()?;
    let said = Announcement {
        id: Id::parse(&id.text().ok()?)?,
        kind: match &*kind {
            LEFT => None,
            kind => Some(PORTS.into_iter().find(|known| known.name() == kind)?),
        },
        port: u16::try_from(port.number().ok()?).ok()?,
        public: keys::parse_public(&public.text().ok()?).ok()?,
        time: time.number().ok()?,
    };
    Some(Datagram::Announce(Unchecked { said, signature: keys::parse_signature(&signature.text().ok()?).ok()? }))
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// An announcement of `name`, by the key of this seed.
    pub fn announcement(name: &str, seed: u8, port: u16, time: u64) -> Announcement {
        let public = keys::public_of(&[seed; 32]).unwrap();
        let id = Id::parse(&format!("{}::{name}", "ab".repeat(32))).unwrap();
        Announcement { id, kind: Some(PortKey::ClientClient), port, public, time }
    }

    fn checked(bytes: &[u8]) -> Option<Announcement> {
        match parse(bytes)? {
            Datagram::Announce(unchecked) => unchecked.check(),
            Datagram::WhoIsHere => None,
        }
    }

    #[test]
    fn there_and_back() {
        let said = announcement(&"å".repeat(32), 7, 64476, 1_790_000_000_000);
        let bytes = said.sign(&[7; 32]).unwrap();
        assert!(bytes.len() <= LONGEST, "{}", bytes.len());
        assert_eq!(checked(&bytes), Some(said));
        assert_eq!(parse(WHO_IS_HERE), Some(Datagram::WhoIsHere));
        let left = Announcement { kind: None, ..announcement("alice", 7, 5, 6) };
        assert_eq!(checked(&left.sign(&[7; 32]).unwrap()), Some(left));
        let escaped = announcement("a~b", 7, 1, 1);
        assert_eq!(checked(&escaped.sign(&[7; 32]).unwrap()), Some(escaped));
    }

    #[test]
    fn no_bit_may_be_another() {
        let bytes = announcement("alice", 7, 64476, 1_790_000_000_000).sign(&[7; 32]).unwrap();
        let first = checked(&bytes);
        assert!(first.is_some());
        for at in 0..bytes.len() {
            assert_eq!(checked(&bytes[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut bent = bytes.clone();
                bent[at] ^= 1 << bit;
                // The last digit of Base64 has bits that say nothing; then it is the same announcement.
                let read = checked(&bent);
                assert!(read.is_none() || read == first, "{at}, {bit}");
            }
        }
        for more in [&b"\n"[..], b"x", b"0 WHOISHERE\n"] {
            assert_eq!(checked(&[&bytes[..], more].concat()), None);
            assert_eq!(checked(&[more, &bytes[..]].concat()), None);
        }
        assert_eq!(parse(&vec![b'0'; LONGEST + 1]), None);
        assert_eq!(parse(b""), None);
    }

    #[test]
    fn a_signature_of_another_key_or_for_something_else() {
        let said = announcement("alice", 7, 64476, 5);
        assert_eq!(checked(&said.sign(&[8; 32]).unwrap()), None);
        let text = said.text();
        let login = [b"convergia-login-v1", &text[CONTEXT.len()..]].concat();
        let signature = keys::to_base64(&keys::sign(&[7; 32], &login).unwrap());
        let fields = said.fields();
        let mut all: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        all.push(signature.as_bytes());
        let mut out = Vec::new();
        packet::put_packet(&mut out, b"0", b"ANNOUNCE", &all);
        assert!(parse(&out).is_some() && checked(&out).is_none());
    }

    #[test]
    fn ill_formed_fields() {
        let good = announcement("alice", 7, 64476, 5);
        let signature = keys::to_base64(&[1; 64]);
        let fields = good.fields();
        let mut whole: Vec<&str> = fields.iter().map(String::as_str).collect();
        whole.push(&signature);
        let put = |fields: &[&str]| {
            let mut out = Vec::new();
            let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
            packet::put_packet(&mut out, b"0", b"ANNOUNCE", &fields);
            out
        };
        assert!(parse(&put(&whole)).is_some());
        let bad =
            [(0, "alice"), (0, "h::a\u{1b}[2J"), (1, "client_main"), (2, "65536"), (2, "-1"), (3, "AAAA"), (4, "")];
        for (at, bad) in bad {
            let mut fields = whole.clone();
            fields[at] = bad;
            assert_eq!(parse(&put(&fields)), None, "{at}: {bad}");
        }
        assert_eq!(parse(&put(&whole[..5])), None);
        assert_eq!(parse(&put(&[&whole[..], &["more"]].concat())), None);
    }
}
