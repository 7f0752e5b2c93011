//! The thread that has the UDP sockets of voice channels: one for the process, whatever their number. Packets are passed on here and nowhere
//! else; a role sees none of them, unless it listens.

mod calls;
mod ports;
mod thread;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use rustix::event::eventfd;
use rustix::event::EventfdFlags;

use super::Handle;
use crate::engine::clock;
use crate::engine::command::Role;
use crate::voice::packet::Signer;
use crate::voice::Order;
use crate::voice::KEY;

/// Bytes of `Order::Play` that may wait.
const PLAY: usize = 64 << 20;

/// Orders on their way to the thread. When this is dropped, the thread ends.
pub(super) struct Orders(Arc<Inbox>);

struct Inbox {
    /// With the time at which each was given.
    waiting: Mutex<VecDeque<(u64, Order)>>,
    /// Something was put there since the thread last looked.
    fresh: AtomicBool,
    /// Bytes of `Order::Play` that are not carried out.
    playing: AtomicUsize,
    ended: AtomicBool,
    wake: OwnedFd,
}

impl Orders {
    pub fn send(&self, orders: Vec<Order>) {
        if orders.is_empty() {
            return;
        }
        let now = clock::now();
        {
            let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
            for order in orders {
                if let Order::Play { packets, .. } = &order {
                    if self.0.playing.load(Ordering::Relaxed).saturating_add(packets.len()) > PLAY {
                        continue;
                    }
                    self.0.playing.fetch_add(packets.len(), Ordering::Relaxed);
                }
                waiting.push_back((now, order));
            }
        }
        self.0.fresh.store(true, Ordering::Release);
        self.0.wake();
    }
}

impl Inbox {
    fn wake(&self) {
        // The counter cannot overflow in a lifetime; nobody reads it, as the edge is enough.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.0.ended.store(true, Ordering::Release);
        self.0.wake();
    }
}

impl<R: Role> Handle<R> {
    /// Starts the thread for the voice channels of this role (`Ctx::voice`). The channels have `ports` UDP ports from that of `first` on;
    /// with port 0, any that are free. `everywhere`: packets that are not signed are taken from other addresses than loopback too. `seed`: of the
    /// Ed25519 key with which packets of the server are signed. Returns its public key.
    ///
    /// # Errors
    /// When the address cannot be bound, a thread cannot be had, or there is one for this role; in words, with the key to change.
    pub fn serve_voice(
        &self,
        first: SocketAddr,
        ports: u16,
        everywhere: bool,
        seed: &[u8; KEY],
    ) -> Result<[u8; KEY], String> {
        let fail = |error: std::io::Error| format!("cannot use {first} ({error}); listen.voice_udp moves it");
        // Channels open their ports later, when nobody can be told any more that the address is wrong.
        ports::socket(SocketAddr::new(first.ip(), 0)).map_err(fail)?;
        let signer = Signer::new(seed).ok_or("no key for voice")?;
        let public = signer.public();
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| fail(error.into()))?;
        let inbox = Arc::new(Inbox {
            waiting: Mutex::default(),
            fresh: AtomicBool::new(false),
            playing: AtomicUsize::new(0),
            ended: AtomicBool::new(false),
            wake,
        });
        let orders = Orders(Arc::clone(&inbox));
        let weak = Arc::downgrade(&self.shared);
        let tell = Box::new(move |events| {
            if let Some(shared) = weak.upgrade() {
                Handle { shared }.enter(|host, now| host.voice(now, events));
            }
        });
        self.shared.voice.set(orders).map_err(|_| "voice is served already".to_owned())?;
        thread::start(inbox, ports::Ports::new(first, ports), everywhere, signer, tell).map_err(fail)?;
        Ok(public)
    }
}

#[cfg(test)]
mod tests;
