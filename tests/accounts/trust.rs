//! Whom a client believes (contract 2): pins, VALIDATEKEY, TLS 1.3 alone.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use convergia::client::Address;
use convergia::client::Client;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::engine::rt;
use convergia::wire::Code;

use crate::assert_fails;
use crate::support;
use crate::support::sign_on::ticket;
use crate::support::sign_on::PASSWORD;
use crate::support::Raw;
use crate::support::Server;

#[test]
fn validatekey_knows_the_certificate_of_each_server() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    let main = ticket(&server, "alice");
    assert_ne!(main.fingerprint, server.fingerprint(), "each role has a certificate of its own");
    let mut link = Raw::connect(&server.addr("validation"));
    link.ask("VALIDATEKEY", &[&main.server_id, &main.fingerprint]).ok();
    assert_fails(&link.ask("VALIDATEKEY", &[&main.server_id, &server.fingerprint()]), Code::Wrong);
    assert_fails(&link.ask("VALIDATEKEY", &[&main.server_id, &"0".repeat(64)]), Code::Wrong);
    assert_fails(&link.ask("VALIDATEKEY", &["nobody", &main.fingerprint]), Code::Wrong);
    for bad in ["", "00", &"g".repeat(64), &main.fingerprint[1..]] {
        assert_fails(&link.ask("VALIDATEKEY", &[&main.server_id, bad]), Code::BadArgs);
    }
}

#[test]
fn a_client_with_a_wrong_pin_says_nothing() {
    let server = Server::open();
    support::register_open(&server, "alice", PASSWORD);
    let right: Address = server.url().parse().expect("an address");
    let options = |fingerprint| Options {
        reconnect: false,
        ..Options::new(
            Address { fingerprint, ..right.clone() },
            "alice".into(),
            Secret::Password(PASSWORD.to_owned().into()),
        )
    };
    let refused = |fingerprint| rt::block_on(Client::sign_on(options(fingerprint))).err().expect("refused");
    assert_eq!(refused(Some([7; 32])).code, Code::Unavailable);
    // Without a pin, a public CA must have signed the certificate, and none has.
    assert_eq!(refused(None).code, Code::Unavailable);
    let status = support::admin(&server, &["status"]);
    assert!(!server.log().contains("alice signed on"), "{status}");
    rt::block_on(Client::sign_on(options(right.fingerprint))).expect("signed on");
    server.wait_for_log("alice signed on");
}

/// A ClientHello that offers TLS 1.2 and nothing newer, as OpenSSL of old would send it.
fn hello_of_tls_1_2() -> Vec<u8> {
    fn block(length_bytes: usize, content: &[u8]) -> Vec<u8> {
        let length = u32::try_from(content.len()).expect("short").to_be_bytes();
        [&length[4 - length_bytes..], content].concat()
    }
    let extension = |kind: u8, content: &[u8]| [&[0, kind][..], &block(2, content)].concat();
    let extensions = [
        extension(10, &block(2, &[0, 29, 0, 23])),
        extension(11, &block(1, &[0])),
        extension(13, &block(2, &[4, 3, 8, 4, 8, 7])),
        extension(23, &[]),
    ]
    .concat();
    let hello = [
        &[3, 3][..],
        &[42; 32],
        &block(1, &[]),
        &block(2, &[0xc0, 0x2b, 0xc0, 0x2f, 0xcc, 0xa9]),
        &block(1, &[0]),
        &block(2, &extensions),
    ]
    .concat();
    let handshake = [&[1][..], &block(3, &hello)].concat();
    [&[22, 3, 1][..], &block(2, &handshake)].concat()
}

#[test]
fn tls_1_2_is_refused_on_every_port() {
    let server = Server::open();
    for key in server.tls_listeners() {
        let mut tcp = TcpStream::connect(server.addr(&key)).expect("a connection");
        tcp.set_read_timeout(Some(Duration::from_secs(20))).expect("a time-out");
        tcp.write_all(&hello_of_tls_1_2()).expect("sent");
        let mut answer = Vec::new();
        tcp.read_to_end(&mut answer).unwrap_or_else(|error| panic!("{key}: not closed ({error})"));
        // A fatal alert, protocol_version (RFC 8446, 6.2).
        assert_eq!(answer.get(..7), Some(&[21, 3, 3, 0, 2, 2, 70][..]), "{key}: {answer:?}");
    }
}
