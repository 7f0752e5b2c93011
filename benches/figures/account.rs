//! What a client does before it can talk: register, sign on, as the contract says. Blocking, one step after another.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::net::ToSocketAddrs;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use aws_lc_rs::digest::digest;
use aws_lc_rs::digest::SHA256;
use convergia::wire::packet::put_ok;
use convergia::wire::packet::put_packet;
use convergia::wire::Framer;
use convergia::wire::Packet;
use convergia::wire::Raw;
use convergia::wire::Reply;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::StreamOwned;

use crate::channel::Channel;
use crate::tls;
use crate::Result;

/// No answer of the server takes longer, or the bench has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection on which one asks and waits.
pub struct Talk {
    stream: StreamOwned<ClientConnection, TcpStream>,
    inbox: Vec<u8>,
    framer: Framer,
    start: usize,
    number: u64,
}

impl Talk {
    /// Connects, TLS included.
    pub fn open(config: &Arc<ClientConfig>, address: SocketAddr) -> Result<Talk> {
        let mut socket = TcpStream::connect(address)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut connection = tls::connection(config)?;
        connection.complete_io(&mut socket)?;
        let stream = StreamOwned::new(connection, socket);
        Ok(Talk { stream, inbox: Vec::new(), framer: Framer::default(), start: 0, number: 0 })
    }

    /// Asks, and waits for the OK: its data, still escaped.
    pub fn ask(&mut self, command: &str, fields: &[&str]) -> Result<Vec<u8>> {
        self.number += 1;
        let id = self.number.to_string();
        let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
        let mut packet = Vec::new();
        put_packet(&mut packet, id.as_bytes(), command.as_bytes(), &fields);
        self.stream.write_all(&packet)?;
        loop {
            while let Some(line) = self.framer.next(&self.inbox, &mut self.start) {
                let packet = Packet::parse(line).map_err(|_| "the server sent a line that is no packet")?;
                if packet.id == id.as_bytes() {
                    return match Reply::parse(packet.data) {
                        Ok(Reply::Ok(data)) => Ok(data.0.to_vec()),
                        _ => Err(format!("{command}: {}", String::from_utf8_lossy(line)).into()),
                    };
                }
                if packet.command == b"PING" && packet.data.is_empty() {
                    let mut answer = Vec::new();
                    put_ok(&mut answer, packet.id, b"PING", b"");
                    self.stream.write_all(&answer)?;
                }
            }
            self.read_more(command)?;
        }
    }

    /// Asks all at once, and waits for as many OKs, in whatever order.
    pub fn ask_all(&mut self, command: &str, requests: &[Vec<String>]) -> Result<()> {
        let mut packets = Vec::new();
        for fields in requests {
            self.number += 1;
            let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
            put_packet(&mut packets, self.number.to_string().as_bytes(), command.as_bytes(), &fields);
        }
        self.stream.write_all(&packets)?;
        let mut left = requests.len();
        while left > 0 {
            while let Some(line) = self.framer.next(&self.inbox, &mut self.start) {
                let packet = Packet::parse(line).map_err(|_| "the server sent a line that is no packet")?;
                if packet.command == command.as_bytes() {
                    if !matches!(Reply::parse(packet.data), Ok(Reply::Ok(_))) {
                        return Err(format!("{command}: {}", String::from_utf8_lossy(line)).into());
                    }
                    left -= 1;
                }
            }
            if left > 0 {
                self.read_more(command)?;
            }
        }
        Ok(())
    }

    /// Sends a line and waits for one: the bare relay's hello.
    pub fn hello(&mut self, number: u64) -> Result<()> {
        self.stream.write_all(format!("{number}\n").as_bytes())?;
        while !self.inbox.ends_with(b"ok\n") {
            self.read_more("hello")?;
        }
        self.start = self.inbox.len();
        Ok(())
    }

    fn read_more(&mut self, during: &str) -> Result<()> {
        self.inbox.drain(..self.start);
        self.start = 0;
        let mut scratch = [0; 4096];
        match self.stream.read(&mut scratch).map_err(|error| format!("{during}: {error}"))? {
            0 => Err(format!("{during}: the server has closed the connection").into()),
            count => {
                self.inbox.extend_from_slice(&scratch[..count]);
                Ok(())
            }
        }
    }

    /// The server's certificate as VALIDATEKEY wants it.
    fn fingerprint(&self) -> Result<String> {
        let certificates = self.stream.conn.peer_certificates().ok_or("the server has shown no certificate")?;
        let certificate = certificates.first().ok_or("the server has shown no certificate")?;
        Ok(digest(&SHA256, certificate).as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
    }

    /// The connection, for the load; and what was read already.
    pub fn into_channel(mut self) -> Result<(Channel, Vec<u8>)> {
        self.inbox.drain(..self.start);
        Ok((Channel::new(self.stream.sock, self.stream.conn.into())?, self.inbox))
    }
}

/// Where a Convergia server listens.
#[derive(Clone, Debug)]
pub struct Ports {
    pub public_management: SocketAddr,
    pub client_management: SocketAddr,
    pub validation: SocketAddr,
}

/// What a client proves itself with.
#[derive(Clone, Copy, Debug)]
pub enum Proof<'a> {
    Password(&'a str),
    Token(&'a str),
}

/// Registers an account; the server's policy must be `open`.
pub fn register(config: &Arc<ClientConfig>, ports: &Ports, user: &str, password: &str) -> Result<()> {
    let mut talk = Talk::open(config, ports.public_management)?;
    let data = talk.ask("REGISTERACCOUNT", &[user, password])?;
    let (request, _) = Raw(&data).split_field();
    talk.ask("CONFIRMREGISTERACCOUNT", &[&request.text()?, "open"])?;
    Ok(())
}

/// LOGIN alone: a token.
pub fn login(config: &Arc<ClientConfig>, ports: &Ports, user: &str, proof: Proof<'_>) -> Result<(Talk, String)> {
    let mut talk = Talk::open(config, ports.client_management)?;
    let secret = match proof {
        Proof::Password(password) => password.to_owned(),
        Proof::Token(token) => format!("token:{token}"),
    };
    let token = talk.ask("LOGIN", &[user, &secret])?;
    let token = Raw(&token).text()?.into_owned();
    Ok((talk, token))
}

/// All of a sign-on, on three new connections, as a client does it. The open one to the main server.
pub fn sign_on(config: &Arc<ClientConfig>, ports: &Ports, user: &str, proof: Proof<'_>) -> Result<Talk> {
    let (mut main, ticket) = prepare(config, ports, user, proof, None)?;
    main.ask("SIGNON", &[user, &ticket])?;
    Ok(main)
}

/// All of it but SIGNON itself: the open connection to the main server, and the ticket. To that server, or to the first.
pub fn prepare(
    config: &Arc<ClientConfig>,
    ports: &Ports,
    user: &str,
    proof: Proof<'_>,
    wanted: Option<&str>,
) -> Result<(Talk, String)> {
    let (mut management, _) = login(config, ports, user, proof)?;
    let servers = management.ask("LISTSERVERS", &[])?;
    let servers = Raw(&servers).text()?.into_owned();
    let is_it = |line: &&str| wanted.is_none_or(|wanted| line.split('|').next() == Some(wanted));
    let line = servers.lines().find(is_it).ok_or("LISTSERVERS does not name the server")?;
    let mut columns = line.split('|');
    let server = columns.next().ok_or("LISTSERVERS: no id")?;
    let address = columns.nth(1).ok_or("LISTSERVERS: no address")?.to_socket_addrs()?.next();
    let address = address.ok_or("LISTSERVERS: no such host")?;
    let begun = Instant::now();
    let main = Talk::open(config, address)?;
    let report = format!("{server}|yes|{}", begun.elapsed().as_millis());
    let choice = management.ask("REPORTSERVERS", &[&report])?;
    let [chosen, ticket] = Raw(&choice).take::<2>()?;
    if chosen.text()? != server {
        return Err("REPORTSERVERS chose a server that was not reported".into());
    }
    let mut validation = Talk::open(config, ports.validation)?;
    validation.ask("VALIDATEKEY", &[server, &main.fingerprint()?])?;
    Ok((main, ticket.text()?.into_owned()))
}
