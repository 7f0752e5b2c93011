//! Bytes of a sign-on: what management sends each main server because one user has signed on, as the kernel counts it on
//! their connections, TLS included.

use std::collections::BTreeMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::Barrier;
use std::thread;
use std::time::Duration;

use rustls::ClientConfig;

use crate::account::login;
use crate::account::prepare;
use crate::account::register;
use crate::account::Ports;
use crate::account::Proof;
use crate::account::Talk;
use crate::support::Cluster;
use crate::support::Server;
use crate::table::goal;
use crate::table::Table;
use crate::tls;
use crate::Options;
use crate::Result;

const PASSWORD: &str = "a long enough password";
const MAINS: [&str; 3] = ["main1", "main2", "main3"];
/// All sign on here, so that the others get nothing but the table's changes.
const AT: &str = "main1";
/// Until what was started is sent.
const SETTLE: Duration = Duration::from_millis(500);
/// How long nothing is done, to see what goes on all the same.
const IDLE: Duration = Duration::from_secs(5);
/// How many sign on together in a burst.
const BURST: usize = 50;
const GOAL: f64 = 200.0;
/// The longest name, in bytes.
const LONGEST: usize = 64;

/// Prints one table.
pub fn run(options: &Options) -> Result<()> {
    if options.self_check {
        println!("\nSign-on bytes: the bare relay has none.");
        return Ok(());
    }
    let config = tls::client()?;
    let cluster = Cluster::of(&MAINS);
    let ports = ports(&cluster)?;
    let count = if options.quick { 50 } else { 300 };
    let long = |n: usize| format!("{n:0>LONGEST$}").replace('0', "q");
    let users = accounts(&config, &ports, (0..count).map(|n| format!("user{n:04}")).chain((0..BURST).map(long)))?;
    let (short, longest) = users.split_at(count);
    let (first, rest) = short.split_at(BURST / 2);
    thread::sleep(SETTLE);
    let title = format!("Sign-on bytes: management to each of {} main servers, TLS included, per sign-on", MAINS.len());
    let mut table = Table::new(title, &["", "where they sign on", "other main servers", "goal"]);
    let before = sent(&cluster)?;
    thread::sleep(IDLE);
    let idle = since(&cluster, &before)?;
    let mut links = Vec::new();
    let mut part = |name: String, users: &[(String, String)], burst: usize| -> Result<()> {
        let before = sent(&cluster)?;
        for users in users.chunks(burst) {
            links.extend(together(&config, &ports, users)?);
        }
        thread::sleep(SETTLE);
        table.row(row(name, &since(&cluster, &before)?, users.len()));
        Ok(())
    };
    part(format!("the first {}, one after another", first.len()), first, 1)?;
    let half = rest.len() / 2;
    part(format!("{half} more, one after another"), &rest[..half], 1)?;
    part(format!("{} more, {BURST} at a time", rest.len() - half), &rest[half..], BURST)?;
    part(format!("{} with the longest names, one after another", longest.len()), longest, 1)?;
    let before = sent(&cluster)?;
    let all = links.len();
    for mut link in links {
        link.ask("SIGNOFF", &[])?;
    }
    thread::sleep(SETTLE);
    let mut off = row(format!("all {all} sign off, one after another"), &since(&cluster, &before)?, all);
    off[3].clear();
    table.row(off);
    table.print();
    let most = idle.values().copied().max().unwrap_or(0);
    println!("  With nothing going on: {most} bytes in {} s to one main server.", IDLE.as_secs());
    Ok(())
}

fn row(name: String, sent: &BTreeMap<&'static str, u64>, count: usize) -> [String; 4] {
    let each = |bytes: u64| bytes as f64 / count.max(1) as f64;
    let at = each(sent.get(AT).copied().unwrap_or(0));
    let others: Vec<f64> = sent.iter().filter(|(name, _)| **name != AT).map(|(_, bytes)| each(*bytes)).collect();
    let most = others.iter().copied().fold(at, f64::max);
    let others: Vec<String> = others.iter().map(|bytes| format!("{bytes:.0}")).collect();
    [name, format!("{at:.0}"), others.join(", "), goal(most, GOAL, " bytes")]
}

/// Signs them on, with SIGNON at the same moment.
fn together(config: &Arc<ClientConfig>, ports: &Ports, users: &[(String, String)]) -> Result<Vec<Talk>> {
    let barrier = Barrier::new(users.len());
    let one = |(user, token): &(String, String)| -> Result<Talk> {
        let prepared = prepare(config, ports, user, Proof::Token(token), Some(AT));
        barrier.wait();
        let (mut main, ticket) = prepared?;
        main.ask("SIGNON", &[user, &ticket])?;
        Ok(main)
    };
    thread::scope(|scope| {
        let threads: Vec<_> = users.iter().map(|user| scope.spawn(|| one(user))).collect();
        threads.into_iter().map(|thread| thread.join().map_err(|_| "a client has panicked")?).collect()
    })
}

/// Registers them, and logs each on once: names and tokens.
fn accounts(
    config: &Arc<ClientConfig>,
    ports: &Ports,
    names: impl Iterator<Item = String>,
) -> Result<Vec<(String, String)>> {
    let mut accounts = Vec::new();
    for user in names {
        register(config, ports, &user, PASSWORD)?;
        let (_, token) = login(config, ports, &user, Proof::Password(PASSWORD))?;
        accounts.push((user, token));
    }
    Ok(accounts)
}

fn ports(cluster: &Cluster) -> Result<Ports> {
    let address = |key: &str| cluster.management().addr(key).parse();
    Ok(Ports {
        public_management: address("public_management")?,
        client_management: address("client_management")?,
        validation: address("validation")?,
    })
}

/// What management's kernel has sent on its connections to each main server so far.
fn sent(cluster: &Cluster) -> Result<BTreeMap<&'static str, u64>> {
    let port = cluster.management().addr("main_management");
    let port = port.rsplit_once(':').ok_or("no port")?.1.to_owned();
    let seen = ss(&format!("( sport = :{port} )"))?;
    // Whose end is at the other end's address.
    let theirs = ss(&format!("( dport = :{port} )"))?;
    let mut sent = BTreeMap::new();
    for name in MAINS {
        let mark = format!("pid={},", Server::pid(cluster.server(name)));
        let own = theirs.iter().find(|line| line.contains(&mark)).ok_or("ss does not see a main server's link")?;
        let local = own.split_whitespace().nth(2).ok_or("ss: no local address")?;
        let line = seen.iter().find(|line| line.split_whitespace().nth(3) == Some(local)).ok_or("ss: no other end")?;
        let bytes = line.split_whitespace().find_map(|word| word.strip_prefix("bytes_sent:")).unwrap_or("0");
        sent.insert(name, bytes.parse()?);
    }
    Ok(sent)
}

fn since(cluster: &Cluster, before: &BTreeMap<&'static str, u64>) -> Result<BTreeMap<&'static str, u64>> {
    let earlier = |name: &str| before.get(name).copied().unwrap_or(0);
    Ok(sent(cluster)?.into_iter().map(|(name, bytes)| (name, bytes.saturating_sub(earlier(name)))).collect())
}

/// Established TCP connections, a line each, with the kernel's counts and the processes.
fn ss(filter: &str) -> Result<Vec<String>> {
    let output = Command::new("ss").args(["-tinpHO", "state", "established", filter]).output();
    let output = output.map_err(|error| format!("ss (Debian: iproute2): {error}"))?;
    if !output.status.success() {
        return Err(format!("ss: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}
