//! A member's side of a channel's datagrams: what it sends, and what it believes of what comes from the server's address.

use zeroize::Zeroizing;

use crate::voice::packet;
use crate::voice::packet::Datagram;
use crate::voice::packet::Operation;
use crate::voice::DATA;
use crate::voice::DATA_SIGNED;
use crate::voice::KEY;
use crate::voice::PACKET;

/// What a signed channel needs.
#[derive(Clone, Debug)]
pub struct Keys {
    /// The member's, for what it sends.
    pub own: Zeroizing<[u8; KEY]>,
    /// The server's public one.
    pub server: [u8; KEY],
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard<'a> {
    /// Another member says this.
    Data {
        /// Who.
        uid: u64,
        /// As long as a datagram carries, padding included.
        data: &'a [u8],
    },
    /// The server has got the keepalive with this number.
    Acknowledge(u32),
    /// The server asks for a keepalive with this number, to see that the address is right.
    Challenge(u32),
    /// The member is none any more; whether the server has signed that.
    Removed(bool),
    /// The channel is no more; whether the server has signed that.
    Ended(bool),
}

/// A member of a channel, by UDP.
#[derive(Debug)]
pub struct Member {
    channel: u64,
    uid: u64,
    keys: Option<Keys>,
    /// Of the last packet that was sent.
    counter: u64,
    /// Of the last system packet of the server.
    told: u64,
}

/// Data that a datagram carries at most, in bytes.
pub fn room(signed: bool) -> usize {
    if signed {
        DATA_SIGNED
    } else {
        DATA
    }
}

impl Member {
    /// `now`, in Unix microseconds, is where its counter begins: so it is above that of any earlier membership.
    pub fn new(channel: u64, uid: u64, keys: Option<Keys>, now: u64) -> Member {
        Member { channel, uid, keys, counter: now, told: 0 }
    }

    fn seal(&mut self, packet: &mut [u8; PACKET]) {
        self.counter = self.counter.saturating_add(1);
        if let Some(keys) = &self.keys {
            packet::seal(packet, &keys.own, self.counter);
        }
    }

    /// A datagram with this data, of at most `room` bytes; what is more is cut off.
    pub fn data(&mut self, data: &[u8]) -> [u8; PACKET] {
        let data = data.get(..room(self.keys.is_some())).unwrap_or(data);
        let mut packet = packet::user(self.uid, data);
        self.seal(&mut packet);
        packet
    }

    /// A keepalive, to be acknowledged with `ackid` unless that is 0.
    pub fn keepalive(&mut self, ackid: u32) -> [u8; PACKET] {
        let mut packet = packet::system(Operation::Keepalive, self.uid, ackid);
        self.seal(&mut packet);
        packet
    }

    /// Reads what came from the server's address. None: it is nothing, or not from the server.
    pub fn heard<'a>(&mut self, datagram: &'a [u8]) -> Option<Heard<'a>> {
        let (operation, uid, ackid) = match packet::parse(datagram)? {
            Datagram::User { uid } if uid == self.uid => return None,
            Datagram::User { uid } => {
                let data = packet::data(datagram).get(..room(self.keys.is_some()))?;
                return Some(Heard::Data { uid, data });
            }
            Datagram::System { operation, uid, ackid } => (operation?, uid, ackid),
        };
        let counter = packet::told_counter(datagram);
        let signed = self.keys.as_ref().is_some_and(|keys| packet::is_signed(datagram, &keys.server));
        if signed != self.keys.is_some() || packet::told_channel(datagram) != self.channel || counter <= self.told {
            return None;
        }
        let heard = match operation {
            // The end is for all: it names nobody.
            Operation::End => Heard::Ended(signed),
            _ if uid != self.uid => return None,
            Operation::Acknowledge => Heard::Acknowledge(ackid),
            Operation::Keepalive if ackid != 0 => Heard::Challenge(ackid),
            Operation::Leave => Heard::Removed(signed),
            Operation::Keepalive | Operation::Join => return None,
        };
        self.told = counter;
        Some(heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::voice::packet::Signer;

    const OWN: [u8; KEY] = [7; KEY];

    fn signer(seed: u8) -> Signer {
        Signer::new(&[seed; KEY]).unwrap()
    }

    fn signed() -> Member {
        let keys = Keys { own: Zeroizing::new(OWN), server: signer(1).public() };
        Member::new(9, 42, Some(keys), 1_000)
    }

    fn told(operation: Operation, uid: u64, ackid: u32, channel: u64, counter: u64) -> [u8; PACKET] {
        let mut packet = packet::told(operation, uid, ackid, channel, counter);
        signer(1).sign(&mut packet);
        packet
    }

    #[test]
    fn what_is_sent() {
        let mut member = signed();
        for counter in 1_001..1_004 {
            let packet = if counter == 1_002 { member.keepalive(5) } else { member.data(&[1; 1_000]) };
            assert_eq!((packet::counter(&packet), packet::is_sealed(&packet, &OWN)), (counter, true));
        }
        let mut member = Member::new(9, 42, None, 1_000);
        let packet = member.data(&[1; DATA]);
        assert_eq!((packet::uid(&packet), packet::data(&packet)), (42, &[1; DATA][..]));
        assert_eq!(packet::data(&member.data(b"ab"))[..4], *b"ab\0\0");
        let keepalive = Datagram::System { operation: Some(Operation::Keepalive), uid: 42, ackid: 5 };
        assert_eq!(packet::parse(&member.keepalive(5)), Some(keepalive));
    }

    #[test]
    fn others_are_heard() {
        for (mut member, room) in [(signed(), DATA_SIGNED), (Member::new(9, 42, None, 0), DATA)] {
            let packet = packet::user(43, &[3; DATA]);
            assert_eq!(member.heard(&packet), Some(Heard::Data { uid: 43, data: &vec![3; room] }));
            // An echo of one's own; another length.
            assert_eq!(member.heard(&packet::user(42, b"x")), None);
            assert_eq!(member.heard(&packet[1..]), None);
            assert_eq!(member.heard(&[]), None);
        }
    }

    #[test]
    fn the_server_is_believed_by_signature_and_once() {
        let mut member = signed();
        let acknowledge = told(Operation::Acknowledge, 42, 5, 9, 10);
        let mut forged = packet::told(Operation::Acknowledge, 42, 5, 9, 10);
        assert_eq!(member.heard(&forged), None);
        signer(2).sign(&mut forged);
        assert_eq!(member.heard(&forged), None);
        for other in [(41, 9), (42, 8)] {
            assert_eq!(member.heard(&told(Operation::Acknowledge, other.0, 5, other.1, 10)), None);
        }
        assert_eq!(member.heard(&acknowledge), Some(Heard::Acknowledge(5)));
        assert_eq!(member.heard(&acknowledge), None);
        assert_eq!(member.heard(&told(Operation::Leave, 42, 0, 9, 9)), None);
        assert_eq!(member.heard(&told(Operation::Keepalive, 42, 6, 9, 11)), Some(Heard::Challenge(6)));
        assert_eq!(member.heard(&told(Operation::Leave, 42, 0, 9, 12)), Some(Heard::Removed(true)));
        assert_eq!(member.heard(&told(Operation::End, 0, 0, 9, 13)), Some(Heard::Ended(true)));
    }

    #[test]
    fn in_an_unsigned_channel_it_is_told_that_nothing_is_proven() {
        let mut member = Member::new(9, 42, None, 0);
        let packet = packet::told(Operation::Leave, 42, 0, 9, 1);
        assert_eq!(member.heard(&packet), Some(Heard::Removed(false)));
        assert_eq!(member.heard(&packet), None);
    }
}
