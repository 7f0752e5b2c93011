//! What counts as one place that a client comes from.

use std::net::IpAddr;

/// A peer's network, as far as limits are concerned.
///
/// One IPv6 customer has a whole /64, so addresses within it are one place. This machine is one place
/// too: whoever may open a socket here owns all of 127.0.0.0/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Net {
    /// This machine.
    Loopback,
    /// One IPv4 address.
    V4([u8; 4]),
    /// The first half of an IPv6 address.
    V6([u8; 8]),
}

impl Net {
    /// The network of an address. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn of(addr: IpAddr) -> Net {
        match addr.to_canonical() {
            addr if addr.is_loopback() => Net::Loopback,
            IpAddr::V4(v4) => Net::V4(v4.octets()),
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, g, h, ..] = v6.octets();
                Net::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Net {
        Net::of(text.parse().unwrap())
    }

    #[test]
    fn places() {
        assert_eq!(net("::1"), Net::Loopback);
        assert_eq!(net("127.9.9.9"), Net::Loopback);
        assert_eq!(net("::ffff:127.0.0.1"), Net::Loopback);
        assert_eq!(net("::ffff:192.0.2.1"), net("192.0.2.1"));
        assert_ne!(net("192.0.2.1"), net("192.0.2.2"));
        assert_eq!(net("2001:db8::1"), net("2001:db8:0:0:ffff::2"));
        assert_ne!(net("2001:db8::1"), net("2001:db8:0:1::1"));
    }
}
