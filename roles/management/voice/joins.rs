//! Numbers of joins. They rise, over restarts too, and they prove themselves: after a restart management knows by the number alone that
//! it let this member in, at this server, and whether a session asked. So nothing is remembered, and a main server can name no member
//! that was never let in.
//!
//! From the top: 40 bits of time, one for a session, 23 of an HMAC. To name a false one is to guess 23 bits, and whoever guesses wrong
//! loses the link, and is not heard for a minute, and then for longer.

use aws_lc_rs::hmac;

use crate::engine::identity::ServerKey;

/// Milliseconds of one step of the time.
const STEP: u64 = 16;
const SUM_BITS: u32 = 23;

/// Makes and checks them.
pub struct Joins {
    key: hmac::Key,
    last: u64,
}

impl Joins {
    /// Those of the management with this key.
    pub fn new(key: &ServerKey) -> Joins {
        // As for receipts: 32 bytes can always be derived.
        let bytes = key.own_key("voice join").unwrap_or_default();
        Joins { key: hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice()), last: 0 }
    }

    /// A number greater than all before.
    pub fn next(&mut self, channel: u64, uid: u64, server: &str, session: bool, now: u64) -> u64 {
        self.last = self.last.saturating_add(1).max(now / STEP);
        let head = self.last << 1 | u64::from(session);
        head << SUM_BITS | self.sum(channel, uid, server, head)
    }

    /// Whether a session asked for this join; None: it was never made. The next ones will be greater.
    pub fn check(&mut self, join: u64, channel: u64, uid: u64, server: &str) -> Option<bool> {
        let head = join >> SUM_BITS;
        if !self.made(join, channel, uid, server) {
            return None;
        }
        self.last = self.last.max(head >> 1);
        Some(head & 1 == 1)
    }

    /// Whether this join was made.
    pub fn made(&self, join: u64, channel: u64, uid: u64, server: &str) -> bool {
        join & ((1 << SUM_BITS) - 1) == self.sum(channel, uid, server, join >> SUM_BITS)
    }

    fn sum(&self, channel: u64, uid: u64, server: &str, head: u64) -> u64 {
        let text = format!("convergia-voice-join-v1\n{channel}\n{uid}\n{server}\n{head}");
        let sum = hmac::sign(&self.key, text.as_bytes());
        let bytes = sum.as_ref().first_chunk::<8>().copied().unwrap_or_default();
        u64::from_be_bytes(bytes) >> (64 - SUM_BITS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joins(key: u8) -> Joins {
        Joins::new(&ServerKey::from_bytes(&[key; 32]))
    }

    #[test]
    fn they_rise_and_are_known_after_a_restart() {
        let (mut now, mut own, mut before) = (1_800_000_000_000, joins(1), 0);
        for session in [true, false].repeat(50) {
            let join = own.next(5, 6, "main", session, now);
            assert!(join > before);
            assert_eq!(joins(1).check(join, 5, 6, "main"), Some(session));
            for (channel, uid, server) in [(6, 6, "main"), (5, 5, "main"), (5, 6, "other")] {
                assert_eq!(joins(1).check(join, channel, uid, server), None);
            }
            assert_eq!(joins(2).check(join, 5, 6, "main"), None);
            assert_eq!(joins(1).check(join ^ 1 << SUM_BITS, 5, 6, "main"), None, "another's session");
            (now, before) = (now + 1, join);
        }
        // The clock may have been set back while management was away.
        let mut restarted = joins(1);
        assert_eq!(restarted.check(before, 5, 6, "main"), Some(false));
        assert!(restarted.next(5, 6, "main", true, 1_000) > before);
    }

    #[test]
    fn it_lasts() {
        let centuries = 1_800_000_000_000 + 500 * 365 * 86_400_000;
        let join = joins(1).next(1, 1, "main", true, centuries);
        assert_eq!(joins(1).check(join, 1, 1, "main"), Some(true));
        assert_eq!(joins(1).check(u64::MAX, 1, 1, "main"), None);
    }
}
