//! The datagrams of a channel, of which every one has 512 bytes.
//!
//! | of a user | |
//! |---|---|
//! | 0..8 | uid, little-endian |
//! | 8..512 | data; in a signed channel 8..488 |
//! | 488..496 | in a signed channel: a counter, little-endian |
//! | 496..512 | in a signed channel: keyed BLAKE3 of 0..496, its first 16 bytes |
//!
//! | of the system | |
//! |---|---|
//! | 0..4 | 0xFFFFFFFF: no uid begins so |
//! | 4..8 | the operation, big-endian |
//! | 8..16, 16..20 | uid and ackid, little-endian |
//! | 20..24 | a checksum of both, little-endian |
//! | 488..512 | from a member of a signed channel: counter and tag, as above |
//! | 24..32, 32..40 | from the server: the channel, and a counter that only rises; little-endian |
//! | 448..512 | from the server, in a signed channel: Ed25519 over 0..448 |

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::ED25519;
use subtle::ConstantTimeEq;

use super::DATA;
use super::KEY;
use super::PACKET;
use super::TAG;

/// What a system packet begins with.
pub const MAGIC: u32 = u32::MAX;
/// Where counter and tag of a member's packet stand in a signed channel.
const COUNTER: usize = PACKET - TAG - 8;
const TAGGED: usize = PACKET - TAG;
/// Where the signature of a server's packet stands.
const SIGNATURE: usize = PACKET - 64;
/// The operation 0; the others count up from it.
const FIRST: u32 = 0x8000_0000;

/// What a system packet is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// From a member: it is still there. From the server, with an ackid: a challenge, to be answered by a keepalive with that ackid.
    Keepalive,
    /// Of the original; not used.
    Join,
    /// From the server: this uid is a member no more.
    Leave,
    /// From the server: the keepalive with this ackid has come.
    Acknowledge,
    /// From the server: the channel is no more. Its uid is 0: it is meant for all.
    End,
}

impl Operation {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        FIRST
            + match self {
                Operation::Keepalive => 0,
                Operation::Join => 1,
                Operation::Leave => 2,
                Operation::Acknowledge => 3,
                Operation::End => 4,
            }
    }

    /// The operation of a number on the wire.
    pub fn of(number: u32) -> Option<Operation> {
        Some(match number.checked_sub(FIRST)? {
            0 => Operation::Keepalive,
            1 => Operation::Join,
            2 => Operation::Leave,
            3 => Operation::Acknowledge,
            4 => Operation::End,
            _ => return None,
        })
    }
}

/// What a datagram is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// Of a user, for all others; [`data`] is the rest of it.
    User {
        /// Who it says that it is from.
        uid: u64,
    },
    /// Of the system.
    System {
        /// What it is about; None: an operation that nobody knows.
        operation: Option<Operation>,
        /// Whom it is about.
        uid: u64,
        /// 0: no acknowledgement is wanted.
        ackid: u32,
    },
}

/// What these bytes are. None: they have not the length of a datagram, or begin as a system packet and have a wrong checksum.
pub fn parse(bytes: &[u8]) -> Option<Datagram> {
    if bytes.len() != PACKET {
        return None;
    }
    if u32_at(bytes, 0) != MAGIC {
        return Some(Datagram::User { uid: u64_at(bytes, 0) });
    }
    let (uid, ackid) = (u64_at(bytes, 8), u32_at(bytes, 16));
    let operation = Operation::of(u32_at(bytes, 4).swap_bytes());
    (u32_at(bytes, 20) == checksum(uid, ackid)).then_some(Datagram::System { operation, uid, ackid })
}

/// The checksum of a system packet. It tells one from noise, and proves nothing.
pub fn checksum(uid: u64, ackid: u32) -> u32 {
    // The low half is meant.
    (uid << 8) as u32 ^ 0x0ACD_D400 ^ ackid
}

/// A user packet with this data; what is missing is zeros, what is too much (over [`DATA`]) is cut off.
pub fn user(uid: u64, data: &[u8]) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    put(&mut packet, 0, &uid.to_le_bytes());
    put(&mut packet, 8, data.get(..DATA).unwrap_or(data));
    packet
}

/// What a user packet carries; in a signed channel counter and tag are at its end.
pub fn data(packet: &[u8]) -> &[u8] {
    packet.get(8..).unwrap_or_default()
}

/// The uid of a user packet.
pub fn uid(packet: &[u8]) -> u64 {
    u64_at(packet, 0)
}

/// A system packet, as a user sends it where nothing is signed.
pub fn system(operation: Operation, uid: u64, ackid: u32) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    put(&mut packet, 0, &MAGIC.to_le_bytes());
    put(&mut packet, 4, &operation.number().to_be_bytes());
    put(&mut packet, 8, &uid.to_le_bytes());
    put(&mut packet, 16, &ackid.to_le_bytes());
    put(&mut packet, 20, &checksum(uid, ackid).to_le_bytes());
    packet
}

/// Puts counter and tag of a member of a signed channel into its packet, a user's or the system's.
pub fn seal(packet: &mut [u8; PACKET], key: &[u8; KEY], counter: u64) {
    put(packet, COUNTER, &counter.to_le_bytes());
    let tag = tag(packet, key);
    put(packet, TAGGED, &tag);
}

/// The counter of a sealed packet.
pub fn counter(packet: &[u8]) -> u64 {
    u64_at(packet, COUNTER)
}

/// Whether the tag is that of this key; in constant time.
pub fn is_sealed(packet: &[u8], key: &[u8; KEY]) -> bool {
    packet.get(TAGGED..).is_some_and(|told| tag(packet, key).ct_eq(told).into())
}

fn tag(packet: &[u8], key: &[u8; KEY]) -> [u8; TAG] {
    let sum = blake3::keyed_hash(key, packet.get(..TAGGED).unwrap_or_default());
    sum.as_bytes().first_chunk().copied().unwrap_or_default()
}

/// A system packet of the server. `counter` is higher than that of every packet before.
pub fn told(operation: Operation, uid: u64, ackid: u32, channel: u64, counter: u64) -> [u8; PACKET] {
    let mut packet = system(operation, uid, ackid);
    put(&mut packet, 24, &channel.to_le_bytes());
    put(&mut packet, 32, &counter.to_le_bytes());
    packet
}

/// The channel that a system packet of the server is about.
pub fn told_channel(packet: &[u8]) -> u64 {
    u64_at(packet, 24)
}

/// The counter of a system packet of the server.
pub fn told_counter(packet: &[u8]) -> u64 {
    u64_at(packet, 32)
}

/// The server's key for system packets.
pub struct Signer(Ed25519KeyPair);

impl Signer {
    /// The key pair of this seed. None: the seed is none, which 32 bytes always are.
    pub fn new(seed: &[u8; KEY]) -> Option<Signer> {
        Ed25519KeyPair::from_seed_unchecked(seed).ok().map(Signer)
    }

    /// What members know the server by.
    pub fn public(&self) -> [u8; KEY] {
        <[u8; KEY]>::try_from(self.0.public_key().as_ref()).unwrap_or_default()
    }

    /// Signs a packet of the server.
    pub fn sign(&self, packet: &mut [u8; PACKET]) {
        let signature = self.0.sign(packet.get(..SIGNATURE).unwrap_or_default());
        put(packet, SIGNATURE, signature.as_ref());
    }
}

/// Whether a packet is signed by the server with this public key.
pub fn is_signed(packet: &[u8], server: &[u8; KEY]) -> bool {
    let parts = packet.split_at_checked(SIGNATURE);
    parts.is_some_and(|(told, signature)| UnparsedPublicKey::new(&ED25519, server).verify(told, signature).is_ok())
}

fn put(packet: &mut [u8; PACKET], at: usize, bytes: &[u8]) {
    if let Some(place) = packet.get_mut(at..at + bytes.len()) {
        place.copy_from_slice(bytes);
    }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u64::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests;
