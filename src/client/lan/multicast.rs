//! The UDP sockets of discovery: one for IPv4, one for IPv6, in the group on every interface that takes multicast.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::SocketAddrV6;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::net::sockopt;
use rustix::net::AddressFamily;
use rustix::net::SocketFlags;
use rustix::net::SocketType;

/// Of addresses that no router passes on: site-local by number, and with a TTL of 1.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(239, 255, 63, 49);
/// The same, link-local, and not one of those that IANA has given away.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff12, 0, 0, 0, 0, 0, 6, 0x3749);

/// Interfaces that are used, at most.
const INTERFACES: usize = 64;
/// Where the kernel tells them, for the network that this thread is in.
const V4: &str = "/proc/thread-self/net/igmp";
const V6: &str = "/proc/thread-self/net/if_inet6";

/// The sockets.
pub struct Sockets {
    port: u16,
    v4: Option<UdpSocket>,
    v6: Option<UdpSocket>,
    /// Interfaces, by their numbers.
    joined: Mutex<[BTreeSet<u32>; 2]>,
}

impl Sockets {
    /// Opens them, and joins the groups.
    ///
    /// # Errors
    /// When there is neither IPv4 nor IPv6; in words.
    pub fn open(port: u16) -> Result<Sockets, String> {
        // Bound to the group: what is sent to the machine alone does not come here.
        let v4 = socket(AddressFamily::INET, SocketAddrV4::new(GROUP_V4, port).into());
        // A group of the link cannot be bound without its interface; strangers are told by their addresses, see `is_near`.
        let v6 = socket(AddressFamily::INET6, SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into());
        if let (Err(error), Err(_)) = (&v4, &v6) {
            return Err(format!("discovery, UDP port {port}: {error}"));
        }
        let sockets = Sockets { port, v4: v4.ok(), v6: v6.ok(), joined: Mutex::default() };
        sockets.join();
        Ok(sockets)
    }

    /// Clones of the sockets, to read from.
    ///
    /// # Errors
    /// Of the system.
    pub fn readers(&self) -> io::Result<Vec<UdpSocket>> {
        self.v4.iter().chain(&self.v6).map(UdpSocket::try_clone).collect()
    }

    /// Looks which interfaces there are, and joins the groups on those that are new.
    pub fn join(&self) {
        let mut joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        let [v4, v6] = &mut *joined;
        // Those that are gone take nothing, which does no harm; but not more and more of them.
        for all in [&mut *v4, &mut *v6] {
            if all.len() > INTERFACES {
                all.clear();
            }
        }
        if let Some(socket) = &self.v4 {
            for index in interfaces_v4() {
                // An error: joined already, or the interface takes none.
                let _ = sockopt::set_ip_add_membership_with_ifindex(socket, &GROUP_V4, &Ipv4Addr::UNSPECIFIED, index);
                v4.insert(index);
            }
        }
        if let Some(socket) = &self.v6 {
            for index in interfaces_v6() {
                let _ = sockopt::set_ipv6_add_membership(socket, &GROUP_V6, index);
                v6.insert(index);
            }
        }
    }

    /// Sends a datagram to the groups, on every interface. What cannot be sent is said again by whoever sends it.
    pub fn send(&self, bytes: &[u8]) {
        let joined = self.joined.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(socket) = &self.v4 {
            let to = SocketAddrV4::new(GROUP_V4, self.port);
            for index in &joined[0] {
                let any = Ipv4Addr::UNSPECIFIED;
                if sockopt::set_ip_multicast_if_with_ifindex(socket, &any, &any, *index).is_ok() {
                    let _ = socket.send_to(bytes, to);
                }
            }
        }
        if let Some(socket) = &self.v6 {
            for index in &joined[1] {
                let _ = socket.send_to(bytes, SocketAddrV6::new(GROUP_V6, self.port, 0, *index));
            }
        }
    }
}

fn socket(family: AddressFamily, address: SocketAddr) -> io::Result<UdpSocket> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, None)?;
    // Several clients of one machine share the port: each gets what is sent to the group.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    } else {
        sockopt::set_ip_multicast_ttl(&socket, 1)?;
    }
    rustix::net::bind(&socket, &address)?;
    Ok(UdpSocket::from(socket))
}

/// Whether a datagram may come from the local network: over IPv6 what comes from elsewhere can be told by its address.
pub fn is_near(from: IpAddr) -> bool {
    match from {
        IpAddr::V4(_) => true,
        IpAddr::V6(from) => from.is_unicast_link_local(),
    }
}

/// The numbers of the interfaces with IPv4. Without the kernel's list: 0, the one that it would choose.
fn interfaces_v4() -> Vec<u32> {
    fs::read_to_string(V4).map_or_else(|_| vec![0], |text| parse_v4(&text))
}

/// Of those with an address of the link in IPv6.
fn interfaces_v6() -> Vec<u32> {
    fs::read_to_string(V6).map_or_else(|_| vec![0], |text| parse_v6(&text))
}

/// Lines `number TAB name : …`; what belongs to them is indented.
fn parse_v4(text: &str) -> Vec<u32> {
    let lines = text.lines().filter(|line| !line.starts_with(char::is_whitespace));
    lines.filter_map(|line| line.split_whitespace().next()?.parse().ok()).take(INTERFACES).collect()
}

/// Lines `address number prefix scope flags name`, in hexadecimal; scope 20 is the link.
fn parse_v6(text: &str) -> Vec<u32> {
    let line = |line: &str| match line.split_whitespace().collect::<Vec<_>>()[..] {
        [_, number, _, "20", ..] => u32::from_str_radix(number, 16).ok(),
        _ => None,
    };
    text.lines().filter_map(line).take(INTERFACES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lists() {
        let igmp = "Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n1\tlo        :     1      V3\n\t\t\t\t\
                    010000E0     1 0:00000000\t\t0\n12\teth0      :     1      V3\n\t\t\t\t010000E0     1 0:00000000\t\t0\n";
        assert_eq!(parse_v4(igmp), [1, 12]);
        let inet6 = "fd000000000000000000000000000002 04 40 00 82     eth0\n\
                     00000000000000000000000000000001 01 80 10 80       lo\n\
                     fe8000000000000000fc00fffe000001 0c 40 20 80     eth0\n";
        assert_eq!(parse_v6(inet6), [12]);
    }

    #[test]
    fn who_is_near() {
        for (address, near) in [("10.0.0.1", true), ("fe80::1", true), ("2001:db8::1", false), ("::1", false)] {
            assert_eq!(is_near(address.parse().unwrap()), near, "{address}");
        }
    }
}
