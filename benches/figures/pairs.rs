//! The eight pairs of the relay, latency and hops figures, on either server, or with a row of servers between them.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::account::login;
use crate::account::register;
use crate::account::sign_on;
use crate::account::Proof;
use crate::channel::Channel;
use crate::load::Load;
use crate::measure::Cpu;
use crate::pattern::Wire;
use crate::subject::Bare;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::support;
use crate::support::realms;
use crate::support::Answer;
use crate::support::Cluster;
use crate::support::Raw;
use crate::support::Topology;
use crate::tally::Outcome;
use crate::Options;
use crate::Result;

/// How many pairs talk.
pub const PAIRS: usize = 8;

enum Server {
    Bare(Bare),
    // The directory goes when the server has gone: fields are dropped in order.
    Convergia(Convergia, Scratch),
    /// Management, and main servers in a row: senders at the first, receivers at the last.
    Mesh(Cluster, Vec<&'static str>),
    /// Realms: senders on the first, receivers on the last; and management with their directory.
    Realms {
        all: Vec<support::Server>,
        _directory: support::Server,
    },
}

/// A server, and sixteen clients on it.
pub struct Pairs {
    server: Server,
    /// The clients.
    pub load: Load,
}

/// A run, and what it cost the server.
pub struct Round {
    pub outcome: Outcome,
    /// CPU of the server, or of all main servers together, in µs per delivered message.
    pub micros: f64,
    /// Of each, in their order.
    pub each: Vec<f64>,
    /// Delivered messages per second.
    pub rate: f64,
}

impl Pairs {
    /// The reference.
    pub fn bare(config: &Arc<ClientConfig>) -> Result<Pairs> {
        let (server, mut load) = (Bare::start()?, Load::new(Wire::Bare)?);
        for pair in 0..PAIRS {
            for (side, name) in names(pair).iter().enumerate() {
                server.connect(config, &mut load, (2 * pair + side) as u64, name)?;
            }
        }
        Ok(Pairs { server: Server::Bare(server), load })
    }

    /// What is measured: Convergia, or for a check of the bench itself the bare relay once more.
    pub fn subject(config: &Arc<ClientConfig>, options: &Options) -> Result<Pairs> {
        if options.self_check {
            return Pairs::bare(config);
        }
        let scratch = Scratch::new("pairs")?;
        let (server, mut load) = (Convergia::start(&scratch)?, Load::new(Wire::Convergia)?);
        for pair in 0..PAIRS {
            for name in names(pair) {
                register(config, &server.ports, &name, "a long enough password")?;
                let (_, token) = login(config, &server.ports, &name, Proof::Password("a long enough password"))?;
                let talk = sign_on(config, &server.ports, &name, Proof::Token(&token))?;
                let (channel, inbox) = talk.into_channel()?;
                load.add(channel, inbox, &name)?;
            }
        }
        Ok(Pairs { server: Server::Convergia(server, scratch), load })
    }

    /// A network of these main servers, in a row. More than two are in sites, where each reaches only its neighbours.
    pub fn mesh(mains: &[&'static str]) -> Result<Pairs> {
        let cluster = match mains.len() {
            0..=2 => Cluster::of(mains),
            _ => Cluster::in_sites(Topology::chain(mains), mains),
        };
        let (Some(first), Some(last)) = (mains.first(), mains.last()) else {
            return Err("a mesh of no servers".into());
        };
        let mut load = Load::new(Wire::Convergia)?;
        for pair in 0..PAIRS {
            let names = names(pair);
            let mut links = [cluster.sign_on(&names[0], first), cluster.sign_on(&names[1], last)];
            meet(&cluster, &mut links, &names[1]);
            for (link, name) in links.into_iter().zip(&names) {
                let (socket, tls, inbox) = link.into_parts();
                load.add(Channel::new(socket, tls.into())?, inbox, name)?;
            }
        }
        Ok(Pairs { server: Server::Mesh(cluster, mains.to_vec()), load })
    }

    /// So many realms: one, or two that know each other.
    pub fn realms(count: usize) -> Result<Pairs> {
        let management = realms::management();
        let all: Vec<support::Server> =
            (0..count).map(|n| realms::realm(&management, &format!("realm{n}"), &[])).collect();
        let (Some(first), Some(last)) = (all.first(), all.last()) else { return Err("no realms".into()) };
        let mut load = Load::new(Wire::Convergia)?;
        for pair in 0..PAIRS {
            let [sender, receiver] = names(pair);
            let mut links = [realms::user(first, &sender), realms::user(last, &receiver)];
            let to = match count {
                1 => receiver.clone(),
                _ => format!("{}::{receiver}", realms::id(last)),
            };
            let mut tries = 0;
            // Until each knows the other, and what waited meanwhile has come.
            while !matches!(links[0].ask("SENDMESSAGE", &[&to, &tries.to_string()]), Answer::Ok(_)) {
                tries += 1;
                first.moment();
            }
            while links[1].receive_command("RECEIVEMESSAGE").fields::<3>()[2] != tries.to_string().as_bytes() {}
            for (link, name) in links.into_iter().zip([&sender, &to]) {
                let (socket, tls, inbox) = link.into_parts();
                load.add(Channel::new(socket, tls.into())?, inbox, name)?;
            }
        }
        Ok(Pairs { server: Server::Realms { all, _directory: management }, load })
    }

    /// Whether it has commands and answers.
    pub fn answers(&self) -> bool {
        !matches!(self.server, Server::Bare(_))
    }

    fn pids(&self) -> Vec<u32> {
        match &self.server {
            Server::Bare(server) => vec![server.pid()],
            Server::Convergia(server, _) => vec![server.pid()],
            Server::Realms { all, .. } => all.iter().map(support::Server::pid).collect(),
            Server::Mesh(cluster, mains) => mains.iter().map(|main| cluster.server(main).pid()).collect(),
        }
    }

    /// Measures a run.
    pub fn round(&mut self, run: impl FnOnce(&mut Load) -> Result<Outcome>) -> Result<Round> {
        let pids = self.pids();
        let read = || pids.iter().map(|pid| Cpu::of(*pid)).collect::<Result<Vec<Cpu>>>();
        // What is left of an earlier run, like a PING, is not this one's.
        self.load.rest(Duration::ZERO)?;
        let before = read()?;
        let outcome = run(&mut self.load)?;
        let delivered = outcome.delivered.max(1) as f64;
        let micros = |(now, before): (&Cpu, &Cpu)| now.since(before).as_secs_f64() * 1e6 / delivered;
        let each: Vec<f64> = read()?.iter().zip(&before).map(micros).collect();
        let rate = delivered / outcome.took.as_secs_f64();
        Ok(Round { outcome, micros: each.iter().sum(), each, rate })
    }

    /// Ends the server.
    pub fn stop(self) -> Result<()> {
        match self.server {
            Server::Bare(_) => Ok(()),
            Server::Convergia(server, _scratch) => server.stop(),
            // Its drop ends all of it at once.
            Server::Mesh(..) | Server::Realms { .. } => Ok(()),
        }
    }
}

/// Writes until a message has gone through: by then the sender's server knows the recipient and the way.
fn meet(cluster: &Cluster, [sender, receiver]: &mut [Raw; 2], to: &str) {
    let mut tries = 0;
    cluster.until(&format!("{to} is reached"), || {
        tries += 1;
        matches!(sender.ask("SENDMESSAGE", &[to, &tries.to_string()]), Answer::Ok(_))
    });
    // Some that were answered FAIL may have come before it.
    while receiver.receive_command("RECEIVEMESSAGE").fields::<3>()[2] != tries.to_string().as_bytes() {}
}

/// Sender and receiver of a pair.
fn names(pair: usize) -> [String; 2] {
    [format!("sender{pair}"), format!("receiver{pair}")]
}
