//! The port with real sockets, under a role that says what it was asked.

use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::Shutdown;
use std::net::TcpStream;
use std::sync::mpsc;
use std::sync::Arc;

use super::*;
use crate::engine::command::anyone;
use crate::engine::limits::Limits;
use crate::engine::net::Registry;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::Later;
use crate::voice::control;
use crate::wire::Code;
use crate::wire::Fail;

/// How long a test waits for what has to come.
const LONG: Duration = Duration::from_secs(30);

/// Tells what it was asked, and does what the uid says.
struct Desk {
    asked: mpsc::Sender<Vec<u8>>,
    gone: mpsc::Sender<Gone<()>>,
    later: Vec<Later>,
}

const ROWS: &[Command<Desk>] = &[Command {
    name: "VOICECONTROL",
    ports: &[PortKey::VoiceControl],
    args: "request",
    gate: anyone,
    run: |role, ctx, request| {
        let data = request.data().unescape().into_owned();
        let _ = role.asked.send(data.clone());
        let Ok(Some((asked, length))) = Request::decode(&data) else {
            return Err(Fail::new(Code::Internal, "not whole"));
        };
        assert_eq!(length, data.len());
        match asked.command.asker() {
            Some(1) => Err(Fail::new(Code::Denied, "no")),
            Some(2) => Ok(crate::engine::Answer::Ok),
            Some(3) => {
                role.later.push(request.later());
                Ok(crate::engine::Answer::Later)
            }
            Some(4) => {
                ctx.close(request.link, "the server stops");
                Ok(crate::engine::Answer::None)
            }
            Some(_) => Ok(crate::engine::Answer::Data(Answer::Value(0x7E0A_0D7E).encode())),
            // Large, and full of bytes that are escaped.
            None => Ok(crate::engine::Answer::Data(Answer::Channels(vec![0x7E7E_0A0A_0D0D_7E7E; 100_000]).encode())),
        }
    },
}];

impl Role for Desk {
    type Peer = ();
    const NAME: &'static str = "desk";

    fn commands() -> &'static [Command<Desk>] {
        ROWS
    }

    fn closed(&mut self, _: &mut Ctx<Desk>, _: LinkId, gone: Gone<()>) {
        let _ = self.gone.send(gone);
    }
}

struct Server {
    handle: Handle<Desk>,
    address: SocketAddr,
    asked: mpsc::Receiver<Vec<u8>>,
    gone: mpsc::Receiver<Gone<()>>,
    _listening: Listening,
}

impl Server {
    fn new() -> Server {
        Server::with(Limits::default())
    }

    fn with(limits: Limits) -> Server {
        let ((asked, asked_end), (gone, gone_end)) = (mpsc::channel(), mpsc::channel());
        let desk = Desk { asked, gone, later: Vec::new() };
        let handle = Handle::new(desk, limits, 1, None, &Arc::new(Registry::default())).unwrap();
        let (address, listening) = listen_kv(&handle, (Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Server { handle, address, asked: asked_end, gone: gone_end, _listening: listening }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends all this and reads to the end, which must come in order: not by a reset.
    fn ask(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        answer(&mut stream)
    }
}

fn answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    answer
}

fn failed(error: Error) -> Vec<u8> {
    Answer::Failed(error).encode()
}

fn leave(uid: u64) -> Request {
    // Bytes that are escaped in packets.
    Request::unsigned(control::Command::Leave { uid, luid: 0x7E0A_0D7E_0A0D_7E7E, chid: 0x0A0A_0A0A })
}

#[test]
fn one_request_one_answer() {
    let server = Server::new();
    let request = leave(9).encode();
    assert_eq!(server.ask(&request), 0x7E0A_0D7E_u64.to_be_bytes());
    assert_eq!(server.asked.recv_timeout(LONG).unwrap(), request, "as it was sent");
    assert_eq!(server.gone.recv_timeout(LONG).unwrap().port, PortKey::VoiceControl);
    assert_eq!(server.ask(&leave(1).encode()), failed(Error::Access));
    assert_eq!(server.ask(&leave(2).encode()), failed(Error::Server), "an OK must say something");
    assert_eq!(server.ask(&leave(4).encode()), failed(Error::Server), "the server stops");
}

#[test]
fn a_signed_request() {
    let server = Server::new();
    let pair = aws_lc_rs::signature::Ed25519KeyPair::from_seed_unchecked(&[6; 32]).unwrap();
    let command = control::Command::Register { auid: 9, rights: 0 };
    let request = Request::signed(command, 0x0A0D_7E0A, &pair).encode();
    assert_eq!(request.len(), 124);
    assert_eq!(server.ask(&request).len(), 8);
    assert_eq!(server.asked.recv_timeout(LONG).unwrap(), request);
}

#[test]
fn a_large_answer_comes_whole() {
    let server = Server::new();
    let request = Request::unsigned(control::Command::GetChannels);
    let bytes = server.ask(&request.encode());
    let channels = Answer::Channels(vec![0x7E7E_0A0A_0D0D_7E7E; 100_000]);
    assert!(Answer::decode(&request, &bytes) == Ok(Some(channels)), "{} bytes", bytes.len());
}

#[test]
fn a_request_in_pieces() {
    let server = Server::new();
    let request = leave(9).encode();
    for step in [1, 3, 27] {
        let mut stream = server.connect();
        for piece in request.chunks(step) {
            // Each in a segment of its own: there is no delay.
            stream.write_all(piece).unwrap();
        }
        assert_eq!(answer(&mut stream).len(), 8, "{step}");
        assert_eq!(server.asked.recv_timeout(LONG).unwrap(), request, "{step}");
    }
}

#[test]
fn what_is_over_is_not_looked_at() {
    let server = Server::new();
    let request = leave(9).encode();
    // What the original client sends, a second request, and a line.
    for (over, text) in [(&[0xAB; 8][..], "36 bytes"), (&leave(1).encode(), "another"), (b"\n1 PING\n~", "a packet")] {
        let mut bytes = request.clone();
        bytes.extend_from_slice(over);
        assert_eq!(server.ask(&bytes).len(), 8, "{text}");
        assert_eq!(server.asked.recv_timeout(LONG).unwrap(), request, "{text}");
    }
    assert!(server.asked.try_recv().is_err(), "one request for each connection");
    // Over and over: the answer comes all the same, and then the connection goes.
    let mut stream = server.connect();
    stream.write_all(&request).unwrap();
    let mut first = [0; 8];
    stream.read_exact(&mut first).unwrap();
    assert_eq!(first, 0x7E0A_0D7E_u64.to_be_bytes());
    while stream.write_all(&[7; 4 << 10]).is_ok() {}
}

#[test]
fn too_few_bytes() {
    let server = Server::new();
    let request = leave(9).encode();
    for length in [0, 1, 3, 4, 27] {
        let mut stream = server.connect();
        stream.write_all(&request[..length]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(answer(&mut stream), failed(Error::TooFew), "{length}");
    }
    let mut stream = server.connect();
    stream.write_all(&request).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(answer(&mut stream).len(), 8, "enough, and no more to come");
}

#[test]
fn a_request_that_does_not_come_is_not_waited_for() {
    let server = Server::new();
    let mut stream = server.connect();
    stream.write_all(&leave(9).encode()[..27]).unwrap();
    assert_eq!(answer(&mut stream), failed(Error::TooFew));
}

#[test]
fn no_such_type() {
    let server = Server::new();
    for bytes in [&[0, 0, 0, 8][..], b"GET / HTTP/1.1\r\n\r\n", &[0x16, 3, 1, 2, 0], &[0xFF; 4_000], b"1 PING\n"] {
        assert_eq!(server.ask(bytes), failed(Error::NotImplemented), "{bytes:?}");
    }
    assert!(server.asked.try_recv().is_err());
}

#[test]
fn who_goes_without_a_word_is_gone() {
    let server = Server::new();
    drop(server.connect());
    server.gone.recv_timeout(LONG).unwrap();
    // And who goes before the answer.
    let mut stream = server.connect();
    stream.write_all(&leave(3).encode()).unwrap();
    server.asked.recv_timeout(LONG).unwrap();
    drop(stream);
    server.handle.with(|role, ctx| {
        for later in role.later.drain(..) {
            ctx.answer(&later, Ok(Answer::Value(5).encode()));
        }
    });
    server.gone.recv_timeout(LONG).unwrap();
}

#[test]
fn connections_that_wait_are_bounded() {
    let server = Server::with(Limits { waiting_links: 64, ..Limits::default() });
    let silent: Vec<_> = (0..200).map(|_| server.connect()).collect();
    for _ in 0..100 {
        server.gone.recv_timeout(LONG).unwrap();
    }
    assert_eq!(server.ask(&leave(9).encode()).len(), 8, "the newest is served");
    drop(silent);
}

#[test]
fn an_answer_later() {
    let server = Server::new();
    let mut stream = server.connect();
    stream.write_all(&leave(3).encode()).unwrap();
    server.asked.recv_timeout(LONG).unwrap();
    server.handle.with(|role, ctx| {
        for later in role.later.drain(..) {
            ctx.answer(&later, Err(Fail::new(Code::NotFound, "nobody")));
        }
    });
    assert_eq!(answer(&mut stream), failed(Error::Value));
}
