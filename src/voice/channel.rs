//! The members of one channel that send and hear by UDP, and what is done with each datagram that comes.

use std::collections::HashMap;
use std::net::IpAddr;
use std::net::SocketAddr;

use zeroize::Zeroizing;

use super::order::Terms;
use super::packet;
use super::packet::Datagram;
use super::packet::Operation;
use super::window::Age;
use super::window::Window;
use super::KEY;

/// Members of one channel.
pub const MEMBERS: usize = 4_096;
/// Who sends nothing for so long is no member any more. Milliseconds.
pub const SILENCE: u64 = 60_000;
/// Packets that an address may get at most before it has shown that it wants them; one for each that came from it.
const CREDIT: u8 = 64;
/// Acknowledgements to one member within a second.
const ACKNOWLEDGED: u8 = 4;
/// Keepalives that may answer one challenge. With one challenge a second, nobody guesses one in a lifetime.
const GUESSES: u8 = 4;
/// Milliseconds that each packet of a member costs: 200 in a second. Sound has 50, or 100 with the shortest Opus frames that are in use.
const PRICE: u64 = 5;
/// Packets of a member that may come at once, as after a gap in its network.
const BURST: u64 = 64;

/// Why a datagram was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It is none: a wrong length or checksum.
    NoPacket,
    /// From a uid that is no member.
    Stranger,
    /// From another address than the uid's; or not signed, and from where that is not allowed.
    Address,
    /// The counter has come before, or is too old.
    Replay,
    /// The tag is wrong.
    Tag,
    /// A system packet that members do not send.
    Operation,
    /// It is good, but its member sends too many.
    Rate,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Reason; 7] = [
        Reason::NoPacket,
        Reason::Stranger,
        Reason::Address,
        Reason::Replay,
        Reason::Tag,
        Reason::Operation,
        Reason::Rate,
    ];
}

/// What is done with a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing, and its sender is told nothing.
    Drop(Reason),
    /// It is good.
    Good {
        /// Who sent it.
        uid: u64,
        /// Whether the others get it.
        forward: bool,
        /// The ackid of an acknowledgement for its sender.
        acknowledge: Option<u32>,
        /// The ackid of a challenge for its sender.
        challenge: Option<u32>,
    },
}

/// Where packets for a member go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Nothing came from it so far.
    Nowhere,
    /// In `Channel::listeners`.
    Proven(usize),
    /// In `Channel::doubtful`.
    Doubtful(usize),
}

struct Member {
    /// Which of its joins this is.
    join: u64,
    key: Option<Zeroizing<[u8; KEY]>>,
    window: Window,
    address: Option<SocketAddr>,
    place: Place,
    /// An address that has shown that it wants packets.
    proven: Option<IpAddr>,
    /// When a good packet came.
    heard: u64,
    /// Until when its packets are paid for: see `PRICE`.
    paid: u64,
    /// When a challenge was sent, which one, and how many answers it may still have.
    challenged: Option<u64>,
    challenge: u32,
    guesses: u8,
    /// The second of the last acknowledgement, and how many there were in it.
    acknowledged: (u64, u8),
}

/// A listener whose address may be somebody else's: it gets no more packets than it sends.
struct Doubtful<K> {
    to: K,
    uid: u64,
    credit: u8,
}

/// A channel. `K`: an address in the form in which it is sent to.
pub struct Channel<K> {
    signed: bool,
    /// Whether packets that are not signed may come from other addresses than loopback.
    everywhere: bool,
    members: HashMap<u64, Member>,
    /// Where packets go, one behind the other, and whose these addresses are.
    listeners: Vec<K>,
    uids: Vec<u64>,
    doubtful: Vec<Doubtful<K>>,
    idle_since: u64,
}

impl<K: From<SocketAddr> + Clone> Channel<K> {
    /// A channel without members. `everywhere`: packets that are not signed may come from other addresses than loopback. `now` here and below:
    /// milliseconds.
    pub fn new(now: u64, signed: bool, everywhere: bool) -> Channel<K> {
        let (members, listeners, uids, doubtful) = Default::default();
        Channel { signed, everywhere, members, listeners, uids, doubtful, idle_since: now }
    }

    /// Whether its packets are signed.
    pub fn is_signed(&self) -> bool {
        self.signed
    }

    /// How many members there are.
    pub fn members(&self) -> usize {
        self.members.len()
    }

    /// Since when there are no members; None: there are some.
    pub fn idle_since(&self) -> Option<u64> {
        self.members.is_empty().then_some(self.idle_since)
    }

    /// A member comes; one with its uid goes, and is told so where this returns. `join`: what `silent` calls this place.
    ///
    /// # Errors
    /// In words: there are too many, or it has no key and needs one.
    pub fn join(
        &mut self,
        now: u64,
        uid: u64,
        join: u64,
        terms: Terms,
        proven: Option<IpAddr>,
    ) -> Result<Option<K>, &'static str> {
        let key = match terms {
            Terms::Signed(key) => self.signed.then_some(key),
            Terms::Unsigned if self.signed => return Err("a member of a signed channel needs a key"),
            Terms::Unsigned => None,
        };
        let before = self.leave(now, uid);
        if self.members.len() >= MEMBERS {
            return Err("the channel is full");
        }
        let member = Member {
            join,
            key,
            window: Window::default(),
            address: None,
            place: Place::Nowhere,
            proven: proven.map(|ip| ip.to_canonical()),
            heard: now,
            paid: 0,
            challenged: None,
            challenge: 0,
            guesses: 0,
            acknowledged: (0, 0),
        };
        self.members.insert(uid, member);
        Ok(before)
    }

    /// A member goes. Returns where it is told so, if it may be.
    pub fn leave(&mut self, now: u64, uid: u64) -> Option<K> {
        let member = self.members.remove(&uid)?;
        self.idle_since = now;
        self.take_place(member.place)
    }

    /// Members that were silent for too long go: their uids and joins, and where they are told so.
    pub fn silent(&mut self, now: u64) -> Vec<(u64, u64, Option<K>)> {
        let silent = self.members.iter().filter(|(_, member)| now.saturating_sub(member.heard) >= SILENCE);
        let silent: Vec<(u64, u64)> = silent.map(|(uid, member)| (*uid, member.join)).collect();
        silent.into_iter().map(|(uid, join)| (uid, join, self.leave(now, uid))).collect()
    }

    /// Decides what is done with a datagram. `random` is asked for the ackid of a challenge.
    pub fn received(&mut self, now: u64, from: SocketAddr, bytes: &[u8], random: impl FnOnce() -> u32) -> Verdict {
        let (uid, ackid) = match packet::parse(bytes) {
            None => return Verdict::Drop(Reason::NoPacket),
            Some(Datagram::User { uid }) => (uid, None),
            Some(Datagram::System { operation: Some(Operation::Keepalive), uid, ackid }) => (uid, Some(ackid)),
            Some(Datagram::System { .. }) => return Verdict::Drop(Reason::Operation),
        };
        let Some(member) = self.members.get_mut(&uid) else { return Verdict::Drop(Reason::Stranger) };
        let here = member.address == Some(from);
        let moves = match &member.key {
            Some(key) => {
                let counter = packet::counter(bytes);
                let age = member.window.age(counter);
                if age == Age::Stale {
                    return Verdict::Drop(Reason::Replay);
                }
                if !packet::is_sealed(bytes, key) {
                    return Verdict::Drop(Reason::Tag);
                }
                member.window.mark(counter);
                // One that was under way while the member moved does not move it back.
                !here && age == Age::Newest
            }
            None if here => false,
            None => {
                let allowed = self.everywhere || from.ip().to_canonical().is_loopback();
                if member.address.is_some() || !allowed {
                    return Verdict::Drop(Reason::Address);
                }
                true
            }
        };
        member.heard = now;
        // Behind the proof that it is the member's: nobody else can use its share up.
        let paid = member.paid.max(now);
        if paid - now > (BURST - 1) * PRICE {
            return Verdict::Drop(Reason::Rate);
        }
        member.paid = paid.saturating_add(PRICE);
        if moves {
            self.bind(uid, from);
        }
        let (mut acknowledge, mut challenge) = (None, None);
        if here || moves {
            self.earn(uid);
            let ackid = ackid.filter(|ackid| *ackid != 0);
            if let Some(ackid) = ackid {
                self.prove(uid, ackid);
            }
            // Before the acknowledgement, which would take what it needs from who sends keepalives alone.
            challenge = self.challenge(now, uid, random);
            acknowledge = ackid.filter(|_| self.acknowledge(now, uid));
        }
        Verdict::Good { uid, forward: ackid.is_none(), acknowledge, challenge }
    }

    /// Those who hear what `uid` says: the addresses that are returned, and those in `more`, which is emptied before.
    pub fn audience(&mut self, uid: u64, more: &mut Vec<K>) -> &[K] {
        more.clear();
        for one in self.doubtful.iter_mut().filter(|one| one.uid != uid && one.credit > 0) {
            one.credit -= 1;
            more.push(one.to.clone());
        }
        let count = match self.members.get(&uid).map(|member| member.place) {
            // The speaker stands last: then all others are in one piece, and mostly it stands there already.
            Some(Place::Proven(at)) => {
                let last = self.listeners.len().saturating_sub(1);
                if at != last {
                    self.listeners.swap(at, last);
                    self.uids.swap(at, last);
                    self.settle(at);
                    self.settle(last);
                }
                last
            }
            _ => self.listeners.len(),
        };
        self.listeners.get(..count).unwrap_or_default()
    }

    fn settle(&mut self, at: usize) {
        let member = self.uids.get(at).and_then(|uid| self.members.get_mut(uid));
        if let Some(member) = member {
            member.place = Place::Proven(at);
        }
    }

    /// Empties a place. Returns its address, if one packet more may go there.
    fn take_place(&mut self, place: Place) -> Option<K> {
        match place {
            Place::Nowhere => None,
            Place::Proven(at) => {
                if at >= self.listeners.len() {
                    return None;
                }
                let to = self.listeners.swap_remove(at);
                self.uids.swap_remove(at);
                self.settle(at);
                Some(to)
            }
            Place::Doubtful(at) => {
                if at >= self.doubtful.len() {
                    return None;
                }
                let one = self.doubtful.swap_remove(at);
                let moved = self.doubtful.get(at).map(|moved| moved.uid);
                if let Some(member) = moved.and_then(|uid| self.members.get_mut(&uid)) {
                    member.place = Place::Doubtful(at);
                }
                (one.credit > 0).then_some(one.to)
            }
        }
    }

    /// The member is at this address from now on.
    fn bind(&mut self, uid: u64, address: SocketAddr) {
        let Some(member) = self.members.get_mut(&uid) else { return };
        let place = std::mem::replace(&mut member.place, Place::Nowhere);
        member.address = Some(address);
        // An answer from where it was before is none.
        (member.challenged, member.guesses) = (None, 0);
        self.take_place(place);
        let Some(member) = self.members.get_mut(&uid) else { return };
        let ip = address.ip().to_canonical();
        let to = K::from(address);
        if ip.is_loopback() || member.proven == Some(ip) {
            member.place = Place::Proven(self.listeners.len());
            self.listeners.push(to);
            self.uids.push(uid);
        } else {
            member.place = Place::Doubtful(self.doubtful.len());
            self.doubtful.push(Doubtful { to, uid, credit: 0 });
        }
    }

    fn doubtful(&mut self, uid: u64) -> Option<&mut Doubtful<K>> {
        match self.members.get(&uid)?.place {
            Place::Doubtful(at) => self.doubtful.get_mut(at),
            _ => None,
        }
    }

    fn earn(&mut self, uid: u64) {
        if let Some(one) = self.doubtful(uid) {
            one.credit = one.credit.saturating_add(1).min(CREDIT);
        }
    }

    /// Whether one packet more may go to the member, which is paid by that.
    fn pay(&mut self, uid: u64) -> bool {
        match self.doubtful(uid) {
            Some(one) => {
                let paid = one.credit.checked_sub(1);
                one.credit = paid.unwrap_or(0);
                paid.is_some()
            }
            None => true,
        }
    }

    /// A keepalive with this ackid came from the member's address: perhaps it answers the challenge.
    fn prove(&mut self, uid: u64, ackid: u32) {
        let Some(member) = self.members.get_mut(&uid) else { return };
        if !matches!(member.place, Place::Doubtful(_)) || member.guesses == 0 {
            return;
        }
        member.guesses -= 1;
        let Some(address) = member.address.filter(|_| ackid == member.challenge) else { return };
        member.proven = Some(address.ip().to_canonical());
        self.bind(uid, address);
    }

    fn acknowledge(&mut self, now: u64, uid: u64) -> bool {
        let Some(member) = self.members.get_mut(&uid) else { return false };
        let (second, count) = &mut member.acknowledged;
        if *second != now / 1_000 {
            (*second, *count) = (now / 1_000, 0);
        }
        if *count >= ACKNOWLEDGED {
            return false;
        }
        if !self.pay(uid) {
            return false;
        }
        if let Some(member) = self.members.get_mut(&uid) {
            member.acknowledged.1 += 1;
        }
        true
    }

    fn challenge(&mut self, now: u64, uid: u64, random: impl FnOnce() -> u32) -> Option<u32> {
        let member = self.members.get(&uid)?;
        let due = member.challenged.is_none_or(|last| now.saturating_sub(last) >= 1_000);
        // Without keys an answer would prove nothing about who is there.
        if member.key.is_none() || !matches!(member.place, Place::Doubtful(_)) || !due || !self.pay(uid) {
            return None;
        }
        let ackid = random().max(1);
        let member = self.members.get_mut(&uid)?;
        (member.challenged, member.challenge, member.guesses) = (Some(now), ackid, GUESSES);
        Some(ackid)
    }
}

#[cfg(test)]
mod tests;
