//! The control side of KV, by hand: big-endian numbers, one request a connection, one answer.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::net::TcpStream;

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;

use crate::support::sign_on::login_link;
use crate::support::sign_on::register_if_new;
use crate::support::sign_on::PASSWORD;
use crate::support::Server;
use crate::PATIENCE;

pub const CREATE: u32 = 0;
pub const DELETE: u32 = 1;
pub const JOIN: u32 = 2;
pub const LEAVE: u32 = 3;
pub const REGISTER: u32 = 4;
pub const UNREGISTER: u32 = 5;
pub const GET_PORT: u32 = 6;
pub const GET_CHANNELS: u32 = 7;
/// Added to a type: signed.
pub const SIGNED: u32 = 16;

/// The errors of KV.
pub const SERVER: u32 = 1;
pub const VALUE: u32 = 2;
pub const TOO_FEW: u32 = 3;
pub const ACCESS: u32 = 4;
pub const NOT_IMPLEMENTED: u32 = 5;

/// How many fields each command has.
pub const FIELDS: [usize; 8] = [1, 2, 3, 3, 2, 2, 1, 0];

/// A request that is not signed, exactly as long as it must be.
pub fn request(kind: u32, fields: &[u64]) -> Vec<u8> {
    let mut bytes = kind.to_be_bytes().to_vec();
    for field in fields {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
    bytes
}

/// As the original client sends it: 32 bytes behind the type, whatever the type needs.
pub fn padded(kind: u32, fields: &[u64]) -> Vec<u8> {
    let mut bytes = request(kind, fields);
    bytes.resize(36, 0);
    bytes
}

/// How a failure looks.
pub fn failure(error: u32) -> Vec<u8> {
    [&[0; 8][..], &error.to_be_bytes()].concat()
}

/// A key of an account, and the counter of its requests.
pub struct Key {
    pub pair: Ed25519KeyPair,
    pub counter: u64,
}

impl Key {
    /// One that nobody knows yet.
    pub fn new() -> Key {
        Key { pair: Ed25519KeyPair::generate().expect("a key"), counter: 0 }
    }

    /// One that this account names as its own; the account is made if there is none.
    pub fn of(management: &Server, user: &str) -> Key {
        let key = Key::new();
        register_if_new(management, user);
        let text = convergia::accounts::keys::to_base64(key.pair.public_key().as_ref());
        login_link(management, user, PASSWORD).0.ask("ADDKEY", &["voice", &text]).ok();
        key
    }

    /// The next request with this key. `kind` without what signed adds.
    pub fn sign(&mut self, kind: u32, fields: &[u64]) -> Vec<u8> {
        self.counter += 1;
        let mut bytes = request(SIGNED + kind, fields);
        if kind == REGISTER {
            bytes.extend_from_slice(self.pair.public_key().as_ref());
        }
        bytes.extend_from_slice(&self.counter.to_be_bytes());
        let signature = self.pair.sign(&bytes);
        bytes.extend_from_slice(signature.as_ref());
        bytes
    }

    /// The voice user of the key's account.
    #[track_caller]
    pub fn register(&mut self, address: &str) -> u64 {
        number(&send(address, &self.sign(REGISTER, &[0, 0])))
    }
}

/// A connection to voice control.
#[track_caller]
pub fn connect(address: &str) -> TcpStream {
    let tcp = TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    tcp.set_nodelay(true).expect("no delay");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    tcp.set_write_timeout(Some(PATIENCE)).expect("a time-out");
    tcp
}

/// All that comes until the server closes.
#[track_caller]
pub fn answer(mut tcp: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).expect("an answer, and the end");
    bytes
}

/// Sends these bytes, and nothing more; the whole answer.
#[track_caller]
pub fn send(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = connect(address);
    tcp.write_all(bytes).expect("sent");
    answer(tcp)
}

/// The same, and says that this was all.
#[track_caller]
pub fn send_and_end(address: &str, bytes: &[u8]) -> Vec<u8> {
    let mut tcp = connect(address);
    tcp.write_all(bytes).expect("sent");
    match tcp.shutdown(Shutdown::Write) {
        // It was answered and closed before.
        Err(error) if error.kind() == ErrorKind::NotConnected => {}
        ended => ended.expect("half closed"),
    }
    answer(tcp)
}

/// What was done, in an answer of one number.
#[track_caller]
pub fn number(answer: &[u8]) -> u64 {
    let number: [u8; 8] = answer.try_into().unwrap_or_else(|_| panic!("not one number: {answer:?}"));
    let number = u64::from_be_bytes(number);
    assert_ne!(number, 0, "a failure without an error");
    number
}

/// Which error it is.
#[track_caller]
pub fn error(answer: &[u8]) -> u32 {
    let whole: [u8; 12] = answer.try_into().unwrap_or_else(|_| panic!("no failure: {answer:?}"));
    let (zero, error) = whole.split_at(8);
    assert_eq!(zero, [0; 8], "no failure: {answer:?}");
    u32::from_be_bytes(error.try_into().expect("four bytes"))
}

/// Asks what is not signed, as the original client does, and is done.
#[track_caller]
pub fn done(address: &str, kind: u32, fields: &[u64]) -> u64 {
    number(&send(address, &padded(kind, fields)))
}

/// The same, which fails.
#[track_caller]
pub fn fails(address: &str, kind: u32, fields: &[u64]) -> u32 {
    error(&send(address, &padded(kind, fields)))
}

/// A new user.
#[track_caller]
pub fn user(address: &str) -> u64 {
    done(address, REGISTER, &[0, 0])
}

/// The ids of GET_CHANNELS.
#[track_caller]
pub fn channels(address: &str) -> Vec<u64> {
    let answer = send(address, &padded(GET_CHANNELS, &[]));
    assert_eq!(answer.len() % 8, 0, "{answer:?}");
    let all: Vec<u64> =
        answer.chunks_exact(8).map(|eight| u64::from_be_bytes(eight.try_into().expect("eight"))).collect();
    let [count, ids @ .., 0] = &all[..] else { panic!("no list: {all:?}") };
    assert_eq!(usize::try_from(*count).expect("a count"), ids.len(), "{all:?}");
    ids.to_vec()
}
