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
    /// Bytes of DATA, or of its payload, unescaped.
    pub data: usize,
}

impl Bound {
    /// Whether a packet's DATA is over the bound once unescaped; looked at only when it might be. `before`: how many fields of a
    /// command stand before its payload.
    pub fn is_passed(&self, line: &[u8], before: impl FnOnce(&[u8]) -> usize) -> bool {
        if line.len() <= self.data {
            return false;
        }
        let Ok(packet) = Packet::parse(line) else { return false };
        let data = packet.data;
        if data.0.len() <= self.data {
            return false;
        }
        let mut payload = data;
        for _ in 0..before(packet.command) {
            payload = payload.split_field().1.unwrap_or(payload);
        }
        data.0.len() - payload.0.len() > limits::AROUND || payload.unescaped_len() > self.data
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
            let head = packet::MAX_ID + packet::MAX_COMMAND + 2 + limits::AROUND;
            return Bound { wire: limits.packet.saturating_mul(2).saturating_add(head), data: limits.packet };
        }
        Bound { wire: limits.packet_before_sign_on, data: limits.packet_before_sign_on }
    }
}
