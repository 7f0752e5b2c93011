//! Packets that had to wait: they are handled when they need not wait any more, and before the end of their link.

use super::Host;
use crate::engine::command::Role;
use crate::engine::ctx::LinkId;
use crate::engine::ctx::State;

impl<R: Role> Host<R> {
    /// Handles the packets that were left unread, if they need not wait any more. `exchange` does so too, but a task whose
    /// socket takes nothing does not come to that, and its peer may take nothing because of just these packets.
    pub fn resume(&mut self, link: LinkId) {
        let (limits, total) = (&self.ctx.limits, self.ctx.total);
        let entry = self.ctx.slot(link).filter(|entry| entry.blocked && entry.state == State::Open);
        if entry.is_some_and(|entry| !entry.must_wait(limits, total)) {
            self.process(link, &[]);
            self.settle();
        }
    }

    /// The peer has closed the link after it was told that nothing more comes: it has read everything. `gone` follows.
    pub fn all_read(&mut self, link: LinkId) {
        if let Some(entry) = self.ctx.slot_mut(link) {
            entry.out.all_read();
        }
    }

    /// The peer will send nothing more: what is queued for it is still written. While the role has paused the link, and there are
    /// packets that it has not seen, this does nothing, and is to be called again when the link's task is woken.
    pub fn hang_up(&mut self, now: u64, link: LinkId) {
        self.ctx.now = self.ctx.now.max(now);
        self.resume(link);
        if !self.ctx.slot(link).is_some_and(|entry| entry.blocked && entry.paused) {
            self.ctx.close(link, "closed by the peer");
        }
    }
}
