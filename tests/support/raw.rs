//! A client that says exactly what a test tells it to.

use std::collections::VecDeque;
use std::io;
use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::net::SocketAddrV4;
use std::net::TcpStream;
use std::time::Duration;
use std::time::Instant;

use convergia::wire;
use convergia::wire::packet::put_packet;
use convergia::wire::Code;
use convergia::wire::Framer;
use convergia::wire::Packet;
use convergia::wire::Reply;
use rustix::net::bind;
use rustix::net::connect;
use rustix::net::socket;
use rustix::net::AddressFamily;
use rustix::net::SocketType;
use rustls::ClientConnection;
use rustls::StreamOwned;

use super::tls;

/// How long a test waits for a packet.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A packet that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its ID.
    pub id: String,
    /// Its command.
    pub command: String,
    /// Its DATA, as it stood on the wire.
    pub data: Vec<u8>,
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// OK and its data, unescaped.
    Ok(Vec<u8>),
    /// FAIL, its code and its words.
    Fail(Code, String),
}

impl Line {
    /// Its fields, unescaped; exactly `N`, the last with all that follows.
    pub fn fields<const N: usize>(&self) -> [Vec<u8>; N] {
        let fields = wire::Raw(&self.data).take::<N>().unwrap_or_else(|fail| panic!("{self:?}: {fail}"));
        fields.map(|field| field.unescape().into_owned())
    }

    /// Its DATA read as a response.
    pub fn answer(&self) -> Answer {
        match Reply::parse(wire::Raw(&self.data)) {
            Ok(Reply::Ok(data)) => Answer::Ok(data.unescape().into_owned()),
            Ok(Reply::Fail(code, text)) => {
                let word = self.data.split(|&byte| byte == b' ').nth(1).unwrap_or_default();
                assert_eq!(code.word().as_bytes(), word, "a code that is not in the contract's list");
                Answer::Fail(code, String::from_utf8_lossy(&text.unescape()).into_owned())
            }
            Err(_) => panic!("neither OK nor FAIL: {self:?}"),
        }
    }
}

impl Answer {
    /// The data of an OK; panics on a FAIL.
    #[track_caller]
    pub fn ok(self) -> Vec<u8> {
        match self {
            Answer::Ok(data) => data,
            Answer::Fail(code, text) => panic!("FAIL {} {text}", code.word()),
        }
    }

    /// The data of an OK, as text.
    #[track_caller]
    pub fn text(self) -> String {
        String::from_utf8(self.ok()).expect("UTF-8")
    }

    /// The code of a FAIL; panics on an OK.
    #[track_caller]
    pub fn code(&self) -> Code {
        match self {
            Answer::Fail(code, _) => *code,
            Answer::Ok(data) => panic!("OK {}", data.escape_ascii()),
        }
    }
}

/// A connection inside TLS, blocking, with time-outs on everything.
pub struct Raw {
    stream: StreamOwned<ClientConnection, TcpStream>,
    fingerprint: String,
    framer: Framer,
    buffer: Vec<u8>,
    start: usize,
    unread: VecDeque<Line>,
    next_id: u64,
}

impl Raw {
    /// Connects and does the TLS handshake.
    #[track_caller]
    pub fn connect(address: &str) -> Raw {
        Raw::try_connect(address).unwrap_or_else(|error| panic!("no TLS link to {address}: {error}"))
    }

    /// The same, for servers that may refuse.
    pub fn try_connect(address: &str) -> io::Result<Raw> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        Raw::over(TcpStream::connect_timeout(&address, PATIENCE)?)
    }

    /// Connects from another loopback address, so that limits by address tell this client from the rest.
    pub fn connect_from(source: Ipv4Addr, address: &str) -> Raw {
        let target: SocketAddr = address.parse().expect("an address");
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket");
        bind(&socket, &SocketAddrV4::new(source, 0)).expect("a loopback address");
        connect(&socket, &target).expect("a connection");
        Raw::over(TcpStream::from(socket)).expect("a TLS link")
    }

    /// The handshake over a TCP connection that stands.
    pub fn over(mut tcp: TcpStream) -> io::Result<Raw> {
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(PATIENCE))?;
        tcp.set_write_timeout(Some(PATIENCE))?;
        let mut tls = tls::client();
        while tls.is_handshaking() {
            tls.complete_io(&mut tcp)?;
        }
        let certificate = tls.peer_certificates().and_then(|chain| chain.first()).expect("a certificate");
        let fingerprint = tls::fingerprint(certificate);
        Ok(Raw {
            stream: StreamOwned::new(tls, tcp),
            fingerprint,
            framer: Framer::default(),
            buffer: Vec::new(),
            start: 0,
            unread: VecDeque::new(),
            next_id: 0,
        })
    }

    /// Lower-case hex SHA-256 of the certificate that the server showed.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// The TCP connection below.
    pub fn tcp(&self) -> &TcpStream {
        &self.stream.sock
    }

    /// What it is made of: the socket, its TLS, and what was decrypted and not read yet.
    pub fn into_parts(mut self) -> (TcpStream, ClientConnection, Vec<u8>) {
        self.buffer.drain(..self.start);
        (self.stream.sock, self.stream.conn, self.buffer)
    }

    /// Sends bytes as they are. An error: the server has closed, or takes nothing for `PATIENCE`.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)?;
        self.stream.flush()
    }

    /// Sends a packet.
    #[track_caller]
    pub fn send(&mut self, id: &str, command: &str, fields: &[&[u8]]) {
        self.try_send(id, command, fields).unwrap_or_else(|error| panic!("sending {command}: {error}"));
    }

    /// The same where the server may go at any moment.
    pub fn try_send(&mut self, id: &str, command: &str, fields: &[&[u8]]) -> io::Result<()> {
        let mut out = Vec::new();
        put_packet(&mut out, id.as_bytes(), command.as_bytes(), fields);
        self.send_bytes(&out)
    }

    /// A new ID.
    pub fn id(&mut self) -> String {
        self.next_id += 1;
        self.next_id.to_string()
    }

    /// The next packet off the wire, PINGs of the server answered and left out. None: closed. An error of kind
    /// `TimedOut`: nothing came for `patience`.
    pub fn read(&mut self, patience: Duration) -> io::Result<Option<Line>> {
        let until = Instant::now() + patience;
        loop {
            if let Some(line) = self.framer.next(&self.buffer, &mut self.start) {
                let packet = Packet::parse(line).unwrap_or_else(|_| panic!("no packet: {}", line.escape_ascii()));
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let line = Line { id: text(packet.id), command: text(packet.command), data: packet.data.0.to_vec() };
                let asks = line.data.is_empty() && line.id.starts_with('-');
                if line.command == "PING" && asks {
                    // The answer may meet a connection that the server is closing: what it sent is still read.
                    let _ = self.send_bytes(format!("{} PING OK\n", line.id).as_bytes());
                    continue;
                }
                return Ok(Some(line));
            }
            self.buffer.drain(..self.start);
            self.start = 0;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.stream.sock.set_read_timeout(Some(left))?;
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => return Ok(None),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => return Err(ErrorKind::TimedOut.into()),
                    ErrorKind::Interrupted => {}
                    _ if is_alert(&error) => return Ok(None),
                    _ => return Err(error),
                },
            }
        }
    }

    /// The next packet, whether it was kept or comes; as `read`.
    pub fn next_line(&mut self, patience: Duration) -> io::Result<Option<Line>> {
        match self.unread.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.read(patience),
        }
    }

    /// The next packet that is no answer waited for by `request`.
    #[track_caller]
    pub fn receive(&mut self) -> Line {
        match self.unread.pop_front() {
            Some(line) => line,
            None => self.read(PATIENCE).expect("a packet").expect("a packet, but the server has closed"),
        }
    }

    /// The next packet with this command; others before it are dropped.
    #[track_caller]
    pub fn receive_command(&mut self, command: &str) -> Line {
        loop {
            let line = self.receive();
            if line.command == command {
                return line;
            }
        }
    }

    /// Waits for the answer to the packet `id`; what else comes is kept for `receive`.
    #[track_caller]
    pub fn answer(&mut self, id: &str) -> Answer {
        if let Some(at) = self.unread.iter().position(|line| line.id == id) {
            return self.unread.remove(at).expect("just found").answer();
        }
        loop {
            let line = self.read(PATIENCE).unwrap_or_else(|error| panic!("no answer to {id}: {error}"));
            let line = line.unwrap_or_else(|| panic!("closed before {id} was answered; before: {:?}", self.unread));
            if line.id == id {
                return line.answer();
            }
            self.unread.push_back(line);
        }
    }

    /// Sends a request and waits for its answer, which must carry its command.
    #[track_caller]
    pub fn request(&mut self, command: &str, fields: &[&[u8]]) -> Answer {
        let id = self.id();
        self.send(&id, command, fields);
        self.answer(&id)
    }

    /// The same where the server may go at any moment: None if it did.
    pub fn try_request(&mut self, command: &str, fields: &[&[u8]]) -> Option<Answer> {
        let id = self.id();
        self.try_send(&id, command, fields).ok()?;
        loop {
            let line = self.read(PATIENCE).ok()??;
            if line.id == id {
                return Some(line.answer());
            }
            self.unread.push_back(line);
        }
    }

    /// `request` with fields of text.
    #[track_caller]
    pub fn ask(&mut self, command: &str, fields: &[&str]) -> Answer {
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        self.request(command, &fields)
    }

    /// The connection lives: a PING is answered.
    #[track_caller]
    pub fn assert_alive(&mut self) {
        self.request("PING", &[]).ok();
    }

    /// Reads until the server closes; what came before it. Panics if it does not within `patience`.
    #[track_caller]
    pub fn read_to_close(&mut self, patience: Duration) -> Vec<Line> {
        let until = Instant::now() + patience;
        let mut lines: Vec<Line> = self.unread.drain(..).collect();
        loop {
            match self.read(until.saturating_duration_since(Instant::now())) {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => return lines,
                Err(error) => panic!("not closed in {patience:?} ({error}); before: {lines:?}"),
            }
        }
    }
}

/// The server ended the TLS session with a fatal alert.
fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    matches!(inner, Some(rustls::Error::AlertReceived(_)))
}
