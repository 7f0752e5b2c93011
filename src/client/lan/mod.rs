//! On the local network: clients find each other by multicast and talk without a server, each proven by a key of its account
//! (docs/protocol.md, section 17).

mod accept;
pub mod announce;
pub mod direct;
mod id;
pub mod multicast;
pub mod prove;
mod table;
mod vouch;

use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use std::net::SocketAddr;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;

use crate::config::PortKey;
use crate::engine::clock;
use crate::engine::limits::Limits;
use crate::engine::net;
use crate::engine::net::Handle;
use crate::engine::net::Registry;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::engine::tls;
use crate::engine::tls::Identity;
use crate::wire::Code;
use crate::wire::Fail;

pub use direct::Event;
pub use direct::Me;
pub use direct::Person;
pub use id::Id;
pub use table::Trust;
pub use vouch::Answer as Vouch;

use direct::Direct;
use multicast::Sockets;

/// Events that wait for `Lan::next`, until reading from direct links pauses.
const EVENTS: usize = 1_024;
/// Direct links, and those of them that have not proven who they are.
const LINKS: usize = 256;
const STRANGERS: usize = 64;
/// How long a link may take to be made before a message goes another way.
const REACH: Duration = Duration::from_secs(3);
/// How often a reader looks whether it is wanted any more, and how often interfaces are looked for.
const LOOK: Duration = Duration::from_secs(1);
/// The question who is there is asked again once, as a datagram may get lost.
const ASK_AGAIN: Duration = Duration::from_millis(700);

/// A client on the local network. Dropped, it says that it leaves.
pub struct Lan {
    handle: Handle<Direct>,
    events: channel::Receiver<Event>,
    sockets: Arc<Sockets>,
    ended: Arc<AtomicBool>,
    // Open until dropped.
    _listening: Option<net::Listening>,
}

/// The answers to a message that went over direct links.
pub struct Sent(Vec<channel::Receiver<Result<Vec<u8>, Fail>>>);

impl Lan {
    /// Looks who is there. `announce`: takes direct links too, on a port of that kind, and says so; `me` must have a key.
    ///
    /// # Errors
    /// UNAVAILABLE without a network, or when no port can be had; INTERNAL.
    pub fn start(me: Option<Me>, announce: Option<PortKey>) -> Result<Lan, Fail> {
        Lan::start_at(me, announce, PortKey::Discovery.default_port())
    }

    /// The same, with the UDP port of discovery.
    ///
    /// # Errors
    /// As `start`.
    pub fn start_at(me: Option<Me>, announce: Option<PortKey>, discovery: u16) -> Result<Lan, Fail> {
        let unavailable = |words: String| Fail::new(Code::Unavailable, words);
        let sockets = Arc::new(Sockets::open(discovery).map_err(unavailable)?);
        let (send, events) = channel::unbounded();
        let paused = send.clone();
        let sink = move |event| {
            // The receiver is gone only when the client is.
            let _ = send.try_send(event);
            paused.len() >= EVENTS
        };
        let direct = Direct::new(me, Box::new(sink))?;
        let limits = Limits { links: LINKS, waiting_links: STRANGERS, ..Limits::default() };
        let handle = Handle::new(direct, limits, 1, None, &Arc::new(Registry::default())).map_err(Fail::internal)?;
        let listening = announce.map(|kind| listen(&handle, kind).map_err(unavailable)).transpose()?;
        let ended = Arc::new(AtomicBool::new(false));
        let (wake, woken) = channel::bounded(1);
        for reader in sockets.readers().map_err(|error| Fail::new(Code::Unavailable, error.to_string()))? {
            rt::spawn(hear(rt::UdpSocket::from(reader), handle.clone(), Arc::clone(&ended), wake.clone()));
        }
        rt::spawn(speak(Arc::clone(&sockets), handle.clone(), Arc::clone(&ended), woken));
        let lan = Lan { handle, events, sockets, ended, _listening: listening };
        lan.ask();
        Ok(lan)
    }

    /// Asks who is there, twice.
    fn ask(&self) {
        self.sockets.send(announce::WHO_IS_HERE);
        let (sockets, ended) = (Arc::clone(&self.sockets), Arc::clone(&self.ended));
        rt::spawn(async move {
            rt::sleep(ASK_AGAIN).await;
            if !ended.load(Ordering::Relaxed) {
                sockets.send(announce::WHO_IS_HERE);
            }
        });
    }

    /// What happened since, in order; waits until something does.
    pub async fn next(&self) -> Option<Event> {
        let event = self.events.recv().await.ok();
        if self.events.len() == EVENTS / 2 || self.events.is_empty() {
            self.handle.with(|direct, ctx| direct.resume(ctx));
        }
        event
    }

    /// The answer to `Event::Vouch`: it is asked for again after so long.
    pub fn vouch(&self, user: &str, answer: Vouch, fresh_for: Duration) {
        let fresh_for = u64::try_from(fresh_for.as_millis()).unwrap_or(u64::MAX);
        self.handle.with(|direct, ctx| direct.vouched(ctx, user, answer, fresh_for));
    }

    /// Who is there.
    pub fn people(&self) -> Vec<Person> {
        self.handle.with(|direct, ctx| direct.people(ctx.now()))
    }

    /// Makes direct links to that user's clients that are here and verified, where there are none: 3 s at most. False: there is none.
    pub async fn reach(&self, user: &str) -> bool {
        let waits = self.handle.with(|direct, ctx| direct.reach(ctx, user));
        let all = async {
            for wait in waits {
                // Dropped with the client.
                let _ = wait.recv().await;
            }
        };
        let _ = rt::timeout(REACH, all).await;
        self.handle.with(|direct, ctx| direct.is_reached(ctx, user))
    }

    /// Sends a message over all direct links to that user; when this returns, it has its place in the order of what is sent.
    /// None: there is no link, and nothing was sent.
    pub fn post(&self, user: &str, body: &[u8]) -> Option<Sent> {
        let answers = self.handle.with(|direct, ctx| direct.post(ctx, user, body));
        Some(Sent(answers)).filter(|sent| !sent.0.is_empty())
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Lan {
    /// Says that this client leaves, and closes its links after what is queued. Nothing more happens then.
    pub fn leave(&self) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        let farewell = self.handle.with(|direct, ctx| {
            direct.close(ctx);
            direct.farewell(ctx)
        });
        if let Some(farewell) = farewell {
            self.sockets.send(&farewell);
        }
    }
}

impl Sent {
    /// Waits for the answers: Ok when one of the user's clients has it.
    ///
    /// # Errors
    /// UNAVAILABLE when a link broke before its answer, so that the message may have arrived: it shall not be sent again without
    /// asking. Else the FAIL of the other client; BUSY when too much waits for it.
    pub async fn answer(self) -> Result<(), Fail> {
        let mut result = Err(Fail::new(Code::Unavailable, super::core::BROKE));
        let mut first = true;
        for answer in self.0 {
            let answer = answer.recv().await.unwrap_or_else(|_| Err(Fail::new(Code::Unavailable, super::core::BROKE)));
            result = match (result, answer) {
                (Ok(()), _) | (_, Ok(_)) => Ok(()),
                (Err(_), Err(fail)) if first || fail.code == Code::Unavailable => Err(fail),
                (before, Err(_)) => before,
            };
            first = false;
        }
        result
    }
}

/// Opens the port for direct links: the usual one, or when another client of this machine has it, any.
fn listen(handle: &Handle<Direct>, kind: PortKey) -> Result<net::Listening, String> {
    let identity = Identity::fresh()?;
    let tls = tls::server(&identity)?;
    let mut last = String::new();
    for port in [kind.default_port(), 0] {
        let any = [SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)), SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))];
        for address in any {
            match net::listen(handle, kind, address, Arc::clone(&tls), &identity) {
                Ok((bound, listening)) => {
                    handle.with(|direct, _| direct.listens(kind, bound.port()));
                    return Ok(listening);
                }
                Err(words) => last = words,
            }
        }
    }
    Err(last)
}

/// Reads datagrams until the client is gone.
async fn hear(socket: rt::UdpSocket, handle: Handle<Direct>, ended: Arc<AtomicBool>, wake: channel::Sender<()>) {
    // One byte more than the longest: what is longer is seen to be.
    let mut buffer = [0; announce::LONGEST + 1];
    while !ended.load(Ordering::Relaxed) {
        match rt::timeout(LOOK, socket.recv_from(&mut buffer)).await {
            Ok(Ok((length, from))) if multicast::is_near(from.ip()) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                if handle.with(|direct, ctx| direct.heard(ctx, from, bytes)) {
                    let _ = wake.try_send(());
                }
            }
            Ok(Ok(_)) | Err(_) => {}
            Ok(Err(error)) => {
                // The network may be down: reading again at once would spin.
                log::debug!("discovery: {error}");
                rt::sleep(LOOK).await;
            }
        }
    }
}

/// Announces this client when it is time to, until it is gone.
async fn speak(sockets: Arc<Sockets>, handle: Handle<Direct>, ended: Arc<AtomicBool>, woken: channel::Receiver<()>) {
    while !ended.load(Ordering::Relaxed) {
        let (announcement, due) = handle.with(|direct, ctx| direct.due(ctx));
        if let Some(announcement) = announcement {
            sockets.join();
            sockets.send(&announcement);
        }
        let wait = Duration::from_millis(due.saturating_sub(clock::now()).max(1)).min(LOOK);
        let _ = rt::timeout(wait, woken.recv()).await;
    }
}

#[cfg(test)]
mod tests;
