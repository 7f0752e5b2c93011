//! Idle browsers: what a signed-on web socket costs a realm in memory, beside a client at its other door, over plain TLS.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use convergia::wire::packet::put_packet;
use rustls::ClientConfig;
use rustls::ClientConnection;
use rustls::StreamOwned;
use tungstenite::Message;
use tungstenite::WebSocket;

use crate::idle;
use crate::measure::resident;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

type Stream = StreamOwned<ClientConnection, TcpStream>;

/// Times the memory of a plain TLS client.
const GOAL: f64 = 2.0;
const PATIENCE: Duration = Duration::from_secs(60);

/// A client that is signed on and does nothing.
enum Idle {
    Tls(#[expect(dead_code, reason = "held open")] Box<Stream>),
    Web(#[expect(dead_code, reason = "held open")] Box<WebSocket<Stream>>),
}

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nWeb sockets: the bare relay has none.");
        return Ok(());
    }
    let clients = if options.quick { 200 } else { 1000 };
    let config = tls::client()?;
    let scratch = Scratch::new("sockets")?;
    let server = Convergia::start(&scratch)?;
    let users = idle::accounts(&config, &server.ports, (clients + idle::WARM).div_ceil(idle::SESSIONS))?;
    server.stop()?;
    let mut table =
        Table::new(format!("Idle: {clients} clients of a realm"), &["", "per client, KiB", "over TLS", "goal"]);
    let mut plain = 0.0;
    for web in [false, true] {
        // Started anew each time, so that nobody finds memory that others have left.
        let server = Convergia::start(&scratch)?;
        let each = measure(&config, &server, &users, clients, web)?;
        server.stop()?;
        match web {
            false => {
                plain = each;
                table.row(["TLS".to_owned(), format!("{each:.1}"), String::new(), String::new()]);
            }
            true => {
                let ratio = each / plain;
                table.row([
                    "web socket".to_owned(),
                    format!("{each:.1}"),
                    format!("{ratio:.2}"),
                    goal(ratio, GOAL, ""),
                ]);
            }
        }
    }
    table.print();
    Ok(())
}

/// KiB for each of so many clients.
fn measure(
    config: &Arc<ClientConfig>,
    server: &Convergia,
    users: &[(String, String)],
    clients: usize,
    web: bool,
) -> Result<f64> {
    let mut held = Vec::new();
    let mut connect = |number: usize| -> Result<()> {
        let (user, token) = users.get(number / idle::SESSIONS).ok_or("too few accounts")?;
        let mut login = Vec::new();
        put_packet(&mut login, b"1", b"LOGIN", &[user.as_bytes(), format!("token:{token}").as_bytes()]);
        held.push(match web {
            true => sign_on_web(config, server.web, &login)?,
            false => sign_on_tls(config, server.realm, &login)?,
        });
        Ok(())
    };
    (0..idle::WARM).try_for_each(&mut connect)?;
    std::thread::sleep(idle::SETTLE);
    let before = resident(server.pid())?;
    (idle::WARM..idle::WARM + clients).try_for_each(&mut connect)?;
    std::thread::sleep(idle::SETTLE);
    let after = resident(server.pid())?;
    if held.len() != idle::WARM + clients {
        return Err("clients are missing".into());
    }
    Ok(after.saturating_sub(before) as f64 / 1024.0 / clients as f64)
}

fn open(config: &Arc<ClientConfig>, address: SocketAddr) -> Result<Stream> {
    let mut socket = TcpStream::connect(address)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut connection = tls::connection(config)?;
    connection.complete_io(&mut socket)?;
    Ok(StreamOwned::new(connection, socket))
}

fn sign_on_tls(config: &Arc<ClientConfig>, address: SocketAddr, login: &[u8]) -> Result<Idle> {
    let mut stream = open(config, address)?;
    stream.write_all(&[b"OpenGroove\n", login].concat())?;
    let (mut came, mut piece) = (Vec::new(), [0; 512]);
    while !came.windows(11).any(|part| part == b"1 LOGIN OK ") {
        match stream.read(&mut piece)? {
            0 => return Err("the realm has closed the connection".into()),
            count => came.extend_from_slice(&piece[..count]),
        }
    }
    Ok(Idle::Tls(Box::new(stream)))
}

fn sign_on_web(config: &Arc<ClientConfig>, address: SocketAddr, login: &[u8]) -> Result<Idle> {
    let stream = open(config, address)?;
    let (mut socket, _) =
        tungstenite::client(format!("wss://{address}/socket"), stream).map_err(|error| error.to_string())?;
    let packet = login.strip_suffix(b"\n").unwrap_or(login);
    socket.send(Message::binary(packet.to_vec()))?;
    loop {
        let message = socket.read()?;
        if message.into_data().starts_with(b"1 LOGIN OK ") {
            return Ok(Idle::Web(Box::new(socket)));
        }
    }
}
