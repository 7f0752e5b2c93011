//! Idle clients: what a connected client costs a server in memory.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::account::login;
use crate::account::register;
use crate::account::sign_on;
use crate::account::Ports;
use crate::account::Proof;
use crate::load::Load;
use crate::measure::resident;
use crate::pattern::Wire;
use crate::subject::Bare;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

/// A user may be signed on so many times.
pub const SESSIONS: usize = 8;
/// Signed on before the first reading, so that what a server sets up once is not counted.
pub const WARM: usize = 16;
/// For what a server does shortly after.
pub const SETTLE: Duration = Duration::from_secs(3);
const PASSWORD: &str = "a long enough password";

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    let clients = if options.quick { 500 } else { 5000 };
    let config = tls::client()?;
    let title = format!("Idle: {clients} TLS clients");
    let mut table = Table::new(title, &["", "before, MiB", "after, MiB", "per client, KiB", "goal"]);
    let (before, after) = bare(&config, clients)?;
    table.row(row("bare rustls relay", before, after, clients, None));
    let (before, after) = match options.self_check {
        true => bare(&config, clients)?,
        false => convergia(&config, clients)?,
    };
    table.row(row(options.subject(), before, after, clients, Some(12.0)));
    table.print();
    Ok(())
}

fn row(name: &str, before: u64, after: u64, clients: usize, at_most: Option<f64>) -> [String; 5] {
    let each = after.saturating_sub(before) as f64 / 1024.0 / clients as f64;
    let mib = |bytes: u64| format!("{:.1}", bytes as f64 / 1024.0 / 1024.0);
    let verdict = at_most.map(|most| goal(each, most, " KiB")).unwrap_or_default();
    [name.to_owned(), mib(before), mib(after), format!("{each:.1}"), verdict]
}

/// Resident bytes before and after `clients` more.
fn bare(config: &Arc<ClientConfig>, clients: usize) -> Result<(u64, u64)> {
    let (server, mut load) = (Bare::start()?, Load::new(Wire::Bare)?);
    measure(server.pid(), clients, &mut load, |load, number| server.connect(config, load, number as u64, "idle"))
}

fn convergia(config: &Arc<ClientConfig>, clients: usize) -> Result<(u64, u64)> {
    let scratch = Scratch::new("idle")?;
    let server = Convergia::start(&scratch)?;
    let users = accounts(config, &server.ports, (clients + WARM).div_ceil(SESSIONS))?;
    // Started anew, so that memory left over from many Argon2s does not make room for the clients.
    server.stop()?;
    let server = Convergia::start(&scratch)?;
    let mut load = Load::new(Wire::Convergia)?;
    let result = measure(server.pid(), clients, &mut load, |load, number| {
        let (user, token) = users.get(number / SESSIONS).ok_or("too few accounts")?;
        let talk = sign_on(config, &server.ports, user, Proof::Token(token))?;
        let (channel, inbox) = talk.into_channel()?;
        load.add(channel, inbox, user)
    })?;
    server.stop()?;
    Ok(result)
}

fn measure(
    pid: u32,
    clients: usize,
    load: &mut Load,
    mut connect: impl FnMut(&mut Load, usize) -> Result<()>,
) -> Result<(u64, u64)> {
    for number in 0..WARM {
        connect(load, number)?;
    }
    load.rest(SETTLE)?;
    let before = resident(pid)?;
    for number in WARM..WARM + clients {
        connect(load, number)?;
        if number % 100 == 0 {
            load.rest(Duration::ZERO)?;
        }
    }
    load.rest(SETTLE)?;
    assert_eq!(load.clients(), WARM + clients);
    Ok((before, resident(pid)?))
}

/// Registers `count` accounts and logs each on once: names and tokens.
pub fn accounts(config: &Arc<ClientConfig>, ports: &Ports, count: usize) -> Result<Vec<(String, String)>> {
    let workers = 4;
    let make = |worker: usize| -> Result<Vec<(String, String)>> {
        let mut made = Vec::new();
        for number in (worker..count).step_by(workers) {
            let user = format!("idle{number}");
            register(config, ports, &user, PASSWORD)?;
            let (_, token) = login(config, ports, &user, Proof::Password(PASSWORD))?;
            made.push((user, token));
        }
        Ok(made)
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..workers).map(|worker| scope.spawn(move || make(worker))).collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().map_err(|_| "a thread that registers accounts has panicked")??);
        }
        Ok(all)
    })
}
