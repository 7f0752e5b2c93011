//! Which way a message goes: directly to who is on the local network and verified, else over the server. Never both.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use std::time::Instant;

use crate::client::lan::Id;
use crate::client::lan::Lan;
use crate::client::lan::Sent;
use crate::client::Address;
use crate::client::Client;
use crate::client::Reply;
use crate::wire::name;
use crate::wire::Fail;

/// A way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Over the server.
    Server,
    /// Over the local network.
    Lan,
}

impl Way {
    /// For programs.
    pub fn word(self) -> &'static str {
        match self {
            Way::Server => "server",
            Way::Lan => "lan",
        }
    }
}

/// While messages to somebody over the server are not answered, those that follow take the same way, so that none overtakes;
/// for so long at most.
const ORDER: Duration = Duration::from_secs(3);

/// Messages to somebody over the server that are not answered.
struct Open {
    count: usize,
    since: Instant,
}

/// See the module. Clones share it.
#[derive(Clone)]
pub struct Courier {
    client: Arc<Client>,
    lan: Option<Arc<Lan>>,
    /// What ids of this network begin with.
    network: Option<String>,
    open: Arc<Mutex<HashMap<String, Open>>>,
}

enum Answer {
    Server(Reply),
    Lan(Sent),
}

/// A message that was sent.
pub struct Posted {
    courier: Courier,
    to: String,
    answer: Answer,
}

impl Courier {
    /// For a signed-on user, who may be on the local network too.
    pub fn new(client: &Arc<Client>, address: &Address, lan: Option<Arc<Lan>>) -> Courier {
        let network = Id::new(address, "x").map(|id| id.network().to_owned());
        Courier { client: Arc::clone(client), lan, network, open: Arc::default() }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<String, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folded name of a recipient who is a user of that server's network.
    pub fn folded(address: &Address, to: &str) -> Option<String> {
        let user = match to.rsplit_once("::") {
            Some((network, user)) if Id::new(address, "x").is_some_and(|id| id.network() == network) => user,
            Some(_) => return None,
            None => to,
        };
        Some(name::fold(user).into_owned())
    }

    /// A recipient's name, if it is one of this network.
    fn local<'a>(&self, to: &'a str) -> Option<&'a str> {
        match to.rsplit_once("::") {
            Some((network, user)) => (self.network.as_deref() == Some(network)).then_some(user),
            None => Some(to),
        }
    }

    /// Sends it; when this returns, the message has its place in the order of what is sent. A direct link is made first, if
    /// there is none: that takes 3 s at most.
    pub async fn post(&self, to: &str, body: &[u8]) -> Posted {
        let key = name::fold(to).into_owned();
        let waits = self.open().get(&key).is_some_and(|open| open.since.elapsed() < ORDER);
        if let (Some(lan), Some(user), false) = (&self.lan, self.local(to), waits) {
            if lan.reach(user).await {
                if let Some(sent) = lan.post(user, body) {
                    return Posted { courier: self.clone(), to: key, answer: Answer::Lan(sent) };
                }
            }
        }
        let fresh = Open { count: 0, since: Instant::now() };
        self.open().entry(key.clone()).or_insert(fresh).count += 1;
        let reply = self.client.post("SENDMESSAGE", &[to.as_bytes(), body]);
        Posted { courier: self.clone(), to: key, answer: Answer::Server(reply) }
    }
}

impl Posted {
    /// Which way it went.
    pub fn way(&self) -> Way {
        match self.answer {
            Answer::Server(_) => Way::Server,
            Answer::Lan(_) => Way::Lan,
        }
    }

    /// Waits for the answer.
    ///
    /// # Errors
    /// As `Client::send` and `Sent::answer`; UNAVAILABLE says when it may have arrived.
    pub async fn answer(self) -> Result<(), Fail> {
        match self.answer {
            Answer::Lan(sent) => sent.answer().await,
            Answer::Server(reply) => {
                let result = reply.answer().await.map(|_| ());
                let mut open = self.courier.open();
                if let Some(entry) = open.get_mut(&self.to) {
                    entry.count = entry.count.saturating_sub(1);
                    if entry.count == 0 {
                        open.remove(&self.to);
                    }
                }
                result
            }
        }
    }
}
