//! Tags of packets that pass other servers: only the two ends, which share a key, can make them.

use aws_lc_rs::hmac;
use subtle::ConstantTimeEq;

use crate::wire::hex;

/// Bytes of a tag; in text twice as many.
const BYTES: usize = 16;

/// HMAC-SHA256 over the parts, cut to 16 bytes, in hex. The parts must tell by themselves where each ends.
pub fn make(key: &[u8; 32], parts: &[&[u8]]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let mut context = hmac::Context::with_key(&key);
    for part in parts {
        context.update(part);
    }
    let tag = context.sign();
    hex::encode(tag.as_ref().get(..BYTES).unwrap_or_default())
}

/// Whether `tag` is the one of the parts, in constant time.
pub fn is_good(key: &[u8; 32], parts: &[&[u8]], tag: &[u8]) -> bool {
    make(key, parts).as_bytes().ct_eq(tag).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::identity::ServerKey;

    #[test]
    fn a_tag_is_good_for_its_key_and_its_bytes_only() {
        let tag = make(&[7; 32], &[b"ab", b"c"]);
        assert_eq!(tag.len(), 2 * BYTES);
        assert!(is_good(&[7; 32], &[b"a", b"bc"], tag.as_bytes()));
        assert!(!is_good(&[8; 32], &[b"abc"], tag.as_bytes()));
        assert!(!is_good(&[7; 32], &[b"abd"], tag.as_bytes()));
        assert!(!is_good(&[7; 32], &[b"abc"], b""));
    }

    #[test]
    fn the_tags_in_the_protocol_are_good() {
        let page = include_str!("../../docs/protocol.md");
        let bytes = |from: u8| std::array::from_fn(|n| from + n as u8);
        let (second, main) = (ServerKey::from_bytes(&bytes(0)), ServerKey::from_bytes(&bytes(32)));
        let key = second.mac_key(&main.public(), "relay").unwrap();
        assert!(page.contains(&hex::encode(&*key)));
        let relay = "main|1795267801250|second|1795267830120|1|0|1795267801000007";
        let relayed = "second|main|1795267801250|1795267830120|2|";
        for (kind, head, body) in
            [("RELAY", relay, "m|alice|bob|1795267839749|~\n5 hello6 a ~~ b"), ("RELAYED", relayed, "")]
        {
            let tag = make(&key, &[kind.as_bytes(), head.as_bytes(), body.as_bytes()]);
            let packet = format!("{kind} 16|{head}|{tag}~\n{body}\n");
            assert!(page.contains(&packet.replace('\n', "⏎")), "{packet}");
        }
    }
}
