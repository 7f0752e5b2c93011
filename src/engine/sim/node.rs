//! A host of any role behind one interface, so that one simulation runs all of them.

use std::any::Any;
use std::net::IpAddr;
use std::net::SocketAddr;

use crate::config::PortKey;
use crate::engine::chunk::Chunk;
use crate::engine::command::Role;
use crate::engine::ctx::Fingerprint;
use crate::engine::ctx::JobResult;
use crate::engine::ctx::LinkId;
use crate::engine::host::Effects;
use crate::engine::host::Host;
use crate::engine::host::Next;
use crate::wire::Blob;

/// A host of any role, as the simulation drives it.
pub(super) trait Node {
    fn accepted(&mut self, now: u64, port: PortKey, remote: Option<IpAddr>) -> Option<LinkId>;
    fn open(&mut self, now: u64, link: LinkId, remote: Option<IpAddr>, print: Option<Fingerprint>) -> bool;
    fn received(&mut self, now: u64, link: LinkId, bytes: &[u8]);
    fn received_blob(&mut self, now: u64, link: LinkId, head: &[u8], blob: Blob);
    fn exchange(&mut self, now: u64, link: LinkId, done: Option<Chunk>) -> Next;
    fn resume(&mut self, link: LinkId);
    fn is_blocked(&self, link: LinkId) -> bool;
    fn all_read(&mut self, link: LinkId);
    fn is_aborted(&self, link: LinkId) -> bool;
    fn gone(&mut self, now: u64, link: LinkId, why: &str);
    fn finished(&mut self, now: u64, token: u64, result: JobResult);
    fn timers(&mut self, now: u64);
    fn effects(&mut self) -> Effects;
    fn start(&mut self, now: u64);
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<R: Role> Node for Host<R> {
    fn accepted(&mut self, now: u64, port: PortKey, remote: Option<IpAddr>) -> Option<LinkId> {
        Host::accepted(self, now, port, remote, None)
    }

    fn open(&mut self, now: u64, link: LinkId, remote: Option<IpAddr>, print: Option<Fingerprint>) -> bool {
        Host::open(self, now, link, |info| {
            (info.remote, info.fingerprint) = (remote, print);
            info.local = remote.map(|ip| SocketAddr::new(ip, 0));
        })
    }

    fn received(&mut self, now: u64, link: LinkId, bytes: &[u8]) {
        Host::received(self, now, link, bytes, false);
    }

    fn received_blob(&mut self, now: u64, link: LinkId, head: &[u8], blob: Blob) {
        Host::received_blob(self, now, link, head, blob);
    }

    fn exchange(&mut self, now: u64, link: LinkId, done: Option<Chunk>) -> Next {
        Host::exchange(self, now, link, done, None)
    }

    fn resume(&mut self, link: LinkId) {
        Host::resume(self, link);
    }

    fn is_blocked(&self, link: LinkId) -> bool {
        Host::is_blocked(self, link)
    }

    fn all_read(&mut self, link: LinkId) {
        Host::all_read(self, link);
    }

    fn is_aborted(&self, link: LinkId) -> bool {
        Host::is_aborted(self, link)
    }

    fn gone(&mut self, now: u64, link: LinkId, why: &str) {
        Host::gone(self, now, link, Chunk::default(), why);
    }

    fn finished(&mut self, now: u64, token: u64, result: JobResult) {
        Host::finished(self, now, token, result);
    }

    fn timers(&mut self, now: u64) {
        Host::timers(self, now);
    }

    fn effects(&mut self) -> Effects {
        Host::effects(self)
    }

    fn start(&mut self, now: u64) {
        self.with(now, |role, ctx| role.start(ctx));
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
