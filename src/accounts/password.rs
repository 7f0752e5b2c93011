//! Passwords: Argon2id, and a type that wipes itself.

use std::cell::RefCell;
use std::fmt;
use std::sync::OnceLock;

use argon2::password_hash::phc::Output;
use argon2::password_hash::phc::ParamsString;
use argon2::password_hash::phc::Salt;
use argon2::Algorithm;
use argon2::Argon2;
use argon2::Block;
use argon2::Params;
use argon2::PasswordHash;
use argon2::Version;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::secret;
use crate::wire::Fail;

/// The longest password, in bytes. Longer ones gain nothing and cost hashing time.
pub const MAX_PASSWORD: usize = 1024;

/// Argon2's memory in KiB: the least that is recommended together with two passes.
const MEMORY: u32 = 19 * 1024;
/// Argon2's passes.
const PASSES: u32 = 2;
/// Argon2's lanes. One, as each hash has one thread.
const LANES: u32 = 1;

/// A password on its way to being hashed. Its memory is overwritten when it is dropped, and it is never printed.
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Copies a password of 1 to [`MAX_PASSWORD`] bytes; BADARGS otherwise.
    pub fn new(bytes: &[u8]) -> Result<Password, Fail> {
        check(bytes)?;
        Ok(Password(Zeroizing::new(bytes.to_vec())))
    }

    /// The same for a password that somebody chooses: BADARGS also for a line feed, which CHANGEPASSWORD would take
    /// for the end of the old password.
    pub fn chosen(bytes: &[u8]) -> Result<Password, Fail> {
        if bytes.contains(&b'\n') {
            return Err(Fail::bad_args("a password has no line feed"));
        }
        Password::new(bytes)
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// What LOGIN takes for a token, a password cannot be.
pub const TOKEN_PREFIX: &[u8] = b"token:";

/// The rule for passwords: 1 to [`MAX_PASSWORD`] bytes, any bytes, but not [`TOKEN_PREFIX`] first. BADARGS otherwise.
pub fn check(bytes: &[u8]) -> Result<(), Fail> {
    match bytes.len() {
        _ if bytes.starts_with(TOKEN_PREFIX) => Err(Fail::bad_args("a password does not begin with token:")),
        0 => Err(Fail::bad_args("a password is not empty")),
        1..=MAX_PASSWORD => Ok(()),
        _ => Err(Fail::bad_args("a password is at most 1024 bytes long")),
    }
}

/// Hashes a password with a fresh salt: a PHC string (`$argon2id$v=19$m=19456,t=2,p=1$…`). About 30 ms and
/// 19 MiB, which the thread keeps: for a worker thread. BADARGS for what is no password.
pub fn hash(password: &[u8]) -> Result<String, Fail> {
    check(password)?;
    let salt: [u8; Salt::RECOMMENDED_LENGTH] = secret::system()?;
    let output = compute(params()?, password, &salt)?;
    phc(&salt, &*output)
}

/// Whether `password` is the one behind the PHC string; takes as long as [`hash`], whatever the answer.
/// A password that breaks the rule is answered at once: that tells nothing, as it never was anybody's.
pub fn verify(phc: &str, password: &[u8]) -> bool {
    if check(password).is_err() {
        return false;
    }
    let Ok(hash) = PasswordHash::new(phc) else { return false };
    let (Some(salt), Some(right), Ok(params)) = (&hash.salt, &hash.hash, Params::try_from(&hash)) else { return false };
    match compute(params, password, salt) {
        Ok(output) => output.ct_eq(right.as_ref()).into(),
        Err(_) => false,
    }
}

/// Argon2id in memory that the thread keeps for the next time: 19 MiB that come and go leave holes in the heap, and
/// the process grows with every sign-on.
fn compute(params: Params, password: &[u8], salt: &[u8]) -> Result<Zeroizing<[u8; Params::DEFAULT_OUTPUT_LEN]>, Fail> {
    thread_local! {
        static BLOCKS: RefCell<Vec<Block>> = const { RefCell::new(Vec::new()) };
    }
    let mut output = Zeroizing::new([0; Params::DEFAULT_OUTPUT_LEN]);
    BLOCKS.with_borrow_mut(|blocks| {
        blocks.resize(params.block_count(), Block::default());
        Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password_into_with_memory(password, salt, &mut *output, blocks.as_mut_slice())
            .map_err(Fail::internal)
    })?;
    Ok(output)
}

fn phc(salt: &[u8], output: &[u8]) -> Result<String, Fail> {
    let hash = PasswordHash {
        algorithm: argon2::ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(&params()?).map_err(Fail::internal)?,
        salt: Some(Salt::new(salt).map_err(Fail::internal)?),
        hash: Some(Output::new(output).map_err(Fail::internal)?),
    };
    Ok(hash.to_string())
}

/// A PHC string that no password fits, for users who do not exist: checking against it takes the same time.
/// Its hash is random rather than computed, so that not even the first call stands out.
pub fn dummy() -> &'static str {
    static DUMMY: OnceLock<String> = OnceLock::new();
    DUMMY.get_or_init(|| make_dummy().unwrap_or_default())
}

fn make_dummy() -> Result<String, Fail> {
    let salt: [u8; Salt::RECOMMENDED_LENGTH] = secret::system()?;
    let output: [u8; Params::DEFAULT_OUTPUT_LEN] = secret::system()?;
    phc(&salt, &output)
}

fn params() -> Result<Params, Fail> {
    Params::new(MEMORY, PASSES, LANES, None).map_err(Fail::internal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Code;

    #[test]
    fn right_and_wrong() {
        let phc = hash(b"correct horse").unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{phc}");
        assert!(verify(&phc, b"correct horse"));
        assert!(!verify(&phc, b"correct horsf"));
        assert!(!verify(&phc, b""));
        assert_ne!(hash(b"correct horse").unwrap(), phc, "each has its own salt");
    }

    /// The crate's own hasher and verifier, with memory of their own, agree with ours; also after other passwords.
    #[test]
    fn as_the_crate_does_it() {
        use argon2::PasswordHasher;
        use argon2::PasswordVerifier;
        let argon2 = || Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params().unwrap());
        for password in [&b"one"[..], b"two", b"one"] {
            assert!(argon2().verify_password(password, &PasswordHash::new(&hash(password).unwrap()).unwrap()).is_ok());
            let theirs = argon2().hash_password_with_salt(password, &[7; 16]).unwrap().to_string();
            assert!(verify(&theirs, password));
            assert!(!verify(&theirs, b"three"));
        }
    }

    #[test]
    fn a_chosen_password_can_be_used_everywhere() {
        assert!(Password::chosen(b"a token: x").is_ok());
        for bad in [&b"token:x"[..], b"a\nb", b""] {
            assert_eq!(Password::chosen(bad).unwrap_err().code, Code::BadArgs);
        }
    }

    #[test]
    fn any_bytes_within_the_limits() {
        for good in [&b"x"[..], &[0, 255, 10], &[7; MAX_PASSWORD]] {
            assert!(Password::new(good).is_ok_and(|p| p.bytes() == good));
        }
        for bad in [&b""[..], &[7; MAX_PASSWORD + 1]] {
            assert_eq!(Password::new(bad).unwrap_err().code, Code::BadArgs);
            assert_eq!(hash(bad).unwrap_err().code, Code::BadArgs);
        }
    }

    #[test]
    fn the_dummy_costs_the_same_and_fits_nothing() {
        let head = |phc: &str| phc.split('$').take(4).map(str::to_owned).collect::<Vec<_>>();
        let real = hash(b"x").unwrap();
        assert_eq!(head(dummy()), head(&real));
        assert_eq!(dummy().len(), real.len());
        assert_eq!(dummy(), dummy());
        assert!(PasswordHash::new(dummy()).is_ok());
        assert!(!verify(dummy(), b"x"));
    }

    #[test]
    fn what_is_no_hash_fits_nothing() {
        for phc in ["", "x", "$argon2id$v=19$m=19456,t=2,p=1$", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ"] {
            assert!(!verify(phc, b"x"));
        }
    }

    #[test]
    fn never_printed() {
        assert_eq!(format!("{:?}", Password::new(b"hunter").unwrap()), "Password(..)");
    }
}
