//! What both sides of a direct link sign (docs/protocol.md, section 17). Pure.

use crate::accounts::keys;
use crate::engine::ctx::Fingerprint;
use crate::wire::hex;
use crate::wire::Fail;

/// Says what a signature is for.
const CONTEXT: &str = "convergia-direct-v1";

/// A side of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It has connected.
    Opener,
    /// It was connected to.
    Accepter,
}

/// What both sides of a link must agree on: each signs it as it sees it, so whoever stands in between is found out by
/// the fingerprint.
#[derive(Clone, Debug)]
pub struct Meeting {
    /// Of the accepting side's certificate.
    pub fingerprint: Fingerprint,
    /// User ids: of the opener, and of the accepter.
    pub ids: [String; 2],
    /// Their keys.
    pub keys: [[u8; 32]; 2],
    /// Their challenges: each makes a fresh one for every link.
    pub challenges: [[u8; 32]; 2],
}

impl Meeting {
    fn text(&self, side: Side) -> Vec<u8> {
        let side = match side {
            Side::Opener => "opener",
            Side::Accepter => "accepter",
        };
        let [opener, accepter] = &self.ids;
        let [key_o, key_a] = self.keys.map(|key| keys::to_base64(&key));
        let [challenge_o, challenge_a] = self.challenges.map(|challenge| hex::encode(&challenge));
        let print = hex::encode(&self.fingerprint);
        let lines = [CONTEXT, side, &print, opener, accepter, &key_o, &key_a, &challenge_o, &challenge_a];
        lines.join("\n").into_bytes()
    }

    /// This side's signature, in Base64.
    ///
    /// # Errors
    /// INTERNAL.
    pub fn sign(&self, side: Side, seed: &[u8; 32]) -> Result<String, Fail> {
        Ok(keys::to_base64(&keys::sign(seed, &self.text(side))?))
    }

    /// Whether `signature` (Base64) is that of the other side, `side`.
    pub fn is_signed(&self, side: Side, signature: &str) -> bool {
        let key = match side {
            Side::Opener => &self.keys[0],
            Side::Accepter => &self.keys[1],
        };
        keys::parse_signature(signature).is_ok_and(|signature| keys::verify(key, &self.text(side), &signature))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_good_for_one_meeting_and_side() {
        let key = |seed| keys::public_of(&[seed; 32]).unwrap();
        let meeting = Meeting {
            fingerprint: [1; 32],
            ids: ["h::alice".into(), "h::bob".into()],
            keys: [key(7), key(8)],
            challenges: [[3; 32], [4; 32]],
        };
        let signature = meeting.sign(Side::Opener, &[7; 32]).unwrap();
        assert!(meeting.is_signed(Side::Opener, &signature));
        assert!(!meeting.is_signed(Side::Accepter, &signature));
        assert!(!meeting.is_signed(Side::Opener, &meeting.sign(Side::Opener, &[8; 32]).unwrap()));
        assert!(!meeting.is_signed(Side::Opener, "") && !meeting.is_signed(Side::Opener, "!"));
        let others = [
            Meeting { fingerprint: [2; 32], ..meeting.clone() },
            Meeting { ids: ["h::carol".into(), "h::bob".into()], ..meeting.clone() },
            Meeting { ids: ["h::alice".into(), "i::bob".into()], ..meeting.clone() },
            Meeting { keys: [key(7), key(9)], ..meeting.clone() },
            Meeting { challenges: [[9; 32], [4; 32]], ..meeting.clone() },
            Meeting { challenges: [[3; 32], [9; 32]], ..meeting.clone() },
        ];
        assert!(others.iter().all(|other| !other.is_signed(Side::Opener, &signature)));
    }
}
