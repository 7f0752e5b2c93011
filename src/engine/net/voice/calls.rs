//! Many datagrams by one system call, both ways.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::recvmmsg;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::SockaddrStorage;
use rustix::io::Errno;
use rustix::net::sendmmsg;
use rustix::net::MMsgHdr;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendFlags;
use rustix::net::SocketAddrAny;

use crate::voice::PACKET;

/// Datagrams taken at once.
pub const BATCH: usize = 64;

/// Room for datagrams. It serves sockets of one address family: the kernel notes in it how long an address was, and takes that for the room
/// there is when it is used again.
pub struct Receiver {
    headers: MultiHeaders<SockaddrStorage>,
    packets: Box<[[u8; PACKET]; BATCH]>,
    /// Of each: from where it came, and how long it was.
    facts: Vec<(SocketAddr, usize)>,
}

impl Receiver {
    /// With nothing in it.
    pub fn new() -> Receiver {
        Receiver {
            headers: MultiHeaders::preallocate(BATCH, None),
            packets: Box::new([[0; PACKET]; BATCH]),
            facts: Vec::with_capacity(BATCH),
        }
    }

    /// Takes what has come, without waiting; what was there before is gone. Returns how many datagrams there are; 0: none has come.
    pub fn receive(&mut self, socket: &UdpSocket) -> usize {
        self.facts.clear();
        let mut parts = self.packets.each_mut().map(|packet| [IoSliceMut::new(packet)]);
        // With TRUNC the kernel tells the whole length of what did not fit.
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_TRUNC;
        let Ok(came) = recvmmsg(socket.as_raw_fd(), &mut self.headers, parts.iter_mut(), flags, None) else {
            return 0;
        };
        for one in came {
            let from = one.address.as_ref().and_then(address);
            // From nowhere: the length of none, so that it is dropped.
            let nowhere = (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), 0);
            self.facts.push(from.map_or(nowhere, |from| (from, one.bytes)));
        }
        self.facts.len()
    }

    /// One of those that have come.
    pub fn get(&self, at: usize) -> Option<(SocketAddr, Came<'_>)> {
        let ((from, length), packet) = (self.facts.get(at)?, self.packets.get(at)?);
        Some((*from, if *length == PACKET { Came::Packet(packet) } else { Came::Other }))
    }
}

/// What has come.
pub enum Came<'a> {
    /// A datagram of the right length.
    Packet(&'a [u8; PACKET]),
    /// One that is none of ours.
    Other,
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    match (storage.as_sockaddr_in(), storage.as_sockaddr_in6()) {
        (Some(v4), _) => Some(SocketAddr::from(*v4)),
        (None, Some(v6)) => Some(SocketAddr::from(*v6)),
        (None, None) => None,
    }
}

/// Sends one datagram to many addresses. Returns to how many it was not sent.
pub fn send(socket: &UdpSocket, packet: &[u8], to: &[SocketAddrAny]) -> usize {
    let part = [IoSlice::new(packet)];
    let (mut rest, mut lost) = (to, 0);
    while !rest.is_empty() {
        // The headers are made anew each time: about as many as are used.
        let sent = match rest.len() {
            ..=8 => some::<8>(socket, &part, rest),
            9..=16 => some::<16>(socket, &part, rest),
            17..=32 => some::<32>(socket, &part, rest),
            _ => some::<64>(socket, &part, rest),
        };
        match sent {
            Ok(count) if count > 0 => rest = rest.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            // The socket took nothing for as long as it may: later packets are worth more than this one.
            Err(Errno::AGAIN) => return lost + rest.len(),
            // There is no way to the first of them; the others are not to suffer.
            Ok(_) | Err(_) => {
                lost += 1;
                rest = rest.get(1..).unwrap_or_default();
            }
        }
    }
    lost
}

fn some<const N: usize>(
    socket: &UdpSocket,
    part: &[IoSlice<'_>; 1],
    to: &[SocketAddrAny],
) -> rustix::io::Result<usize> {
    let count = to.len().min(N);
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; N] = std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut at = 0;
    let mut messages = controls.each_mut().map(|control| {
        // Those behind the last are not sent.
        let to = &to[at.min(count - 1)];
        at += 1;
        MMsgHdr::new_with_addr(to, part, control)
    });
    sendmmsg(socket, &mut messages[..count], SendFlags::empty())
}
