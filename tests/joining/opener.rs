//! The opener's side of the server handshake, step by step, so that each step can be spoiled.

use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use convergia::engine::identity::PublicKey;
use convergia::engine::identity::ServerKey;
use convergia::wire::hex;
use convergia::wire::Code;
use rand::rngs::StdRng;
use rand::SeedableRng;

use crate::support;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;
use crate::PATIENCE;

/// A link to `main_management`, and what HELLO was answered on it.
pub struct Opener {
    pub link: Raw,
    pub random: Vec<u8>,
    pub target: PublicKey,
    pub binding: Vec<u8>,
}

/// The key of tests: `seed` 32 times.
pub fn key(seed: u8) -> ServerKey {
    ServerKey::from_bytes(&[seed; 32])
}

/// Adds a server with that key.
#[track_caller]
pub fn add(server: &Server, name: &str, key: &ServerKey) {
    support::admin(server, &["add-server", name, "main", &key.public().to_string()]);
}

/// A box in Base64.
pub fn sealed(to: &PublicKey, plain: &[u8]) -> String {
    // What is random in it is nothing that a test depends on.
    STANDARD.encode(to.seal(&mut StdRng::seed_from_u64(plain.len() as u64), plain).expect("a sealed box"))
}

impl Opener {
    /// HELLO, with the key that the target knows for that name.
    #[track_caller]
    pub fn hello(server: &Server, name: &str, key: &ServerKey) -> Opener {
        Opener::hello_at(server, "main_management", name, key)
    }

    /// The same on another port.
    #[track_caller]
    pub fn hello_at(server: &Server, port: &str, name: &str, key: &ServerKey) -> Opener {
        let mut link = Raw::connect(&server.addr(port));
        let offer = link.ask("HELLO", &[name]).text();
        let plain = key.open(&STANDARD.decode(&offer).expect("Base64")).expect("sealed to this key");
        assert_eq!((offer.len(), plain.len()), (192, 96));
        let target = PublicKey::new(plain[32..64].try_into().expect("32 bytes")).expect("a key");
        assert_eq!(hex::encode(&plain[64..]), link.fingerprint(), "the binding is the certificate of this link");
        Opener { link, random: plain[..32].to_vec(), target, binding: plain[64..].to_vec() }
    }

    /// What PROVE has to say.
    pub fn proof(&self) -> String {
        sealed(&self.target, &[&self.random[..], &self.binding].concat())
    }

    /// The whole handshake; the link is proven after it.
    #[track_caller]
    pub fn prove(server: &Server, name: &str, key: &ServerKey) -> Raw {
        Opener::prove_at(server, "main_management", name, key)
    }

    /// The same on another port.
    #[track_caller]
    pub fn prove_at(server: &Server, port: &str, name: &str, key: &ServerKey) -> Raw {
        let mut opener = Opener::hello_at(server, port, name, key);
        let proof = opener.proof();
        assert_eq!(opener.link.ask("PROVE", &[&proof]), Answer::Ok(Vec::new()));
        opener.link
    }
}

/// The answer is DENIED with the words that every cause has, and then the server closes.
#[track_caller]
pub fn assert_denied(mut link: Raw, command: &str, data: &str) {
    let answer = link.ask(command, &[data]);
    assert_eq!(answer, Answer::Fail(Code::Denied, "not a server of this network".into()), "{command} {data}");
    assert!(link.read_to_close(PATIENCE).is_empty());
}

/// What a main server says of itself.
pub fn introduce(link: &mut Raw, name: &str, key: &ServerKey) -> Answer {
    let (print, key) = (link.fingerprint().to_owned(), key.public().to_string());
    link.ask("MAINSERVER", &[name, name, "127.0.0.1:1", &print, "127.0.0.1:2", &key, "1795267830112"])
}
