//! Who is on the local network, as far as announcements tell. Bounded, whatever strangers send. Pure.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;

use super::announce::Announcement;
use super::announce::Unchecked;
use super::id::Id;
use crate::config::PortKey;

/// Milliseconds after which who says nothing more is not there.
pub const EXPIRY: u64 = 35_000;
/// How far the clocks of two clients may be apart; milliseconds. For so long it is known what was said, so that nobody says it again.
pub const SKEW: u64 = 300_000;
/// Clients that are remembered, and those of one address that are not verified.
const MOST: usize = 1_024;
const MOST_OF_ONE: usize = 16;
/// Announcements that are looked at in a second, in all and of one address.
const LOOKS: usize = 256;
const LOOKS_OF_ONE: usize = 8;

/// Whether somebody is who they say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Nobody could be asked so far.
    Unknown,
    /// The key is one of that account.
    Verified,
    /// It is not, or there is no such account.
    Unverified,
    /// The same, of somebody who says to be of another network.
    Foreign,
}

/// A client: its key and its port.
pub type Place = ([u8; 32], u16);

/// A client that was heard.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Who it says it is.
    pub id: Id,
    /// The kind of its port.
    pub kind: PortKey,
    /// Where it takes direct links.
    pub address: SocketAddr,
    /// Whether it is believed.
    pub trust: Trust,
    /// When it was last heard, by this clock; Unix milliseconds.
    pub heard: u64,
    /// By its own clock.
    time: u64,
    /// It has said that it leaves.
    left: bool,
    /// It was not reached: it is not tried again before.
    pub not_before: u64,
}

impl Entry {
    fn is_there(&self, now: u64) -> bool {
        !self.left && now.saturating_sub(self.heard) < EXPIRY
    }
}

/// See the module.
#[derive(Default)]
pub struct Table {
    entries: BTreeMap<Place, Entry>,
    /// The second that is counted for.
    second: u64,
    looked: usize,
    looked_of: HashMap<IpAddr, usize>,
}

impl Table {
    /// Whether an announcement from there is worth the look at its signature.
    pub fn admits(&mut self, now: u64, from: IpAddr, said: &Unchecked) -> bool {
        if std::mem::replace(&mut self.second, now / 1_000) != now / 1_000 {
            self.looked = 0;
            self.looked_of.clear();
        }
        let fresh = said.time().abs_diff(now) <= SKEW && self.is_newer(said.place(), said.time());
        let of_one = self.looked_of.get(&from).copied().unwrap_or(0);
        if !fresh || self.looked >= LOOKS || of_one >= LOOKS_OF_ONE {
            return false;
        }
        self.looked += 1;
        self.looked_of.insert(from, of_one + 1);
        true
    }

    fn is_newer(&self, place: Place, time: u64) -> bool {
        self.entries.get(&place).is_none_or(|entry| entry.time < time)
    }

    /// Takes note of an announcement whose signature is good. True: somebody came, left, or is elsewhere.
    pub fn heard(&mut self, now: u64, from: SocketAddr, said: Announcement) -> bool {
        let place = (said.public, said.port);
        // With the interface, where the address is one of the link.
        let mut address = from;
        address.set_port(said.port);
        let Some(kind) = said.kind else {
            let Some(entry) = self.entries.get_mut(&place).filter(|entry| entry.time < said.time) else { return false };
            let was = entry.is_there(now);
            (entry.left, entry.time) = (true, said.time);
            return was;
        };
        if let Some(entry) = self.entries.get_mut(&place) {
            let (was, same) = (entry.is_there(now), entry.address == address && entry.id == said.id);
            if !same {
                (entry.trust, entry.not_before) = (Trust::Unknown, 0);
            }
            (entry.id, entry.kind, entry.address) = (said.id, kind, address);
            (entry.time, entry.heard, entry.left) = (said.time, now, false);
            return !was || !same;
        }
        if !self.make_room(now, from.ip()) {
            return false;
        }
        let trust = Trust::Unknown;
        let Announcement { id, time, .. } = said;
        let entry = Entry { id, kind, address, trust, heard: now, time, left: false, not_before: 0 };
        self.entries.insert(place, entry);
        true
    }

    /// Room for one more of that address: for those that are gone first, then for those that are not verified.
    fn make_room(&mut self, now: u64, from: IpAddr) -> bool {
        self.entries.retain(|_, entry| now.saturating_sub(entry.heard) < SKEW);
        let doubtful = |entry: &Entry| entry.trust != Trust::Verified;
        let of_one = self.entries.values().filter(|entry| doubtful(entry) && entry.address.ip() == from).count();
        let (crowded, full) = (of_one >= MOST_OF_ONE, self.entries.len() >= MOST);
        if !crowded && !full {
            return true;
        }
        let candidates = self.entries.iter().filter(|(_, entry)| match crowded {
            true => doubtful(entry) && entry.address.ip() == from,
            false => doubtful(entry) || !entry.is_there(now),
        });
        let oldest = candidates.min_by_key(|(_, entry)| (entry.is_there(now), entry.heard)).map(|(place, _)| *place);
        oldest.is_some_and(|oldest| self.entries.remove(&oldest).is_some())
    }

    /// A client that is there.
    pub fn get(&self, now: u64, place: &Place) -> Option<&Entry> {
        self.entries.get(place).filter(|entry| entry.is_there(now))
    }

    /// Those that are there.
    pub fn all(&self, now: u64) -> impl Iterator<Item = (&Place, &Entry)> {
        self.entries.iter().filter(move |(_, entry)| entry.is_there(now))
    }

    /// The same, to change.
    pub fn all_mut(&mut self) -> impl Iterator<Item = (&Place, &mut Entry)> {
        self.entries.iter_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::super::announce;
    use super::super::announce::tests::announcement;
    use super::super::announce::Datagram;
    use super::*;

    const NOW: u64 = 1_790_000_000_000;

    fn from(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 63749))
    }

    /// What a client does with a datagram.
    fn take(table: &mut Table, now: u64, from: SocketAddr, seed: u8, said: &Announcement) -> bool {
        let bytes = said.sign(&[seed; 32]).unwrap();
        let Some(Datagram::Announce(said)) = announce::parse(&bytes) else { panic!("{bytes:?}") };
        table.admits(now, from.ip(), &said) && said.check().is_some_and(|said| table.heard(now, from, said))
    }

    #[test]
    fn come_and_gone() {
        let mut table = Table::default();
        assert!(take(&mut table, NOW, from(1), 7, &announcement("alice", 7, 5, NOW)));
        assert!(!take(&mut table, NOW + 9, from(1), 7, &announcement("alice", 7, 5, NOW + 9)), "nothing new");
        assert_eq!(table.all(NOW + 9).count(), 1);
        assert_eq!(table.all(NOW + 8 + EXPIRY).count(), 1);
        assert_eq!(table.all(NOW + 9 + EXPIRY).count(), 0);
        assert!(take(&mut table, NOW + EXPIRY + 10, from(1), 7, &announcement("alice", 7, 5, NOW + EXPIRY)));
        // Somebody else cannot say that she leaves; she can, and an older word of hers does not bring her back.
        let left = |seed| Announcement { kind: None, ..announcement("alice", seed, 5, NOW + EXPIRY + 20) };
        assert!(!take(&mut table, NOW + EXPIRY + 10, from(2), 8, &left(8)));
        assert!(take(&mut table, NOW + EXPIRY + 10, from(1), 7, &left(7)));
        assert!(!take(&mut table, NOW + EXPIRY + 30, from(1), 7, &announcement("alice", 7, 5, NOW + EXPIRY + 5)));
        assert_eq!(table.all(NOW + EXPIRY + 30).count(), 0);
    }

    #[test]
    fn said_again_by_somebody_else() {
        let mut table = Table::default();
        let said = announcement("alice", 7, 5, NOW);
        assert!(take(&mut table, NOW, from(1), 7, &said));
        // Replayed from another address: at once, and after she is gone.
        for later in [1, EXPIRY + 1, SKEW] {
            assert!(!take(&mut table, NOW + later, from(2), 7, &said), "{later}");
        }
        assert_eq!(table.entries.values().next().unwrap().address.ip(), from(1).ip());
        // When it is forgotten, its time is over too.
        assert!(!take(&mut Table::default(), NOW + SKEW + 1, from(2), 7, &said));
        assert!(!take(&mut Table::default(), NOW - SKEW - 1, from(2), 7, &said));
    }

    #[test]
    fn a_flood_is_bounded() {
        let mut table = Table::default();
        let friend = announcement("friend", 7, 5, NOW);
        assert!(take(&mut table, NOW, from(1), 7, &friend));
        for (_, entry) in table.all_mut() {
            entry.trust = Trust::Verified;
        }
        // Looks: of one address, then of all.
        let unchecked = |port| {
            let mut said = announcement("mallory", 8, port, NOW);
            said.public = [8; 32];
            let Some(Datagram::Announce(said)) = announce::parse(&said.sign(&[8; 32]).unwrap()) else { panic!() };
            said
        };
        let looks =
            |table: &mut Table, now, from| (1..100).filter(|port| table.admits(now, from, &unchecked(*port))).count();
        assert_eq!(looks(&mut table, NOW + 1_000, from(2).ip()), LOOKS_OF_ONE);
        assert_eq!(looks(&mut table, NOW + 2_000, from(2).ip()), LOOKS_OF_ONE);
        let all: usize = (0..=255).map(|last| looks(&mut table, NOW + 3_000, from(last).ip())).sum();
        assert_eq!(all, LOOKS);
        assert!(table.looked_of.len() <= LOOKS);
        // What is remembered: of one address, then of all. Who is verified stays.
        for port in 1..200 {
            table.heard(NOW, from(3), announcement("mallory", 8, port, NOW));
        }
        assert_eq!(table.entries.len(), 1 + MOST_OF_ONE);
        for n in 0..3_000_u32 {
            let from = SocketAddr::from(([10, 1, (n / 250) as u8, (n % 250) as u8], 63749));
            table.heard(NOW, from, announcement("mallory", 8, 1_000 + n as u16, NOW));
        }
        assert_eq!(table.entries.len(), MOST);
        assert!(table.all(NOW).any(|(_, entry)| entry.id.name() == "friend"));
    }
}
