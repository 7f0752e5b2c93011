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
    fn a_known_hash() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(crate::wire::hex::encode(&sha256(b"")), empty);
    }
}
