//! Links between two roles of one process: the same packets, moved from one host's outbox into the other host.

use std::net::IpAddr;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;

use super::io::spawn;
use super::io::Task;
use super::Handle;
use crate::config::PortKey;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::host::Next;

/// A host as a local link sees it.
pub trait LocalPort: Send + Sync {
    /// A role of this process connects.
    fn accept(&self, port: PortKey) -> Option<LinkId>;
    /// The link is ready.
    fn open(&self, link: LinkId) -> bool;
    /// A chunk from the other end.
    fn received(&self, link: LinkId, chunk: &Chunk);
    /// Whether it reads nothing at the moment, after it has read what it may.
    fn is_blocked(&self, link: LinkId) -> bool;
    /// See `Host::exchange`.
    fn exchange(&self, link: LinkId, done: Option<Chunk>, waker: &Waker) -> Next;
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

    fn received(&self, link: LinkId, chunk: &Chunk) {
        self.enter(|host, now| match &chunk.blob {
            Some(blob) => host.received_blob(now, link, &chunk.bytes, blob.clone()),
            None => host.received(now, link, &chunk.bytes, false),
        });
    }

    fn is_blocked(&self, link: LinkId) -> bool {
        self.enter(|host, _| {
            host.resume(link);
            host.is_blocked(link)
        })
    }

    fn exchange(&self, link: LinkId, done: Option<Chunk>, waker: &Waker) -> Next {
        self.enter(|host, now| host.exchange(now, link, done, Some(waker)))
    }

    fn gone(&self, link: LinkId, why: &str) {
        self.enter(|host, now| host.gone(now, link, Chunk::default(), why));
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
    let ends = [(here, link), (there, other)];
    spawn(Box::new(Mover { ends, done: [None, None] }), None);
    Ok(())
}

/// Both directions. One end that does not read for a while, as too much of what it has read is not answered, gets nothing more; its own
/// packets go on.
struct Mover {
    ends: [(Arc<dyn LocalPort>, LinkId); 2],
    /// What each end gave last, to be given back with the next step.
    done: [Option<Chunk>; 2],
}

impl Task for Mover {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Box<dyn Task>>> {
        loop {
            let mut moved = false;
            for (here, there) in [(0, 1), (1, 0)] {
                let ((from, out), (to, into)) = (&self.ends[here], &self.ends[there]);
                if to.is_blocked(*into) {
                    continue;
                }
                match from.exchange(*out, self.done[here].take(), cx.waker()) {
                    Next::Write(chunk) => {
                        to.received(*into, &chunk);
                        self.done[here] = Some(chunk);
                        moved = true;
                    }
                    Next::Idle { .. } => {}
                    Next::Finish => {
                        from.gone(*out, "closed");
                        to.gone(*into, "closed by the other role");
                        return Poll::Ready(None);
                    }
                }
            }
            if !moved {
                return Poll::Pending;
            }
        }
    }
}
