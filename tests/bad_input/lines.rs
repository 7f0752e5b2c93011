//! Lines that are no packets, or too long; IDs; newlines.

use std::time::Duration;

use convergia::wire::Code;

use crate::support;
use crate::support::raw::PATIENCE;
use crate::support::Answer;
use crate::support::Line;
use crate::support::Raw;
use crate::support::Server;

const PORTS: [&str; 4] = ["public_management", "client_management", "validation", "client_main"];

/// The last line is `-0 ERROR FAIL code …`, and behind it the connection is closed.
#[track_caller]
fn assert_thrown_out(link: &mut Raw, code: Code, what: &str) {
    let lines = link.read_to_close(PATIENCE);
    let last: &Line = lines.last().unwrap_or_else(|| panic!("{what}: closed without a word"));
    assert_eq!((last.id.as_str(), last.command.as_str()), ("-0", "ERROR"), "{what}: {lines:?}");
    assert_eq!(last.answer().code(), code, "{what}: {lines:?}");
}

#[test]
fn no_packet_is_badpacket_and_closed() {
    let server = Server::open();
    let long_id = format!("{} PING\n", "x".repeat(33));
    let bad: [&[u8]; 10] = [
        b"hello\n",
        b" PING\n",
        b"7 \n",
        b"7  PING\n",
        b"7~ PING\n",
        b"\xff\xfe PING\n",
        b"\x00\n",
        b"GET / HTTP/1.1\r\n",
        b"7 PI~NG\n",
        long_id.as_bytes(),
    ];
    for port in PORTS {
        for line in bad {
            let mut link = Raw::connect(&server.addr(port));
            link.send_bytes(&[b"1 PING\n", line].concat()).unwrap();
            assert_eq!(link.answer("1"), Answer::Ok(Vec::new()), "what came before is answered");
            assert_thrown_out(&mut link, Code::BadPacket, &format!("{port}: {}", line.escape_ascii()));
        }
    }
    let mut link = support::sign_on(&server, "alice");
    link.send_bytes(b"no-packet\n").unwrap();
    assert_thrown_out(&mut link, Code::BadPacket, "signed on");
    crate::assert_others_talk(&server, "lines");
}

#[test]
fn too_long_before_sign_on_is_toolong_and_closed() {
    let server = Server::open();
    for port in PORTS {
        for end in ["", "\n"] {
            let mut link = Raw::connect(&server.addr(port));
            link.send_bytes(format!("1 PING {}{end}", "x".repeat(4_200)).as_bytes()).unwrap();
            assert_thrown_out(&mut link, Code::TooLong, &format!("{port} {end:?}"));
        }
        let mut link = Raw::connect(&server.addr(port));
        // As long as may be: it is answered, one way or the other.
        link.send_bytes(format!("1 NOSUCHCOMMAND {}\n", "x".repeat(4_000)).as_bytes()).unwrap();
        assert_eq!(link.answer("1").code(), Code::BadCommand, "{port}");
        link.assert_alive();
    }
}

#[test]
fn a_mebibyte_after_sign_on_and_not_a_byte_more() {
    let server = Server::open();
    let mut from = support::sign_on(&server, "alice");
    let mut to = support::sign_on(&server, "bob");
    let overhead = "bob\n".len();
    // Escapes do not count: a body of nothing but `~` is twice as long on the wire.
    for byte in [b'x', b'~', b'\n'] {
        let body = vec![byte; (1 << 20) - overhead];
        let id = from.id();
        from.send(&id, "SENDMESSAGE", &[b"bob", &body]);
        let [_, _, got] = to.receive_command("RECEIVEMESSAGE").fields::<3>();
        assert!(got == body, "a body of {} came as {} bytes", byte.escape_ascii(), got.len());
        from.answer(&id).ok();
        from.assert_alive();
        to.assert_alive();
    }
    let body = vec![b'x'; (1 << 20) - overhead + 1];
    from.send("last", "SENDMESSAGE", &[b"bob", &body]);
    assert_thrown_out(&mut from, Code::TooLong, "one byte more");
    to.assert_alive();
}

#[test]
fn ids_of_the_other_side_and_id_0() {
    let server = Server::open();
    let mut link = Raw::connect(&server.addr("public_management"));
    // An answer to nothing: not answered, and the connection lives.
    link.send_bytes(b"-5 PING OK\n-6 NOSUCH FAIL WRONG\n-7 GARBAGE\n1 PING\n").unwrap();
    assert_eq!(link.read(PATIENCE).unwrap().unwrap().id, "1");
    // ID 0: only a FAIL is answered.
    link.send_bytes(b"0 PING\n0 NOSUCHCOMMAND\n2 PING\n").unwrap();
    let line = link.read(PATIENCE).unwrap().unwrap();
    assert_eq!((line.id.as_str(), line.answer().code()), ("0", Code::BadCommand));
    assert_eq!(link.read(PATIENCE).unwrap().unwrap().id, "2");
    // A FAIL is never answered with a FAIL.
    link.send_bytes(b"-0 ERROR FAIL BADPACKET x\n3 ERROR FAIL BADPACKET x\n4 PING\n").unwrap();
    assert_eq!(link.read(PATIENCE).unwrap().unwrap().id, "4");
}

#[test]
fn newlines_mixed_and_cut() {
    let server = Server::open();
    let mut link = Raw::connect(&server.addr("public_management"));
    let stream = b"\n\r\n1 PING\r\n2 PING\r3 PING\n\n\r\r\n4 PING \n";
    for byte in stream {
        link.send_bytes(&[*byte]).unwrap();
    }
    for id in ["1", "2", "3", "4"] {
        assert_eq!(link.read(PATIENCE).unwrap().unwrap().id, id);
    }
    link.send_bytes(b"5 PING\r").unwrap();
    assert_eq!(link.answer("5"), Answer::Ok(Vec::new()), "a CR alone ends a packet at once");
}

#[test]
fn order_holds_under_pipelining() {
    const COUNT: usize = 2_000;
    let server = Server::open();
    let mut from = support::sign_on(&server, "alice");
    let mut to = support::sign_on(&server, "bob");
    let mut random = support::Random::seeded();
    let reader = std::thread::spawn(move || {
        for n in 0..COUNT {
            let [_, _, got] = to.receive_command("RECEIVEMESSAGE").fields::<3>();
            assert_eq!(String::from_utf8(got).unwrap(), n.to_string());
        }
    });
    let mut stream = Vec::new();
    for n in 0..COUNT {
        let eol = ["\n", "\r", "\r\n"][random.below(3) as usize];
        stream.extend_from_slice(format!("m{n} SENDMESSAGE bob~\n{n}{eol}").as_bytes());
    }
    let mut rest = &stream[..];
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(700) as usize));
        from.send_bytes(piece).unwrap();
        rest = behind;
    }
    for n in 0..COUNT {
        from.answer(&format!("m{n}")).ok();
    }
    reader.join().expect("every message, in the order sent");
}

#[test]
fn a_peer_that_goes_in_the_middle_of_a_line_or_a_record() {
    let server = Server::open();
    for port in PORTS {
        for half in [&b"1 LOG"[..], b"1 LOGIN alice~", b"1 LOGIN alice~\n", b"~"] {
            let mut link = Raw::connect(&server.addr(port));
            link.send_bytes(half).unwrap();
        }
        // Half a TLS record: the first bytes of one, straight on the socket.
        let link = Raw::connect(&server.addr(port));
        std::io::Write::write_all(&mut link.tcp(), b"\x17\x03\x03\x40\x00half a record").unwrap();
        // No TLS inside TLS.
        let mut link = Raw::connect(&server.addr(port));
        std::io::Write::write_all(&mut link.tcp(), b"\x17\x03\x03\x00\x20this is not what the keys say!!!").unwrap();
        assert!(link.read_to_close(Duration::from_secs(30)).is_empty());
    }
    crate::assert_others_talk(&server, "halves");
}
