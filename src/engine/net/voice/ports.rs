//! UDP ports for channels.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;

use rustix::net::sockopt;

/// What the kernel shall hold of datagrams for a socket, each way, in bytes; it holds less where the system does not allow that much.
const BUFFER: usize = 4 << 20;
/// How long sending may wait for room.
const PATIENCE: Duration = Duration::from_millis(10);

/// The ports that channels may have.
pub struct Ports {
    /// The first of them; with port 0: any that are free.
    first: SocketAddr,
    count: u16,
    /// Which one is tried next: one that was given back rests as long as others are free, as packets for its old channel may still come.
    next: u16,
}

impl Ports {
    /// `count` ports from `first` on; none above 65535.
    pub fn new(first: SocketAddr, count: u16) -> Ports {
        let above = u16::MAX - first.port();
        let count = if first.port() == 0 { count } else { count.min(above.saturating_add(1)) };
        Ports { first, count, next: 0 }
    }

    /// How many sockets there may be at once.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// A socket on a port that `is_used` does not know. None: there is none, or other programs have them.
    pub fn open(&mut self, is_used: impl Fn(u16) -> bool) -> Option<(UdpSocket, u16)> {
        if self.first.port() == 0 {
            return socket(self.first).map_err(|error| log::warn!("voice: {}: {error}", self.first)).ok();
        }
        for _ in 0..self.count {
            let number = self.first.port() + self.next;
            self.next = (self.next + 1) % self.count;
            if is_used(number) {
                continue;
            }
            match socket(SocketAddr::new(self.first.ip(), number)) {
                Ok(open) => return Some(open),
                Err(error) => log::debug!("voice: port {number}: {error}"),
            }
        }
        None
    }
}

/// A socket with large buffers, and its port.
pub fn socket(address: SocketAddr) -> io::Result<(UdpSocket, u16)> {
    let socket = UdpSocket::bind(address)?;
    // More than the system's bound, if this process may; else up to it.
    if sockopt::set_socket_recv_buffer_size_force(&socket, BUFFER).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, BUFFER)?;
    }
    if sockopt::set_socket_send_buffer_size_force(&socket, BUFFER).is_err() {
        sockopt::set_socket_send_buffer_size(&socket, BUFFER)?;
    }
    socket.set_write_timeout(Some(PATIENCE))?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}
