//! A server's identity: an X25519 key, sealed boxes to it, and keys that two servers share.

use std::fmt;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::agreement;
use aws_lc_rs::hmac;
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use crypto_box::aead::rand_core;
use rand::Rng;
use zeroize::Zeroizing;

use super::files;

/// The file in the data folder that holds the key, in Base64.
pub const FILE: &str = "server-key";
/// How much longer a sealed box is than what is in it.
pub const SEAL: usize = 48;

/// A server's public key: 32 bytes; Base64 as text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// From 32 bytes in Base64. None for anything else, and for the few points with which every secret is the same.
    pub fn parse(text: &str) -> Option<PublicKey> {
        PublicKey::new(STANDARD.decode(text).ok()?.try_into().ok()?)
    }

    /// From 32 bytes, as `parse`.
    pub fn new(bytes: [u8; 32]) -> Option<PublicKey> {
        // Whichever key is on this side: aws-lc refuses a shared secret that is zero.
        let probe = ServerKey::from_bytes(&[1; 32]);
        probe.agree(&PublicKey(bytes)).map(|_| PublicKey(bytes))
    }

    /// A box that only the owner of this key can open, and nobody can tell from whom it is.
    pub fn seal(&self, rng: &mut impl Rng, plain: &[u8]) -> Option<Vec<u8>> {
        crypto_box::PublicKey::from_bytes(self.0).seal(&mut OldRng(rng), plain).ok()
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&STANDARD.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A server's own key. Clones share it; the last one wipes it from memory.
#[derive(Clone)]
pub struct ServerKey {
    secret: Arc<Secret>,
    public: PublicKey,
}

struct Secret {
    bytes: Zeroizing<[u8; 32]>,
    /// Made once, as every drop of one would leave a copy on the stack: it wipes its scalar, not its bytes.
    boxes: crypto_box::SecretKey,
}

impl ServerKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: &[u8; 32]) -> ServerKey {
        let boxes = crypto_box::SecretKey::from_bytes(*bytes);
        let public = PublicKey(*boxes.public_key().as_bytes());
        ServerKey { secret: Arc::new(Secret { bytes: Zeroizing::new(*bytes), boxes }), public }
    }

    /// The key in `data_dir`, made at the first call (0600). Two processes that make it at once get the same.
    ///
    /// # Errors
    /// In words, with the file's name.
    pub fn load(data_dir: &Path) -> Result<ServerKey, String> {
        let path = data_dir.join(FILE);
        let fail = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
        let text = match fs::read(&path).map(Zeroizing::new) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                files::create_folder(data_dir).map_err(|error| format!("{}: {error}", data_dir.display()))?;
                let mut secret = Zeroizing::new([0; 32]);
                aws_lc_rs::rand::fill(secret.as_mut()).map_err(|_| "no random bytes from the system".to_owned())?;
                let text = Zeroizing::new(STANDARD.encode(*secret));
                files::create(&path, text.as_bytes(), 0o600).map_err(|error| fail(&error))?;
                Zeroizing::new(fs::read(&path).map_err(|error| fail(&error))?)
            }
            Err(error) => return Err(fail(&error)),
        };
        let secret = STANDARD.decode(text.trim_ascii()).map(Zeroizing::new).ok();
        let secret = secret.and_then(|secret| <[u8; 32]>::try_from(secret.as_slice()).map(Zeroizing::new).ok());
        secret.map(|secret| ServerKey::from_bytes(&secret)).ok_or_else(|| fail(&"holds no key of 32 bytes in Base64"))
    }

    /// What others know this server by.
    pub fn public(&self) -> PublicKey {
        self.public
    }

    /// Opens a sealed box.
    pub fn open(&self, sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        self.secret.boxes.unseal(sealed).map(Zeroizing::new).ok()
    }

    /// The secret that this server and the owner of `peer` share, and nobody else.
    fn agree(&self, peer: &PublicKey) -> Option<Zeroizing<[u8; 32]>> {
        let own = agreement::PrivateKey::from_private_key(&agreement::X25519, self.secret.bytes.as_slice()).ok()?;
        let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, &peer.0);
        agreement::agree(&own, peer, (), |shared| <[u8; 32]>::try_from(shared).map(Zeroizing::new).map_err(|_| ())).ok()
    }

    /// A key for HMAC that this server and the owner of `peer` can compute, and nobody else; another for every `purpose`.
    /// HKDF-SHA256 (RFC 5869) without salt, of their X25519 secret; info: `purpose`, a zero byte, both public keys, the lesser
    /// first. None: `peer` is no good key.
    pub fn mac_key(&self, peer: &PublicKey, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        let shared = self.agree(peer)?;
        let (first, second) = (self.public.min(*peer), self.public.max(*peer));
        derive(&shared, &[purpose.as_bytes(), &[0], &first.0, &second.0])
    }

    /// A key for HMAC that this server alone can compute, after every start the same; another for every `purpose`.
    /// HKDF-SHA256 (RFC 5869) without salt, of the secret key; info: `purpose`, a zero byte, the public key.
    pub fn own_key(&self, purpose: &str) -> Option<Zeroizing<[u8; 32]>> {
        derive(&self.secret.bytes, &[purpose.as_bytes(), &[0], &self.public.0])
    }

    /// The seed of the Ed25519 key with which packets of voice channels are signed: `own_key` of the purpose `voice`.
    pub fn voice_seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        self.own_key("voice")
    }
}

/// HKDF-SHA256 without salt, for 32 bytes; `info` in parts.
fn derive(secret: &Zeroizing<[u8; 32]>, info: &[&[u8]]) -> Option<Zeroizing<[u8; 32]>> {
    let extracted = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[0; 32]), secret.as_slice());
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, extracted.as_ref()));
    info.iter().for_each(|part| context.update(part));
    context.update(&[1]);
    <[u8; 32]>::try_from(context.sign().as_ref()).map(Zeroizing::new).ok()
}

impl fmt::Debug for ServerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerKey({})", self.public)
    }
}

/// A generator of today for a crate that knows those of yesterday.
struct OldRng<'a, R>(&'a mut R);

impl<R: Rng> rand_core::RngCore for OldRng<'_, R> {
    fn next_u32(&mut self) -> u32 {
        self.0.next_u32()
    }

    fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.0.fill_bytes(bytes);
        Ok(())
    }
}

impl<R: Rng> rand_core::CryptoRng for OldRng<'_, R> {}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::SeedableRng;

    use super::*;
    use crate::wire::hex;

    fn keys() -> (ServerKey, ServerKey) {
        (ServerKey::from_bytes(&[7; 32]), ServerKey::from_bytes(&[9; 32]))
    }

    /// Made with libsodium's crypto_box_seal.
    #[test]
    fn a_box_of_libsodium() {
        let (alice, bob) = keys();
        assert_eq!(alice.public().to_string(), "E75P6uryBMf9M1j8nAByGIHRdCeBKCJ+xnTzf3/pe20=");
        let sealed = STANDARD
            .decode("JDlR4lO4g6+98SRKARH6yh5TnkbzHaVP+Zk+5KCGyU/JI9gxIZbjWdYkjeTE6XhAdRjxJG13WNA76uqINtygwcKzpQ==")
            .unwrap();
        assert_eq!(alice.open(&sealed).as_deref().map(Vec::as_slice), Some(&b"sealed by libsodium"[..]));
        assert!(bob.open(&sealed).is_none());
    }

    #[test]
    fn a_box_is_opened_by_its_owner_alone() {
        let (alice, bob) = keys();
        let mut rng = StdRng::seed_from_u64(1);
        let sealed = alice.public().seal(&mut rng, b"words").unwrap();
        assert_eq!(sealed.len(), 5 + SEAL);
        assert_eq!(alice.open(&sealed).as_deref().map(Vec::as_slice), Some(&b"words"[..]));
        assert!(bob.open(&sealed).is_none());
        for at in 0..sealed.len() {
            let mut bent = sealed.clone();
            bent[at] ^= 1;
            assert!(alice.open(&bent).is_none(), "{at}");
            assert!(alice.open(&sealed[..at]).is_none(), "{at}");
        }
        assert_ne!(alice.public().seal(&mut rng, b"words").unwrap(), sealed, "never the same twice");
    }

    #[test]
    fn both_sides_have_one_key_for_each_purpose() {
        let (alice, bob) = keys();
        let key = alice.mac_key(&bob.public(), "relay").unwrap();
        assert_eq!(key, bob.mac_key(&alice.public(), "relay").unwrap());
        assert_ne!(key, alice.mac_key(&bob.public(), "other").unwrap());
        assert_ne!(key, alice.mac_key(&alice.public(), "relay").unwrap());
        let own = alice.own_key("relay").unwrap();
        assert_eq!(own, ServerKey::from_bytes(&[7; 32]).own_key("relay").unwrap(), "after a restart too");
        assert!(![alice.own_key("other"), bob.own_key("relay"), alice.voice_seed(), Some(key)].contains(&Some(own)));
        assert_ne!(alice.voice_seed().unwrap(), bob.voice_seed().unwrap());
    }

    #[test]
    fn keys_as_text() {
        let (alice, _) = keys();
        assert_eq!(PublicKey::parse(&alice.public().to_string()), Some(alice.public()));
        for bad in ["", "AAAA", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 32]), &hex::encode(&alice.public().0)] {
            assert_eq!(PublicKey::parse(bad), None, "{bad}");
        }
        assert!(!format!("{alice:?}").contains(&STANDARD.encode([7; 32])));
    }
}
