//! Links between two roles of one process: the same packets, moved from one host's outbox into the other host.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use super::Handle;
use crate::config::PortKey;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::host::Next;
use crate::engine::rt;

/// A host as a local link sees it.
pub trait LocalPort: Send + Sync {
    /// A role of this process connects.
    fn accept(&self, port: PortKey) -> Option<LinkId>;
    /// The link is ready.
    fn open(&self, link: LinkId) -> bool;
    /// Bytes from the other end.
    fn received(&self, link: LinkId, bytes: &[u8]);
    /// See `Host::exchange`.
    fn exchange(&self, link: LinkId, done: Option<Vec<u8>>, waker: &Waker) -> Next;
    /// The other end is gone.
    fn gone(&self, link: LinkId, why: &str);
}

impl<R: Role> LocalPort for Handle<R> {
    fn accept(&self, port: PortKey) -> Option<LinkId> {
        self.enter(|host, now| host.accepted(now, port, None::<IpAddr>, None))
    }

    fn open(&self, link: LinkId) -> bool {
        self.enter(|host, now| host.open(now, link, |_| {}))
    }

    fn received(&self, link: LinkId, bytes: &[u8]) {
        self.enter(|host, now| host.received(now, link, bytes, false));
    }

    fn exchange(&self, link: LinkId, done: Option<Vec<u8>>, waker: &Waker) -> Next {
        self.enter(|host, now| host.exchange(now, link, done, Some(waker)))
    }

    fn gone(&self, link: LinkId, why: &str) {
        self.enter(|host, now| host.gone(now, link, Vec::new(), why));
    }
}

/// Links the role behind `handle` to the role of this process that listens on `port`.
pub fn connect<R: Role>(handle: &Handle<R>, link: LinkId, port: PortKey) -> Result<(), String> {
    let here: Arc<dyn LocalPort> = Arc::new(handle.clone());
    let there =
        handle.shared.registry.find(port).ok_or_else(|| format!("no role of this process has {}", port.name()))?;
    let other = there.accept(port).ok_or("the other role takes no more links")?;
    if !there.open(other) || !here.open(link) {
        there.gone(other, "not wanted any more");
        return Err("not wanted any more".to_owned());
    }
    rt::spawn(Mover { from: Arc::clone(&here), out: link, to: Arc::clone(&there), into: other });
    rt::spawn(Mover { from: there, out: other, to: here, into: link });
    Ok(())
}

/// One direction.
struct Mover {
    from: Arc<dyn LocalPort>,
    out: LinkId,
    to: Arc<dyn LocalPort>,
    into: LinkId,
}

impl Future for Mover {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let mut done = None;
        loop {
            match self.from.exchange(self.out, done.take(), cx.waker()) {
                Next::Write(chunk) => {
                    self.to.received(self.into, &chunk);
                    done = Some(chunk);
                }
                Next::Idle { .. } => return Poll::Pending,
                Next::Finish => {
                    self.from.gone(self.out, "closed");
                    self.to.gone(self.into, "closed by the other role");
                    return Poll::Ready(());
                }
            }
        }
    }
}
