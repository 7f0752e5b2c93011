//! What JOINVOICE and the lists of channels answer.

use zeroize::Zeroizing;

use super::datagram::Keys;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;

/// Who is in a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The voice user.
    pub uid: u64,
    /// The account's name; empty: it has none.
    pub user: String,
}

impl Person {
    /// What to call this person.
    pub fn name(&self) -> String {
        match self.user.is_empty() {
            true => format!("uid {}", self.uid),
            false => self.user.clone(),
        }
    }
}

/// A channel, as LISTVOICE tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// Its number.
    pub channel: u64,
    /// Its name, or `workspace:NAME`.
    pub name: String,
    /// Who made it; empty: nobody who is still there.
    pub owner: String,
    /// Whether its packets are signed.
    pub signed: bool,
    /// How many are in it.
    pub members: u64,
}

/// The answer to JOINVOICE.
#[derive(Clone, Debug)]
pub struct Joined {
    /// The channel.
    pub channel: u64,
    /// The member's own.
    pub uid: u64,
    /// Whether packets are signed.
    pub signed: bool,
    /// The UDP port; 0 for who comes by link.
    pub port: u16,
    /// For a signed channel by UDP.
    pub keys: Option<Keys>,
    /// Who is there, oneself too.
    pub members: Vec<Person>,
}

fn unreadable() -> Fail {
    Fail::new(Code::Internal, "the server's answer cannot be read")
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "yes" | "signed" => Some(true),
        "0" | "no" | "unsigned" => Some(false),
        _ => None,
    }
}

fn person(line: &str) -> Option<Person> {
    let (uid, user) = line.split_once('|')?;
    Some(Person { uid: uid.parse().ok()?, user: user.to_owned() })
}

impl Joined {
    /// Reads it.
    ///
    /// # Errors
    /// INTERNAL, when it is none.
    pub fn parse(answer: &[u8]) -> Result<Joined, Fail> {
        std::str::from_utf8(answer).ok().and_then(read).ok_or_else(unreadable)
    }
}

fn read(answer: &str) -> Option<Joined> {
    let mut lines = answer.lines();
    let [channel, uid, _join, signed, port, own, server] = lines.next()?.split('|').collect::<Vec<_>>()[..] else {
        return None;
    };
    let (signed, port) = (flag(signed)?, port.parse().ok()?);
    let keys = match signed && port != 0 {
        true => Some(Keys { own: Zeroizing::new(hex::decode(own)?), server: hex::decode(server)? }),
        false => None,
    };
    let members = lines.map(person).collect::<Option<_>>()?;
    Some(Joined { channel: channel.parse().ok()?, uid: uid.parse().ok()?, signed, port, keys, members })
}

/// Reads the answer to LISTVOICE.
///
/// # Errors
/// INTERNAL, when it is none.
pub fn channels(answer: &[u8]) -> Result<Vec<Channel>, Fail> {
    let line = |line: &str| {
        let [channel, name, owner, signed, members] = line.split('|').collect::<Vec<_>>()[..] else { return None };
        Some(Channel {
            channel: channel.parse().ok()?,
            name: name.to_owned(),
            owner: owner.to_owned(),
            signed: flag(signed)?,
            members: members.parse().ok()?,
        })
    };
    let text = std::str::from_utf8(answer).map_err(|_| unreadable())?;
    text.lines().map(line).collect::<Option<_>>().ok_or_else(unreadable)
}

/// Reads the answer to GETVOICE: the channel's number and name, whether it is signed, and who is in it.
///
/// # Errors
/// INTERNAL, when it is none.
pub fn members(answer: &[u8]) -> Result<(u64, String, bool, Vec<Person>), Fail> {
    let read = |text: &str| {
        let mut lines = text.lines();
        let [channel, name, signed] = lines.next()?.split('|').collect::<Vec<_>>()[..] else { return None };
        let members = lines.map(person).collect::<Option<_>>()?;
        Some((channel.parse().ok()?, name.to_owned(), flag(signed)?, members))
    };
    std::str::from_utf8(answer).ok().and_then(read).ok_or_else(unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let (own, server) = ("ab".repeat(32), "cd".repeat(32));
        let joined = Joined::parse(format!("9|42|3|1|6000|{own}|{server}\n42|alice\n43|").as_bytes()).unwrap();
        assert_eq!((joined.channel, joined.uid, joined.signed, joined.port), (9, 42, true, 6_000));
        assert_eq!((*joined.keys.as_ref().unwrap().own, joined.keys.unwrap().server), ([0xab; 32], [0xcd; 32]));
        assert_eq!(joined.members.iter().map(Person::name).collect::<Vec<_>>(), ["alice", "uid 43"]);
        let joined = Joined::parse(b"9|42|3|1|0||\n42|alice").unwrap();
        assert_eq!((joined.port, joined.keys.is_none()), (0, true));
        for bad in
            ["", "9|42|3|1|0|", "9|42|3|1|6000||\n", "9|42|3|maybe|0||", "9|42|3|0|70000||", "9|42|3|0|1||\nalice"]
        {
            assert!(Joined::parse(bad.as_bytes()).is_err(), "{bad}");
        }
        let list = channels("9|team|alice|1|2\n10|workspace:Å||0|0".as_bytes()).unwrap();
        assert_eq!((list[0].members, list[1].name.as_str(), list[1].signed), (2, "workspace:Å", false));
        assert!(channels(b"9|team").is_err() && channels(b"").unwrap().is_empty());
        assert_eq!(members(b"9|team|1\n42|alice").unwrap().3.len(), 1);
        assert!(members(b"").is_err());
    }
}
