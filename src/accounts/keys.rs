//! Ed25519 keys in place of passwords: LOGINKEY and PROVEKEY (contract 5).
//!
//! The challenge is 32 random bytes, hexadecimal on the wire. What is signed is four parts joined by LF, without one
//! at the end: `convergia-login-v1`, the user name as LOGINKEY sent it, the fingerprint of the management certificate
//! as the client sees it, and the challenge. The fingerprint makes a signature worthless to a server in between.

use crate::wire::hex;
use aws_lc_rs::signature;
use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use aws_lc_rs::signature::UnparsedPublicKey;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::general_purpose::GeneralPurposeConfig;
use base64::engine::DecodePaddingMode;
use base64::Engine;
use rand::CryptoRng;
use zeroize::Zeroizing;

use super::secret;
use crate::wire::Fail;

/// Says what a signature is for, so that one made for anything else does not fit.
pub const CONTEXT: &str = "convergia-login-v1";

/// Base64 as in RFC 4648, padded by us, with or without padding from others.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A fresh challenge: 64 hexadecimal digits, for one answer on one link.
pub fn challenge(rng: &mut (impl CryptoRng + ?Sized)) -> String {
    hex::encode(&secret::random::<32>(rng))
}

/// The bytes to sign. `user` is the name as LOGINKEY sent it, `fingerprint` and `challenge` are lower-case hexadecimal.
pub fn signed_text(user: &str, fingerprint: &str, challenge: &str) -> Vec<u8> {
    format!("{CONTEXT}\n{user}\n{fingerprint}\n{challenge}").into_bytes()
}

/// Whether `signature` is that of `text` by the key. Anything ill-formed is a no.
pub fn verify(public: &[u8; 32], text: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&signature::ED25519, public).verify(text, signature).is_ok()
}

/// A public key from its Base64; BADARGS otherwise.
pub fn parse_public(text: &str) -> Result<[u8; 32], Fail> {
    parse(text).ok_or_else(|| Fail::bad_args("a public key is 32 bytes in Base64"))
}

/// A signature from its Base64; BADARGS otherwise.
pub fn parse_signature(text: &str) -> Result<[u8; 64], Fail> {
    parse(text).ok_or_else(|| Fail::bad_args("a signature is 64 bytes in Base64"))
}

/// The Base64 of a public key or a signature.
pub fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

fn parse<const N: usize>(text: &str) -> Option<[u8; N]> {
    // The decoder allocates by the length of the text: so that is looked at first.
    if text.len() > N.div_ceil(3) * 4 {
        return None;
    }
    BASE64.decode(text).ok()?.try_into().ok()
}

/// For the client: a new key pair, as the secret seed and the public key.
pub fn generate() -> Result<(Zeroizing<[u8; 32]>, [u8; 32]), Fail> {
    let seed = Zeroizing::new(secret::system::<32>()?);
    let public = public_of(&seed)?;
    Ok((seed, public))
}

/// The public key of a seed.
pub fn public_of(seed: &[u8; 32]) -> Result<[u8; 32], Fail> {
    let pair = pair(seed)?;
    pair.public_key().as_ref().try_into().map_err(Fail::internal)
}

/// For the client: signs what [`signed_text`] made.
pub fn sign(seed: &[u8; 32], text: &[u8]) -> Result<[u8; 64], Fail> {
    let signature = pair(seed)?.try_sign(text).map_err(Fail::internal)?;
    signature.as_ref().try_into().map_err(Fail::internal)
}

fn pair(seed: &[u8; 32]) -> Result<Ed25519KeyPair, Fail> {
    Ed25519KeyPair::from_seed_unchecked(seed).map_err(Fail::internal)
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_text_is_fixed() {
        assert_eq!(signed_text("alice", "ab12", "cd34"), b"convergia-login-v1\nalice\nab12\ncd34");
    }

    #[test]
    fn a_signature_fits_its_text_and_key_only() {
        let (seed, public) = generate().unwrap();
        assert_eq!(public_of(&seed).unwrap(), public);
        let challenge = challenge(&mut StdRng::seed_from_u64(1));
        assert_eq!(challenge.len(), 64);
        let text = signed_text("alice", "ab12", &challenge);
        let signature = sign(&seed, &text).unwrap();
        assert!(verify(&public, &text, &signature));
        assert!(!verify(&public, &signed_text("bob", "ab12", &challenge), &signature));
        assert!(!verify(&public, &signed_text("alice", "ab13", &challenge), &signature));
        assert!(!verify(&generate().unwrap().1, &text, &signature));
        let mut broken = signature;
        broken[5] ^= 1;
        assert!(!verify(&public, &text, &broken));
        for bad in [&b""[..], &signature[..63], &[0; 64], &[0; 65]] {
            assert!(!verify(&public, &text, bad));
        }
    }

    /// RFC 8032, 7.1, test 1: other Ed25519 libraries understand us.
    #[test]
    fn a_known_signature() {
        let bytes = |text| hex::decode_32(text).unwrap();
        let seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
        let public = bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert_eq!(public_of(&seed).unwrap(), public);
        let head = bytes("e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155");
        assert_eq!(sign(&seed, b"").unwrap()[..32], head);
    }

    #[test]
    fn base64_both_ways() {
        let public = [9; 32];
        let text = to_base64(&public);
        assert_eq!(text.len(), 44);
        assert_eq!(parse_public(&text).unwrap(), public);
        assert_eq!(parse_public(text.trim_end_matches('=')).unwrap(), public);
        assert_eq!(parse_signature(&to_base64(&[3; 64])).unwrap(), [3; 64]);
        for bad in ["", "AAAA", &text[1..], "é", &to_base64(&[9; 33]), &to_base64(&[9; 31]), &"A".repeat(1000)] {
            assert!(parse_public(bad).is_err(), "{bad:?}");
        }
    }
}
