//! Tags of packets that pass other servers: only the two ends, which share a key, can make them.
//!
//! Each packet has a key of its own: HMAC-SHA256, under the shared key, of 16 random bytes and the packet's short start. The tag is
//! those bytes and, under that key, the AES-256-GCM tag of an empty text with 96 zero bits as nonce and the rest of the packet as
//! associated data, as it lies there. A hash over the whole packet would cost more than sending it.

use aws_lc_rs::aead::Aad;
use aws_lc_rs::aead::LessSafeKey;
use aws_lc_rs::aead::Nonce;
use aws_lc_rs::aead::UnboundKey;
use aws_lc_rs::aead::AES_256_GCM;
use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::wire::hex;

/// Bytes of the random part of a tag, and of the other; in text twice as many.
pub const SALT: usize = 16;
const BYTES: usize = 16;

/// The tag of a packet, in hex: of its `start`, whose parts must tell by themselves where each ends, and its `rest`, which may be
/// large. `salt` must be random each time.
pub fn make(key: &[u8; 32], salt: &[u8; SALT], start: &[&[u8]], rest: &[u8]) -> String {
    let mut tag = hex::encode(salt);
    // Nothing of this can fail with keys and nonces of these lengths; an empty tag is never a good one.
    tag.push_str(&sum(key, salt, start, rest).map(|sum| hex::encode(&sum)).unwrap_or_default());
    tag
}

/// Whether `tag` is one of that packet, in constant time.
pub fn is_good(key: &[u8; 32], start: &[&[u8]], rest: &[u8], tag: &[u8]) -> bool {
    let Some((salt, told)) = tag.split_at_checked(2 * SALT) else { return false };
    let salt = std::str::from_utf8(salt).ok().and_then(hex::decode::<SALT>);
    let sum = salt.and_then(|salt| sum(key, &salt, start, rest)).map(|sum| hex::encode(&sum));
    sum.is_some_and(|sum| sum.as_bytes().ct_eq(told).into())
}

fn sum(key: &[u8; 32], salt: &[u8; SALT], start: &[&[u8]], rest: &[u8]) -> Option<[u8; BYTES]> {
    let mut own = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    own.update(salt);
    start.iter().for_each(|part| own.update(part));
    let own = own.sign();
    let own = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, own.as_ref()).ok()?);
    let nonce = Nonce::assume_unique_for_key([0; 12]);
    let sum = own.seal_in_place_separate_tag(nonce, Aad::from(rest), &mut []).ok()?;
    sum.as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::identity::ServerKey;

    #[test]
    fn a_tag_is_good_for_its_key_and_its_bytes_only() {
        let tag = make(&[7; 32], &[1; SALT], &[b"ab", b"c"], b"de");
        assert_eq!(tag.len(), 2 * (SALT + BYTES));
        assert!(is_good(&[7; 32], &[b"a", b"bc"], b"de", tag.as_bytes()));
        assert!(!is_good(&[8; 32], &[b"abc"], b"de", tag.as_bytes()));
        assert!(!is_good(&[7; 32], &[b"abd"], b"de", tag.as_bytes()));
        assert!(!is_good(&[7; 32], &[b"abc"], b"df", tag.as_bytes()));
        assert!(!is_good(&[7; 32], &[b"ab"], b"cde", tag.as_bytes()));
        for at in 0..tag.len() {
            let mut other = tag.clone().into_bytes();
            other[at] ^= 1;
            assert!(!is_good(&[7; 32], &[b"abc"], b"de", &other), "{at}");
            assert!(!is_good(&[7; 32], &[b"abc"], b"de", &tag.as_bytes()[..at]), "{at}");
        }
        assert_ne!(tag, make(&[7; 32], &[2; SALT], &[b"abc"], b"de"));
    }

    #[test]
    fn the_tags_in_the_protocol_are_good() {
        let page = include_str!("../../docs/protocol.md");
        let bytes = |from: u8| std::array::from_fn(|n| from + n as u8);
        let (second, main) = (ServerKey::from_bytes(&bytes(0)), ServerKey::from_bytes(&bytes(32)));
        let bytes16 = std::array::from_fn(|n| n as u8);
        let key = second.mac_key(&main.public(), "relay").unwrap();
        assert!(page.contains(&hex::encode(&*key)));
        let relay = "main|1795267801250|second|1795267830120|1|0|1795267801000007";
        let relayed = "second|main|1795267801250|1795267830120|2|";
        for (kind, head, what, rest) in
            [("RELAY", relay, "m|alice|bob|1795267839749|~\n", "5 hello6 a ~~ b"), ("RELAYED", relayed, "", "")]
        {
            let start = [kind, head, "~\n", what].map(str::as_bytes);
            let tag = make(&key, &bytes16, &start, rest.as_bytes());
            let packet = format!("{kind} 16|{head}|{tag}~\n{what}{rest}\n");
            assert!(page.contains(&packet.replace('\n', "⏎")), "{packet}");
        }
    }
}
