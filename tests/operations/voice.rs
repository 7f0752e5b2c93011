//! The ports of voice in a process: KV from its TCP port to UDP, and together with sessions.

use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::net::UdpSocket;

use convergia::voice::control::Answer as Kv;
use convergia::voice::control::Command;
use convergia::voice::control::Error;
use convergia::voice::control::Request;
use convergia::voice::PACKET;

use crate::support;
use crate::support::Server;
use crate::PATIENCE;

fn ask(server: &Server, command: Command) -> Kv {
    let request = Request::unsigned(command);
    let mut tcp = TcpStream::connect(server.addr("voice_control")).expect("a connection");
    tcp.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    tcp.write_all(&request.encode()).expect("sent");
    let mut bytes = Vec::new();
    tcp.read_to_end(&mut bytes).expect("an answer, and the end");
    Kv::decode(&request, &bytes).expect("an answer").expect("all of it")
}

fn value(server: &Server, command: Command) -> u64 {
    match ask(server, command) {
        Kv::Value(value) => value,
        other => panic!("{command:?}: {other:?}"),
    }
}

fn datagram(uid: u64, text: &str) -> [u8; PACKET] {
    let mut packet = [0; PACKET];
    packet[..8].copy_from_slice(&uid.to_le_bytes());
    packet[8..10].copy_from_slice(&u16::try_from(text.len()).expect("short").to_le_bytes());
    packet[16..16 + text.len()].copy_from_slice(text.as_bytes());
    packet
}

/// A member by UDP: its socket, bound by a first packet.
fn member(server: &Server, uid: u64, chid: u64) -> UdpSocket {
    let port = u16::try_from(value(server, Command::Join { uid, juid: uid, chid })).expect("a port");
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    socket.connect(("127.0.0.1", port)).expect("an address");
    socket.send(&datagram(uid, "")).expect("sent");
    socket
}

/// The next datagram that says something.
fn heard(socket: &UdpSocket) -> [u8; PACKET] {
    loop {
        let mut packet = [0; PACKET];
        assert_eq!(socket.recv(&mut packet).expect("a datagram"), PACKET);
        if packet[8..10] != [0, 0] {
            return packet;
        }
    }
}

#[test]
fn clients_of_kv_and_sessions_hear_each_other() {
    let server = Server::start(&[
        "--set",
        "management.registration=open",
        "--set",
        "voice.default_rights=[\"add_channel\", \"add_user\"]",
    ]);
    let (one, other) = (Command::Register { auid: 0, rights: 0 }, Command::Register { auid: 0, rights: 0 });
    let (one, other) = (value(&server, one), value(&server, other));
    assert_eq!(ask(&server, Command::GetChannels), Kv::Channels(Vec::new()));
    let chid = value(&server, Command::Create { uid: one });
    assert_eq!(ask(&server, Command::Delete { uid: other, chid }), Kv::Failed(Error::Access));
    let (first, second) = (member(&server, one, chid), member(&server, other, chid));
    // What the second has said before it was bound here is known once the first hears it.
    second.send(&datagram(other, "here")).expect("sent");
    assert_eq!(heard(&first), datagram(other, "here"));
    first.send(&datagram(one, "hello")).expect("sent");
    assert_eq!(heard(&second), datagram(one, "hello"));
    // A session, over its link.
    let mut alice = support::sign_on(&server, "alice");
    let joined = alice.ask("JOINVOICE", &[&chid.to_string(), "link"]).text();
    assert_eq!(joined.lines().count(), 4, "{joined}");
    let uid: u64 = joined.split('|').nth(1).expect("a uid").parse().expect("a number");
    first.send(&datagram(one, "to alice")).expect("sent");
    let line = alice.receive_command("VOICE");
    let text = String::from_utf8_lossy(&line.data).into_owned();
    assert!(text.starts_with(&format!("{chid}|{one}~\n")) && text.ends_with("to alice"), "{text}");
    alice.send("0", "VOICE", &[chid.to_string().as_bytes(), &datagram(uid, "from alice")[8..26]]);
    for socket in [&first, &second] {
        let packet = loop {
            let packet = heard(socket);
            if packet[..8] == uid.to_le_bytes() {
                break packet;
            }
        };
        assert_eq!(packet, datagram(uid, "from alice"));
    }
    // The end of the channel.
    assert_eq!(value(&server, Command::Delete { uid: one, chid }), chid);
    assert_eq!(alice.receive_command("VOICEENDED").data, format!("{chid}~\ndeleted").into_bytes());
    assert_eq!(ask(&server, Command::GetPort { chid }), Kv::Failed(Error::Value));
}
