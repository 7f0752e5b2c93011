//! The bare fan-out: a loop of recvmmsg and sendto, or sendmmsg, and nothing else. A process of its own.

use std::io::IoSlice;
use std::io::IoSliceMut;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::os::fd::AsRawFd;

use nix::sys::socket::recvmmsg;
use nix::sys::socket::MsgFlags;
use nix::sys::socket::MultiHeaders;
use nix::sys::socket::SockaddrStorage;
use rustix::net::sendmmsg;
use rustix::net::MMsgHdr;
use rustix::net::SendAncillaryBuffer;
use rustix::net::SendFlags;
use rustix::net::SocketAddrAny;

use super::widen;
use crate::Result;

const PACKET: usize = 512;
const BATCH: usize = 64;

/// Serves one channel until its standard input ends. Whoever sends is a member. `batches`: sendmmsg.
pub fn serve(batches: bool) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    widen(&socket)?;
    let mut output = std::io::stdout();
    writeln!(output, "{}", socket.local_addr()?.port())?;
    output.flush()?;
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(0);
    });
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    let mut packets = vec![[0u8; PACKET]; BATCH];
    let mut members: Vec<(SocketAddr, SocketAddrAny)> = Vec::new();
    let mut came: Vec<(SocketAddr, usize)> = Vec::with_capacity(BATCH);
    let mut others: Vec<SocketAddrAny> = Vec::new();
    loop {
        came.clear();
        {
            let mut parts: Vec<[IoSliceMut<'_>; 1]> =
                packets.iter_mut().map(|packet| [IoSliceMut::new(packet)]).collect();
            let flags = MsgFlags::MSG_WAITFORONE;
            for one in recvmmsg(socket.as_raw_fd(), &mut headers, parts.iter_mut(), flags, None)? {
                let from = one.address.as_ref().and_then(SockaddrStorage::as_sockaddr_in).ok_or("no address")?;
                came.push((SocketAddr::from(*from), one.bytes));
            }
        }
        for ((from, length), packet) in came.iter().zip(&packets) {
            if !members.iter().any(|(member, _)| member == from) {
                members.push((*from, SocketAddrAny::from(*from)));
            }
            // Less only shows that somebody is there.
            if *length != PACKET {
                continue;
            }
            if batches {
                others.clear();
                others.extend(members.iter().filter(|(member, _)| member != from).map(|(_, raw)| raw.clone()));
                others.chunks(BATCH).try_for_each(|some| send(&socket, packet, some))?;
            } else {
                for (member, _) in members.iter().filter(|(member, _)| member != from) {
                    socket.send_to(packet, member)?;
                }
            }
        }
    }
}

fn send(socket: &UdpSocket, packet: &[u8], to: &[SocketAddrAny]) -> Result<()> {
    let part = [IoSlice::new(packet)];
    let mut controls: [SendAncillaryBuffer<'_, '_, '_>; BATCH] =
        std::array::from_fn(|_| SendAncillaryBuffer::default());
    let mut messages: Vec<MMsgHdr<'_>> =
        to.iter().zip(&mut controls).map(|(to, control)| MMsgHdr::new_with_addr(to, &part, control)).collect();
    let mut sent = 0;
    while sent < messages.len() {
        sent += sendmmsg(socket, &mut messages[sent..], SendFlags::empty())?;
    }
    Ok(())
}
