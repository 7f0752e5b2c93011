//! The web port with real sockets, against a web socket client that somebody else wrote, and raw requests.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::Duration;
use std::time::Instant;

use rustls::pki_types::ServerName;
use rustls::ClientConnection;
use rustls::StreamOwned;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::Error;
use tungstenite::Message;
use tungstenite::WebSocket;

use super::*;
use crate::engine::command::anyone;
use crate::engine::limits;
use crate::engine::limits::Limits;
use crate::engine::net::Registry;
use crate::engine::tls;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::Role;

/// How long a test waits for what has to come.
const PATIENCE: Duration = Duration::from_secs(30);
const PAGE: &[u8] = &[b'p'; 300_000];

/// Says back what it is told; reports each link that is gone.
struct Echo {
    gone: mpsc::Sender<Gone<()>>,
}

const ROWS: &[Command<Echo>] = &[
    Command {
        name: "ECHO",
        ports: &[PortKey::Web],
        args: "text",
        gate: anyone,
        run: |_, _, request| Ok(Answer::Data(request.data().unescape().into_owned())),
    },
    Command {
        name: "TRUST",
        ports: &[PortKey::Web],
        args: "",
        gate: anyone,
        run: |_, ctx, request| {
            ctx.trust(request.link);
            ctx.keep_undelivered(request.link);
            Ok(Answer::Ok)
        },
    },
    Command {
        name: "SPRAY",
        ports: &[PortKey::Web],
        args: "",
        gate: anyone,
        run: |_, ctx, request| {
            for n in 0..1_000 {
                ctx.push(request.link, "DROP", &[n.to_string().as_bytes(), b"\n"])?;
            }
            Ok(Answer::Ok)
        },
    },
    Command {
        name: "WHERE",
        ports: &[PortKey::Web],
        args: "",
        gate: anyone,
        run: |_, ctx, request| {
            let info = ctx.info(request.link).map(|info| format!("{:?} {:?}", info.remote, info.fingerprint.is_some()));
            Ok(Answer::Data(info.unwrap_or_default().into_bytes()))
        },
    },
    Command {
        name: "BYE",
        ports: &[PortKey::Web],
        args: "",
        gate: anyone,
        run: |_, ctx, request| {
            ctx.push(request.link, "LAST", &[b"word"])?;
            ctx.close(request.link, "a test");
            Ok(Answer::None)
        },
    },
];

impl Role for Echo {
    type Peer = ();
    const NAME: &'static str = "echo";

    fn commands() -> &'static [Command<Echo>] {
        ROWS
    }

    fn closed(&mut self, _: &mut Ctx<Echo>, _: LinkId, gone: Gone<()>) {
        let _ = self.gone.send(gone);
    }
}

struct Server {
    handle: Handle<Echo>,
    address: SocketAddr,
    gone: mpsc::Receiver<Gone<()>>,
    _listening: Listening,
}

fn server_with(limits: Limits) -> Server {
    let (sender, gone) = mpsc::channel();
    let handle = Handle::new(Echo { gone: sender }, limits, 1, None, &Arc::new(Registry::default())).unwrap();
    let assets = Assets::new(&[("/", "text/html; charset=utf-8", PAGE), ("/a.svg", "image/svg+xml", b"<svg/>")]);
    let identity = identity();
    let tls = tls::server(&identity).unwrap();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let (address, listening) = listen_web(&handle, any, &tls, &identity, Arc::new(assets)).unwrap();
    Server { handle, address, gone, _listening: listening }
}

fn server() -> Server {
    server_with(Limits::default())
}

fn identity() -> Arc<Identity> {
    static MADE: std::sync::OnceLock<Arc<Identity>> = std::sync::OnceLock::new();
    let make = || {
        let folder = std::env::temp_dir().join(format!("convergia-web-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let identity = Identity::load(&folder.join("certificate.pem"), &folder.join("key.pem"), true).unwrap();
        std::fs::remove_dir_all(&folder).unwrap();
        identity
    };
    Arc::clone(MADE.get_or_init(make))
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}
type Client = WebSocket<Box<dyn Stream>>;

impl Server {
    fn plain(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Box::new(stream)
    }

    fn tls(&self) -> Box<dyn Stream> {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from("localhost").unwrap();
        let mut config = rustls::ClientConfig::clone(&tls::client_any().unwrap());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Box::new(StreamOwned::new(ClientConnection::new(Arc::new(config), name).unwrap(), stream))
    }

    /// Sends `request` and reads until the end of the connection.
    fn ask(&self, request: &str) -> Vec<u8> {
        let mut stream = self.plain();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    }

    fn open(&self, stream: Box<dyn Stream>) -> Client {
        let config = WebSocketConfig::default().max_frame_size(None).max_message_size(None);
        let request = format!("ws://{}/socket", self.address).into_client_request().unwrap();
        tungstenite::client::client_with_config(request, stream, Some(config)).unwrap().0
    }

    /// A link that has signed on, as far as bounds go.
    fn trusted(&self, stream: Box<dyn Stream>) -> Client {
        let mut client = self.open(stream);
        client.send("1 TRUST".into()).unwrap();
        assert_eq!(next(&mut client), b"1 TRUST OK");
        client
    }

    fn gone(&self) -> Gone<()> {
        self.gone.recv_timeout(PATIENCE).unwrap()
    }
}

/// The next packet.
fn next(client: &mut Client) -> Vec<u8> {
    loop {
        match client.read().unwrap() {
            Message::Binary(packet) => return packet.to_vec(),
            Message::Pong(_) | Message::Ping(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Reads to the Close, which it answers, and to the end of the connection; returns the code.
fn closed(client: &mut Client) -> u16 {
    let code = loop {
        match client.read().unwrap() {
            Message::Close(Some(CloseFrame { code, .. })) => break code.into(),
            Message::Close(None) => panic!("a Close without a code"),
            _ => {}
        }
    };
    assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
    code
}

fn text(answer: &[u8]) -> String {
    String::from_utf8_lossy(answer).into_owned()
}

#[test]
fn packets_over_tls_and_over_plain_http_of_this_machine() {
    let server = server();
    for stream in [server.tls(), server.plain()] {
        let mut client = server.open(stream);
        client.send("1 ECHO hi".into()).unwrap();
        assert_eq!(next(&mut client), b"1 ECHO OK hi");
        client.send(Message::binary(b"2 ECHO a~~b~\nc\n".to_vec())).unwrap();
        assert_eq!(next(&mut client), b"2 ECHO OK a~~b~\nc");
        client.send("3 PING\n4 PING".into()).unwrap();
        assert_eq!((next(&mut client), next(&mut client)), (b"3 PING OK".to_vec(), b"4 PING OK".to_vec()));
        client.send("5 WHERE".into()).unwrap();
        let place = text(&next(&mut client));
        assert!(place.starts_with("5 WHERE OK Some(127.0.0.1)"), "{place}");
        client.close(None).unwrap();
        assert!(matches!(client.read(), Ok(Message::Close(None))));
        assert!(matches!(client.read(), Err(Error::ConnectionClosed)));
        assert!(server.gone().was_open);
    }
}

#[test]
fn a_packet_of_a_mebibyte_and_a_thousand_small_ones() {
    let server = server();
    let mut client = server.trusted(server.tls());
    let body = vec![b'x'; (1 << 20) - 100];
    client.send(Message::binary([b"2 ECHO ".as_slice(), &body].concat())).unwrap();
    assert_eq!(next(&mut client), [b"2 ECHO OK ".as_slice(), &body].concat());
    client.send("3 SPRAY".into()).unwrap();
    let mut n = 0;
    loop {
        let packet = next(&mut client);
        if packet == b"3 SPRAY OK" {
            break;
        }
        if packet.ends_with(b" PING") {
            continue;
        }
        let expected = format!(" DROP {n}~\n~\n");
        assert!(packet.ends_with(expected.as_bytes()), "{n}: {}", text(&packet));
        n += 1;
    }
    assert_eq!(n, 1_000);
}

#[test]
fn pings_of_the_web_socket_are_answered() {
    let server = server();
    let mut client = server.open(server.tls());
    client.send(Message::Ping(b"there?"[..].into())).unwrap();
    assert_eq!(client.read().unwrap(), Message::Pong(b"there?"[..].into()));
    client.send("1 PING".into()).unwrap();
    assert_eq!(next(&mut client), b"1 PING OK");
}

#[test]
fn a_packet_that_is_too_long_is_told_so() {
    let server = server();
    let mut stranger = server.open(server.plain());
    stranger.send(Message::binary([b"1 ECHO ".as_slice(), &[b'x'; 5_000]].concat())).unwrap();
    assert!(text(&next(&mut stranger)).starts_with("-0 ERROR FAIL TOOLONG"));
    assert_eq!(closed(&mut stranger), socket::CLOSED);
    let mut client = server.trusted(server.tls());
    client.send(Message::binary(vec![b'x'; 5 << 20])).unwrap_or(());
    assert!(text(&next(&mut client)).starts_with("-0 ERROR FAIL TOOLONG"));
    assert_eq!(closed(&mut client), socket::CLOSED);
    let mut other = server.open(server.plain());
    other.send("no~packet".into()).unwrap();
    assert!(text(&next(&mut other)).starts_with("-0 ERROR FAIL BADPACKET"));
    assert_eq!(closed(&mut other), socket::CLOSED);
}

#[test]
fn what_the_server_says_last_is_read_and_proven() {
    let server = server();
    let mut reader = server.trusted(server.tls());
    reader.send("2 BYE".into()).unwrap();
    assert!(next(&mut reader).ends_with(b"LAST word"));
    assert_eq!(closed(&mut reader), socket::CLOSED);
    let gone = server.gone();
    assert_eq!((gone.why.as_str(), gone.undelivered.len()), ("a test", 0));
    // This one goes without having read it.
    let mut other = server.trusted(server.tls());
    other.send("2 BYE".into()).unwrap();
    drop(other);
    let gone = server.gone();
    assert!(text(&gone.undelivered).contains("LAST word"), "{}", text(&gone.undelivered));
}

#[test]
fn frames_against_the_rules_end_the_link() {
    let server = server();
    let mut stream = server.plain();
    stream.write_all(UPGRADE.as_bytes()).unwrap();
    stream.write_all(&[0x82, 1, b'x']).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = memchr::memmem::find(&answer, b"\r\n\r\n").unwrap() + 4;
    assert_eq!((answer[end], &answer[end + 2..end + 4]), (0x88, &1_002_u16.to_be_bytes()[..]));
    assert!(server.gone().was_open);
}

const UPGRADE: &str =
    "GET /socket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

#[test]
fn pages_and_what_is_none() {
    let server = server();
    let close = "Host: h\r\nConnection: close\r\n\r\n";
    let page = server.ask(&format!("GET / HTTP/1.1\r\n{close}"));
    assert!(page.starts_with(b"HTTP/1.1 200 OK\r\n") && page.ends_with(&[b"\r\n\r\n", PAGE].concat()));
    assert!(text(&page).contains("\r\nContent-Security-Policy: default-src 'none'"));
    let tag = text(&page).lines().find_map(|line| line.strip_prefix("ETag: ").map(str::to_owned)).unwrap();
    let same = server.ask(&format!("GET / HTTP/1.1\r\nIf-None-Match: {tag}\r\n{close}"));
    assert!(same.starts_with(b"HTTP/1.1 304 ") && same.ends_with(b"\r\n\r\n"));
    let packed = server.ask(&format!("GET / HTTP/1.1\r\nAccept-Encoding: gzip\r\n{close}"));
    let at = memchr::memmem::find(&packed, b"\r\n\r\n").unwrap() + 4;
    let mut back = Vec::new();
    flate2::read::GzDecoder::new(&packed[at..]).read_to_end(&mut back).unwrap();
    assert_eq!(back, PAGE);
    for (request, status) in [
        (format!("HEAD / HTTP/1.1\r\n{close}"), "200"),
        (format!("GET /none HTTP/1.1\r\n{close}"), "404"),
        (format!("POST / HTTP/1.1\r\nContent-Length: 3\r\n{close}abc"), "405"),
        (format!("GET /socket HTTP/1.1\r\n{close}"), "400"),
        (UPGRADE.replace("Host: h", "Host: h\r\nOrigin: https://evil"), "403"),
        ("nonsense\r\n\r\n".to_owned(), "400"),
        (format!("GET / HTTP/1.1\r\nX: {}", "x".repeat(limits::HTTP_HEAD)), "431"),
    ] {
        let answer = text(&server.ask(&request));
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
        assert!(!answer.starts_with("HTTP/1.1 200") || answer.ends_with("\r\n\r\n"), "{answer}");
    }
}

#[test]
fn several_requests_on_one_connection_in_any_pieces() {
    let server = server();
    let request = "GET /a.svg HTTP/1.1\r\nHost: h\r\n\r\n";
    for mut stream in [server.plain(), server.tls()] {
        let all = format!("\r\n{}GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", request.repeat(9));
        for piece in all.as_bytes().chunks(7) {
            stream.write_all(piece).unwrap();
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = text(&answer);
        assert_eq!(answer.matches("HTTP/1.1 200 OK\r\n").count(), 9);
        assert_eq!(answer.matches("<svg/>").count(), 9);
        assert!(answer.ends_with("There is no such page.\n"));
    }
    // One connection is not served without end.
    let many = server.ask(&request.repeat(limits::HTTP_REQUESTS as usize + 5));
    assert_eq!(text(&many).matches("<svg/>").count(), limits::HTTP_REQUESTS as usize);
}

#[test]
fn a_page_is_written_to_who_reads_slowly_and_others_need_not_wait() {
    let server = server();
    let mut slow = server.plain();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 1_000];
    slow.read_exact(&mut first).unwrap();
    assert!(server.ask("GET /a.svg HTTP/1.0\r\n\r\n").ends_with(b"<svg/>"));
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&PAGE[..1_000]));
}

#[test]
fn connections_count_as_links_that_wait() {
    let server = server_with(Limits { waiting_links: 8, ..Limits::default() });
    let mut idle: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = server.plain();
            stream.write_all(b"GET /a.svg HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
            let mut answer = [0; 100];
            assert!(stream.read(&mut answer).unwrap() > 0);
            stream
        })
        .collect();
    // Which of them: those silent for longest, as far as the clock tells.
    for _ in 0..12 {
        assert!(!server.gone().was_open);
    }
    let mut last = idle.pop().unwrap();
    last.write_all(b"GET /none HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    last.read_to_end(&mut rest).unwrap();
    assert!(text(&rest).contains("HTTP/1.1 404 "));
}

#[test]
fn half_a_request_and_silence_have_their_time() {
    let server = server();
    let begin = Instant::now();
    let (mut half, mut idle, mut mute) = (server.plain(), server.plain(), server.tls());
    half.write_all(b"GET / HTTP/1.1\r\nHost: h\r\nX: ").unwrap();
    idle.write_all(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    mute.flush().unwrap();
    let drip = |stream: &mut Box<dyn Stream>| loop {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return begin.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("still there"),
            Err(_) => return begin.elapsed(),
        }
    };
    let head = Duration::from_millis(limits::HTTP_HEAD_TIME);
    let more = Duration::from_millis(limits::HTTP_IDLE);
    for (stream, least) in [(&mut half, head), (&mut mute, head), (&mut idle, more)] {
        let took = drip(stream);
        assert!(took + Duration::from_millis(100) >= least && took < least + PATIENCE / 2, "{took:?}");
    }
}

#[test]
fn any_bytes_at_the_door_harm_nobody() {
    let server = server();
    let mut seed = 1_u64;
    for round in 0..200 {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let mut bytes = if round % 2 == 0 { UPGRADE.as_bytes().to_vec() } else { Vec::new() };
        for _ in 0..round * 3 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.push((seed >> 56) as u8);
        }
        let _ = stream.write_all(&bytes);
    }
    for _ in 0..200 {
        server.gone();
    }
    let mut client = server.open(server.tls());
    client.send("1 PING".into()).unwrap();
    assert_eq!(next(&mut client), b"1 PING OK");
    server.handle.with(|_, ctx| assert!(ctx.queued() < 10_000));
}
