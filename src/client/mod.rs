//! The client library: nothing else speaks for clients. `Client` is signed on and stays so; `Connection` is one link for one
//! question, as registering asks. Both run on the same engine as the servers.

pub mod address;
mod connection;
pub mod core;
pub mod lan;
mod received;
pub mod store;
pub mod voice;
pub mod window;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use crate::engine::limits::Limits;
use crate::engine::net::Handle;
use crate::engine::net::Registry;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::Blob;
use crate::wire::Code;
use crate::wire::Fail;

pub use address::Address;
pub use connection::register;
pub use connection::Connection;
pub use connection::Registration;
pub use connection::ADMIN_SOCKET;
pub use core::Event;
pub use core::Options;
pub use core::Secret;
pub use core::VoiceEvent;
pub use store::Store;
pub use voice::Voice;

/// Events that wait for `Client::next`, until reading from the server pauses.
const EVENTS: usize = 4_096;
/// Bytes of requests that wait to be written: a `store::Store` has 8 MiB under way, and escaping may double them.
const OUTBOX: usize = 32 << 20;

/// A signed-on client. It reconnects by itself when its server goes; what it tells is in `Event`.
pub struct Client {
    handle: Handle<core::Core>,
    events: channel::Receiver<Event>,
}

impl Client {
    /// Signs on, within `Options::patience`: coming back by itself begins with the first success.
    ///
    /// # Errors
    /// The server's FAIL, or UNAVAILABLE with the reason when no server can be reached.
    pub async fn sign_on(options: Options) -> Result<Client, Fail> {
        let client = Client::start(options)?;
        match client.handle.with(|core, _| core.when_on()).recv().await {
            Ok(result) => result.map(|()| client),
            Err(_) => Err(Fail::new(Code::Unavailable, "the client was stopped")),
        }
    }

    /// Begins to sign on; its events tell how it goes.
    ///
    /// # Errors
    /// INTERNAL, when this machine gives no threads.
    pub fn start(options: Options) -> Result<Client, Fail> {
        let (send, events) = channel::unbounded();
        let paused = send.clone();
        let sink = move |event| {
            // The receiver is gone only when the client is.
            let _ = send.try_send(event);
            paused.len() >= EVENTS
        };
        let core = core::Core::new(options, Box::new(sink));
        let limits = Limits { outbox: OUTBOX, ..Limits::default() };
        let handle = Handle::new(core, limits, 1, None, &Arc::new(Registry::default())).map_err(Fail::internal)?;
        handle.with(|core, ctx| core.begin(ctx));
        Ok(Client { handle, events })
    }

    /// What happened since, in order; waits until something does. None: the client has given up, as the event before said.
    pub async fn next(&self) -> Option<Event> {
        let event = self.events.recv().await.ok();
        if self.events.len() == EVENTS / 2 || self.events.is_empty() {
            self.handle.with(|core, ctx| core.resume(ctx));
        }
        event
    }

    /// Sends an online message. Ok: it is in the hands of the recipient's server, and queued to at least one session.
    ///
    /// # Errors
    /// OFFLINE, NOTFOUND, BUSY, DENIED; UNAVAILABLE while there is no connection, or when it broke before the answer.
    pub async fn send(&self, recipient: &str, body: &[u8]) -> Result<(), Fail> {
        self.request("SENDMESSAGE", &[recipient.as_bytes(), body]).await.map(|_| ())
    }

    /// Any request of a signed-on client: `fields` unescaped; the answer's DATA, unescaped.
    ///
    /// # Errors
    /// The server's FAIL, or UNAVAILABLE as for `send`.
    pub async fn request(&self, command: &str, fields: &[&[u8]]) -> Result<Vec<u8>, Fail> {
        self.post(command, fields).answer().await
    }

    /// As `request`, without waiting: when this returns, the request has its place in the order of what is sent.
    pub fn post(&self, command: &str, fields: &[&[u8]]) -> Reply {
        self.post_with(command, fields, None)
    }

    /// As `post`, with one field more, which is not copied.
    pub fn post_blob(&self, command: &str, fields: &[&[u8]], last: Blob) -> Reply {
        self.post_with(command, fields, Some(last))
    }

    fn post_with(&self, command: &str, fields: &[&[u8]], last: Option<Blob>) -> Reply {
        let (send, answer) = channel::bounded(1);
        let reply = move |result| drop(send.try_send(result));
        self.handle.with(|core, ctx| core.ask(ctx, command, fields, last, reply));
        Reply { answer }
    }

    /// Sends what has no answer.
    ///
    /// # Errors
    /// UNAVAILABLE while there is no connection, BUSY when too much waits to be written.
    pub fn push(&self, command: &str, fields: &[&[u8]]) -> Result<(), Fail> {
        self.handle.with(|core, ctx| core.push(ctx, command, fields))
    }

    /// The address of the server that the client is signed on to now.
    pub fn server_ip(&self) -> Option<IpAddr> {
        self.handle.with(|core, ctx| core.server_ip(ctx))
    }

    /// Waits until the client is signed on, at most so long.
    ///
    /// # Errors
    /// Why it is not: UNAVAILABLE when the time is over, any other when the client has given up.
    pub async fn when_on(&self, patience: Duration) -> Result<(), Fail> {
        let until = Instant::now() + patience;
        let mut last = Fail::new(Code::Unavailable, core::NOT_CONNECTED);
        loop {
            let (on, over) = self.handle.with(|core, _| (core.when_on(), core.has_given_up()));
            match rt::timeout(until.saturating_duration_since(Instant::now()), on.recv()).await {
                Ok(Ok(Ok(()))) => return Ok(()),
                Ok(Ok(Err(fail))) if over => return Err(fail),
                // The next attempt follows.
                Ok(Ok(Err(fail))) => last = fail,
                Ok(Err(_)) => {}
                Err(_) => return Err(last),
            }
        }
    }

    /// Whether the client is signed on now.
    pub fn is_on(&self) -> bool {
        self.handle.with(|core, _| core.is_on())
    }

    /// The lines of the server map; changes follow as `Event::Map`.
    ///
    /// # Errors
    /// As `request`.
    pub async fn server_map(&self) -> Result<Vec<String>, Fail> {
        let map = self.request("GETSERVERMAP", &[]).await?;
        Ok(String::from_utf8_lossy(&map).lines().map(str::to_owned).collect())
    }

    /// The token that stands in for the password next time.
    pub fn token(&self) -> Option<String> {
        self.handle.with(|core, _| core.token())
    }

    /// Signs off; nothing can be asked after that.
    pub async fn sign_off(&self) {
        let (send, answer) = channel::bounded(1);
        self.handle.with(|core, ctx| core.sign_off(ctx, send));
        let _ = answer.recv().await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.handle.with(|core, ctx| core.stop(ctx));
    }
}

/// A request that was posted.
pub struct Reply {
    answer: channel::Receiver<Result<Blob, Fail>>,
}

impl Reply {
    /// Waits for the answer's DATA. To be asked once.
    ///
    /// # Errors
    /// As `Client::request`.
    pub async fn answer(&self) -> Result<Vec<u8>, Fail> {
        self.blob().await.map(Blob::into_vec)
    }

    /// The same, for large ones that are only looked at.
    ///
    /// # Errors
    /// As `Client::request`.
    pub async fn blob(&self) -> Result<Blob, Fail> {
        self.answer.recv().await.unwrap_or_else(|_| Err(Fail::new(Code::Unavailable, "the client was stopped")))
    }
}
