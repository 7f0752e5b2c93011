//! The eight pairs of the relay and latency figures, on either server.

use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;

use crate::account::login;
use crate::account::register;
use crate::account::sign_on;
use crate::account::Proof;
use crate::load::Load;
use crate::measure::Cpu;
use crate::pattern::Wire;
use crate::subject::Bare;
use crate::subject::Convergia;
use crate::subject::Scratch;
use crate::tally::Outcome;
use crate::Options;
use crate::Result;

/// How many pairs talk.
pub const PAIRS: usize = 8;

enum Server {
    Bare(Bare),
    // The directory goes when the server has gone: fields are dropped in order.
    Convergia(Convergia, Scratch),
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
    /// CPU of the server, in µs per delivered message.
    pub micros: f64,
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

    /// Whether it has commands and answers.
    pub fn answers(&self) -> bool {
        matches!(self.server, Server::Convergia(..))
    }

    /// Measures a run.
    pub fn round(&mut self, run: impl FnOnce(&mut Load) -> Result<Outcome>) -> Result<Round> {
        let pid = match &self.server {
            Server::Bare(server) => server.pid(),
            Server::Convergia(server, _) => server.pid(),
        };
        // What is left of an earlier run, like a PING, is not this one's.
        self.load.rest(Duration::ZERO)?;
        let before = Cpu::of(pid)?;
        let outcome = run(&mut self.load)?;
        let used = Cpu::of(pid)?.since(&before);
        let delivered = outcome.delivered.max(1) as f64;
        let (micros, rate) = (used.as_secs_f64() * 1e6 / delivered, delivered / outcome.took.as_secs_f64());
        Ok(Round { outcome, micros, rate })
    }

    /// Ends the server.
    pub fn stop(self) -> Result<()> {
        match self.server {
            Server::Bare(_) => Ok(()),
            Server::Convergia(server, _scratch) => server.stop(),
        }
    }
}

/// Sender and receiver of a pair.
fn names(pair: usize) -> [String; 2] {
    [format!("sender{pair}"), format!("receiver{pair}")]
}
