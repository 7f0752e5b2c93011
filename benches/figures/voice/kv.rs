//! Channels by KV control: users are registered, one makes a channel, all join.

use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;

use aws_lc_rs::signature::Ed25519KeyPair;
use aws_lc_rs::signature::KeyPair;
use base64::engine::general_purpose::STANDARD;
use base64::Engine as _;
use convergia::voice::control::Answer;
use convergia::voice::control::Command;
use convergia::voice::control::Request;

use super::load::Load;
use super::load::Ways;
use crate::account;
use crate::account::Proof;
use crate::subject::Convergia;
use crate::tls;
use crate::Result;

const PASSWORD: &str = "a long enough password";

/// A user of voice.
struct User {
    uid: u64,
    /// Of the account that the user is.
    pair: Option<Ed25519KeyPair>,
    counter: u64,
}

impl User {
    fn ask(&mut self, server: &Convergia, command: Command) -> Result<Answer> {
        let request = match &self.pair {
            None => Request::unsigned(command),
            Some(pair) => {
                self.counter += 1;
                Request::signed(command, self.counter, pair)
            }
        };
        ask(server.voice, &request)
    }
}

/// A new channel with so many new members, each at an address of its own.
pub fn channel(server: &Convergia, members: usize, signed: bool) -> Result<Load> {
    let mut users = if signed { accounts(server, members)? } else { strangers(server, members)? };
    let first = users.first_mut().ok_or("no members")?;
    let Answer::Value(chid) = first.ask(server, Command::Create { uid: first.uid })? else {
        return Err("CREATE: another answer".into());
    };
    let mut load = Load::new()?;
    for user in &mut users {
        let (port, ways) = match user.ask(server, Command::Join { uid: user.uid, juid: user.uid, chid })? {
            Answer::Value(port) => (u16::try_from(port)?, Ways::Kv),
            Answer::Joined { port, key } => (port, Ways::Signed(key)),
            other => return Err(format!("JOIN: {other:?}").into()),
        };
        load.add(SocketAddr::new(server.voice.ip(), port), user.uid, ways)?;
    }
    Ok(load)
}

fn strangers(server: &Convergia, count: usize) -> Result<Vec<User>> {
    let register = |_| match ask(server.voice, &Request::unsigned(Command::Register { auid: 0, rights: 0 }))? {
        Answer::Value(uid) => Ok(User { uid, pair: None, counter: 0 }),
        other => Err(format!("REGISTER: {other:?}").into()),
    };
    (0..count).map(register).collect()
}

/// Accounts with a key each, which are users of voice; made once for all channels.
fn accounts(server: &Convergia, count: usize) -> Result<Vec<User>> {
    let config = tls::client()?;
    let mut users = Vec::new();
    for number in 0..count {
        let name = format!("speaker{count}x{number}");
        // The same name again: the account is there.
        let _ = account::register(&config, &server.ports, &name, PASSWORD);
        let (mut talk, _) = account::login(&config, &server.ports, &name, Proof::Password(PASSWORD))?;
        let pair = Ed25519KeyPair::generate()?;
        let label = format!("voice {}", users.len());
        let _ = talk.ask("REMOVEKEY", &[&label]);
        talk.ask("ADDKEY", &[&label, &STANDARD.encode(pair.public_key().as_ref())])?;
        let mut user = User { uid: 0, pair: Some(pair), counter: now()? };
        match user.ask(server, Command::Register { auid: 0, rights: 0 })? {
            Answer::Value(uid) => user.uid = uid,
            other => return Err(format!("REGISTER: {other:?}").into()),
        }
        users.push(user);
    }
    Ok(users)
}

/// Above all counters that an earlier channel has used.
fn now() -> Result<u64> {
    Ok(u64::try_from(std::time::UNIX_EPOCH.elapsed()?.as_micros())?)
}

fn ask(server: SocketAddr, request: &Request) -> Result<Answer> {
    let mut socket = TcpStream::connect(server)?;
    socket.write_all(&request.encode())?;
    let mut came = Vec::new();
    socket.read_to_end(&mut came)?;
    match Answer::decode(request, &came).map_err(|_| "no answer of KV control")? {
        Some(Answer::Failed(error)) => Err(format!("{:?}: {error:?}", request.command).into()),
        Some(answer) => Ok(answer),
        None => Err("half an answer of KV control".into()),
    }
}
