//! The datagrams of KV, by hand, and members that send and hear them.

use std::net::SocketAddr;
use std::net::UdpSocket;

use aws_lc_rs::signature::UnparsedPublicKey;
use aws_lc_rs::signature::ED25519;

use crate::kv;
use crate::kv::Key;
use crate::PATIENCE;

/// Every datagram has so many bytes.
pub const LENGTH: usize = 512;
pub type Packet = [u8; LENGTH];

pub const KEEPALIVE: u32 = 0x8000_0000;
pub const JOINED: u32 = 0x8000_0001;
pub const LEFT: u32 = 0x8000_0002;
pub const ACKNOWLEDGE: u32 = 0x8000_0003;
pub const END: u32 = 0x8000_0004;

/// What a user says.
pub fn user(uid: u64, data: &[u8]) -> Packet {
    let mut packet = [0; LENGTH];
    packet[..8].copy_from_slice(&uid.to_le_bytes());
    packet[8..8 + data.len()].copy_from_slice(data);
    packet
}

/// A packet of the system.
pub fn system(operation: u32, uid: u64, ackid: u32) -> Packet {
    let mut packet = [0; LENGTH];
    packet[..4].fill(0xFF);
    packet[4..8].copy_from_slice(&operation.to_be_bytes());
    packet[8..16].copy_from_slice(&uid.to_le_bytes());
    packet[16..20].copy_from_slice(&ackid.to_le_bytes());
    packet[20..24].copy_from_slice(&checksum(uid, ackid).to_le_bytes());
    packet
}

/// The low 32 bits of (uid << 8) xor 0x0ACDD400 xor ackid.
pub fn checksum(uid: u64, ackid: u32) -> u32 {
    let low = ((uid & 0x00FF_FFFF) << 8) as u32;
    low ^ 0x0ACD_D400 ^ ackid
}

/// With counter and tag, as in signed channels.
pub fn sealed(mut packet: Packet, key: &[u8; 32], counter: u64) -> Packet {
    packet[488..496].copy_from_slice(&counter.to_le_bytes());
    let tag = blake3::keyed_hash(key, &packet[..496]);
    packet[496..].copy_from_slice(&tag.as_bytes()[..16]);
    packet
}

/// The number in four bytes of a packet, little-endian.
pub fn four(packet: &Packet, at: usize) -> u32 {
    u32::from_le_bytes(packet[at..at + 4].try_into().expect("four bytes"))
}

/// The number in eight bytes of a packet, little-endian.
pub fn eight(packet: &Packet, at: usize) -> u64 {
    u64::from_le_bytes(packet[at..at + 8].try_into().expect("eight bytes"))
}

/// The operation and the uid of a packet of the system; its checksum is right.
#[track_caller]
pub fn operation(packet: &Packet) -> (u32, u64) {
    assert_eq!(packet[..4], [0xFF; 4], "a packet of the system");
    let uid = eight(packet, 8);
    assert_eq!(four(packet, 20), checksum(uid, four(packet, 16)), "its checksum");
    (four(packet, 4).swap_bytes(), uid)
}

/// Whether a packet has the server's signature in its last 64 bytes.
pub fn is_signed(packet: &Packet, server: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, server).verify(&packet[..448], &packet[448..]).is_ok()
}

/// A member of a channel.
pub struct Member {
    pub uid: u64,
    pub socket: UdpSocket,
    /// Where the channel is.
    pub to: SocketAddr,
    /// In a signed channel.
    pub key: Option<[u8; 32]>,
    pub counter: u64,
}

/// A socket on an address of this machine, with a time-out.
#[track_caller]
pub fn socket(address: &str) -> UdpSocket {
    let socket = UdpSocket::bind((address, 0)).unwrap_or_else(|error| panic!("{address}: {error}"));
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket
}

/// The address of a UDP port, on the host of voice control.
pub fn at(control: &str, port: u64) -> SocketAddr {
    let host = control.rsplit_once(':').expect("a port").0;
    format!("{host}:{port}").parse().expect("an address")
}

impl Member {
    /// Joins a channel that is not signed; nothing is sent by UDP yet.
    #[track_caller]
    pub fn unbound(control: &str, uid: u64, channel: u64) -> Member {
        let port = kv::done(control, kv::JOIN, &[uid, uid, channel]);
        let to = at(control, port);
        Member { uid, socket: socket(&to.ip().to_string()), to, key: None, counter: 0 }
    }

    /// The same, and the server knows its address.
    #[track_caller]
    pub fn join(control: &str, uid: u64, channel: u64) -> Member {
        let mut member = Member::unbound(control, uid, channel);
        member.acknowledged(1);
        member
    }

    /// Joins a signed channel.
    #[track_caller]
    pub fn unbound_signed(control: &str, key: &mut Key, uid: u64, channel: u64) -> Member {
        let answer = kv::send(control, &key.sign(kv::JOIN, &[uid, uid, channel]));
        Member::granted(control, &answer, uid)
    }

    /// Who was joined to a signed channel, by this answer.
    #[track_caller]
    pub fn granted(control: &str, answer: &[u8], uid: u64) -> Member {
        assert_eq!(answer.len(), 8 + 32, "{answer:?}");
        let to = at(control, kv::number(&answer[..8]));
        let key = Some(answer[8..].try_into().expect("32 bytes"));
        Member { uid, socket: socket(&to.ip().to_string()), to, key, counter: 0 }
    }

    /// The same, and the server knows its address.
    #[track_caller]
    pub fn join_signed(control: &str, key: &mut Key, uid: u64, channel: u64) -> Member {
        let mut member = Member::unbound_signed(control, key, uid, channel);
        member.acknowledged(1);
        member
    }

    /// As the channel wants it: with counter and tag, or as it is.
    pub fn seal(&mut self, packet: Packet) -> Packet {
        self.counter += 1;
        self.key.map_or(packet, |key| sealed(packet, &key, self.counter))
    }

    /// Sends these bytes from its address.
    #[track_caller]
    pub fn send(&self, bytes: &[u8]) {
        assert_eq!(self.socket.send_to(bytes, self.to).expect("sent"), bytes.len());
    }

    /// Says something; the packet.
    #[track_caller]
    pub fn say(&mut self, data: &[u8]) -> Packet {
        let packet = user(self.uid, data);
        let packet = self.seal(packet);
        self.send(&packet);
        packet
    }

    /// A keepalive.
    #[track_caller]
    pub fn keepalive(&mut self, ackid: u32) -> Packet {
        let packet = system(KEEPALIVE, self.uid, ackid);
        let packet = self.seal(packet);
        self.send(&packet);
        packet
    }

    /// A keepalive, whose acknowledgement is the next that comes.
    #[track_caller]
    pub fn acknowledged(&mut self, ackid: u32) -> Packet {
        self.keepalive(ackid);
        let packet = self.next();
        assert_eq!(operation(&packet), (ACKNOWLEDGE, self.uid));
        assert_eq!(four(&packet, 16), ackid);
        packet
    }

    /// The next datagram.
    #[track_caller]
    pub fn next(&self) -> Packet {
        let mut bytes = [0; LENGTH + 1];
        let (length, from) = self.socket.recv_from(&mut bytes).expect("a datagram");
        assert_eq!((length, from), (LENGTH, self.to));
        bytes[..LENGTH].try_into().expect("its length")
    }

    /// The next datagram is this one.
    #[track_caller]
    pub fn hears(&self, packet: &Packet) {
        assert!(self.next() == *packet, "another packet");
    }
}
