//! Random secrets, their hexadecimal form, and their hash.

use aws_lc_rs::digest;
use rand::CryptoRng;

use crate::wire::Fail;

/// `N` bytes from `rng`: the role's own generator, so that a simulation can be repeated.
pub fn random<const N: usize>(rng: &mut (impl CryptoRng + ?Sized)) -> [u8; N] {
    let mut bytes = [0; N];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// `N` bytes from the system. INTERNAL when the system has none.
pub fn system<const N: usize>() -> Result<[u8; N], Fail> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Fail::internal("no random bytes from the system"))?;
    Ok(bytes)
}

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]).collect()
}

/// 32 bytes from 64 hexadecimal digits of either case; `None` for anything else.
pub fn unhex32(text: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = text.as_bytes().try_into().ok()?;
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let value = u8::try_from(char::from(*digit).to_digit(16)?).ok()?;
            *byte = *byte << 4 | value;
        }
    }
    Some(bytes)
}

/// SHA-256. Enough for secrets that are random; passwords go to [`super::password`].
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_both_ways() {
        let bytes: [u8; 32] = system().unwrap();
        let text = hex(&bytes);
        assert_eq!(text.len(), 64);
        assert_eq!(unhex32(&text), Some(bytes));
        assert_eq!(unhex32(&text.to_uppercase()), Some(bytes));
        assert_eq!(hex(&[0, 0x9a, 0xff]), "009aff");
        for bad in ["", &text[1..], &format!("{text}0"), &text.replace(&text[0..1], "g"), &"é".repeat(32)] {
            assert_eq!(unhex32(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_known_hash() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&sha256(b"")), empty);
    }
}
