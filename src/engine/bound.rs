//! How long a packet may be, by the link that it comes on.

use super::command::Role;
use super::limits;
use super::limits::Limits;
use super::link::Link;
use crate::wire::packet;
use crate::wire::Packet;

/// A bound on packets.
pub(super) struct Bound {
    /// Bytes of the line on the wire.
    pub wire: usize,
    /// Bytes of DATA, unescaped.
    pub data: usize,
}

impl Bound {
    /// Whether a packet's DATA is over the bound once unescaped; looked at only when it might be.
    pub fn is_passed(&self, line: &[u8]) -> bool {
        if line.len() <= self.data {
            return false;
        }
        match Packet::parse(line) {
            Ok(packet) => packet.data.0.len() > self.data && packet.data.unescape().len() > self.data,
            Err(_) => false,
        }
    }
}

impl<R: Role> Link<R> {
    /// What the peer may send.
    pub(super) fn bound(&self, limits: &Limits) -> Bound {
        if self.foreign {
            let data = limits.packet.saturating_add(limits::FOREIGN_HEAD);
            return Bound { wire: data.saturating_mul(2), data };
        }
        if self.internal || self.info.opener {
            return Bound { wire: 2 * limits::ANSWER, data: limits::ANSWER };
        }
        if self.trusted {
            let head = packet::MAX_ID + packet::MAX_COMMAND + 2;
            return Bound { wire: limits.packet.saturating_mul(2).saturating_add(head), data: limits.packet };
        }
        Bound { wire: limits.packet_before_sign_on, data: limits.packet_before_sign_on }
    }
}
