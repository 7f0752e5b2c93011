//! Moving to another server because this one asks for it (contract 9), so that nobody notices.
//!
//! ```text
//!        REDIRECT                OK to HANDOVER                    the old link ends
//! none ───────────► reaching ────────────────────► swapping ──────────────────────────► none, the new link is read
//!   ▲                  │                              requests go to the new link, SIGNOFF alone to the old;
//!   └──────────────────┘                              the old one is read, the new one is not
//!    REFUSED to the old one
//! ```
//! **When HANDOVER has no answer** nobody here knows whether the target has it. The client then says REFUSED and goes on where it
//! is. If the target does not have it, that is right. If it has, the source closes the old link, as it cannot undo the move,
//! and the client signs on anew: what the target holds for the session is given again then, what was not answered is told
//! to whoever sent it.

use zeroize::Zeroizing;

use super::spend;
use super::standby::AT_ONCE;
use super::told;
use super::Core;
use super::Event;
use super::Peer;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;

/// A move takes this long at most, whatever the source allows, until the target has answered; milliseconds.
const REACH: u64 = 60_000;
/// How long the answer to HANDOVER is waited for when the source is gone; milliseconds.
const ANSWER: u64 = 5_000;
/// A source that sends no message for so long, and does not close, is not waited for any more; milliseconds.
const OLD_IDLE: u64 = 60_000;
/// How long the old link is read when the target is gone; milliseconds.
const TARGET_GONE: u64 = 5_000;
/// When SIGNOFF is tried again because too much waits to be written before it; milliseconds.
const FULL: u64 = 20;

/// Where a move stands.
#[derive(Default)]
pub(super) enum Moving {
    /// There is none.
    #[default]
    None,
    /// A link to the target is made, and HANDOVER sent.
    Reaching(Box<Offer>),
    /// The target has the session; the old link is read to its end.
    Swapping(Box<Swap>),
}

/// A REDIRECT that is followed.
pub(super) struct Offer {
    later: Later,
    id: String,
    server: String,
    fingerprint: Fingerprint,
    secret: Zeroizing<Vec<u8>>,
    /// To the target.
    link: LinkId,
    asked: bool,
    /// Why the old link broke, if it has.
    old_gone: Option<String>,
}

/// Two links, and the session is on both.
pub(super) struct Swap {
    old: LinkId,
    new: LinkId,
    server: String,
    /// SIGNOFF was answered: the source has sent all.
    whole: bool,
    /// Why the new link broke, if it has.
    new_gone: Option<String>,
}

impl Moving {
    /// The link that is read to its end.
    pub(super) fn old(&self) -> Option<LinkId> {
        match self {
            Moving::Swapping(swap) => Some(swap.old),
            Moving::None | Moving::Reaching(_) => None,
        }
    }

    fn swap(&mut self, old: LinkId) -> Option<&mut Swap> {
        match self {
            Moving::Swapping(swap) if swap.old == old => Some(swap),
            _ => None,
        }
    }

    fn offer(&mut self, link: LinkId) -> Option<&mut Offer> {
        match self {
            Moving::Reaching(offer) if offer.link == link => Some(offer),
            _ => None,
        }
    }
}

pub(super) const REDIRECT: Command<Core> = Command {
    name: "REDIRECT",
    ports: &[PortKey::ClientMain],
    args: "request-id LF server-id LF host:port LF fingerprint LF timeout-ms LF secret",
    gate: told::signed_on,
    run: redirect,
};

fn redirect(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [id, server, address, print, timeout, secret] = request.data().take()?;
    let (id, server, address) = (id.text()?.into_owned(), server.text()?.into_owned(), address.text()?.into_owned());
    let fingerprint =
        hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
    let timeout = timeout.number()?.min(REACH);
    let free = matches!(core.moving, Moving::None);
    if !core.options.redirects || !free || core.stopped || core.main != Some(request.link) {
        return Err(Fail::new(Code::Refused, id));
    }
    let link = ctx.connect(PortKey::ClientMain, Target::Net(address, Verify::Any), Peer::MoveTo);
    core.moving = Moving::Reaching(Box::new(Offer {
        later: request.later(),
        id,
        server,
        fingerprint,
        secret: Zeroizing::new(secret.unescape().into_owned()),
        link,
        asked: false,
        old_gone: None,
    }));
    ctx.after(timeout, move |core, ctx| core.cannot_move(ctx, link, "no answer in time"));
    Ok(Answer::Later)
}

impl Core {
    /// The link to the target is there.
    pub(super) fn hand_over(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let print = ctx.info(link).and_then(|info| info.fingerprint);
        let user = self.options.user.clone();
        let Some(offer) = self.moving.offer(link) else { return };
        if print != Some(offer.fingerprint) {
            return self.cannot_move(ctx, link, "it shows another certificate than it should");
        }
        offer.asked = true;
        let fields = [offer.id.as_bytes(), user.as_bytes(), &offer.secret];
        ctx.request(link, "HANDOVER", &fields, move |core, ctx, answer| match answer {
            Ok(_) => core.handed_over(ctx, link),
            Err(fail) => core.cannot_move(ctx, link, &fail.text),
        });
    }

    /// The target has the session.
    fn handed_over(&mut self, ctx: &mut Ctx<Core>, new: LinkId) {
        if self.moving.offer(new).is_none() {
            return;
        }
        let Moving::Reaching(offer) = std::mem::take(&mut self.moving) else { return };
        // The source drops it as well.
        self.drop_standby(ctx);
        let old = self.main.take();
        self.go_on(ctx, new);
        let Some(old) = old else { return self.arrived(ctx, new, offer.server, false) };
        ctx.pause(new, true);
        self.moving = Moving::Swapping(Box::new(Swap { old, new, server: offer.server, whole: false, new_gone: None }));
        self.leave(ctx, old);
        self.watch_old(ctx, old);
    }

    /// The last request on the old link.
    fn leave(&mut self, ctx: &mut Ctx<Core>, old: LinkId) {
        if self.moving.swap(old).is_none() {
            return;
        }
        ctx.request(old, "SIGNOFF", &[], move |core, ctx, answer| {
            let full = answer.as_ref().is_err_and(|fail| fail.code == Code::Busy) && ctx.is_open(old);
            let Some(swap) = core.moving.swap(old) else { return };
            swap.whole = answer.is_ok();
            if full {
                ctx.after(FULL, move |core, ctx| core.leave(ctx, old));
            }
        });
    }

    /// Looks now and then whether the old link still brings something.
    fn watch_old(&mut self, ctx: &mut Ctx<Core>, old: LinkId) {
        let count = self.count;
        ctx.after(OLD_IDLE, move |core, ctx| {
            if core.moving.swap(old).is_none() {
                return;
            }
            if core.count == count && !core.full {
                ctx.abort(old, "the server that the session left does not close");
            }
            core.watch_old(ctx, old);
        });
    }

    /// A link of the session is gone: the only one, or one of two.
    pub(super) fn session_closed(&mut self, ctx: &mut Ctx<Core>, link: LinkId, why: String) {
        match &mut self.moving {
            Moving::Swapping(swap) if swap.old == link => self.swapped(ctx),
            Moving::Swapping(swap) => {
                // What the old link still brings comes first. Where the session is now nobody knows.
                swap.new_gone = Some(why);
                self.main = None;
                let old = swap.old;
                ctx.after(TARGET_GONE, move |core, ctx| {
                    if core.moving.swap(old).is_some() {
                        ctx.abort(old, "the server that the session moved to is gone");
                    }
                });
            }
            Moving::Reaching(offer) if offer.asked && !self.stopped => {
                // It may be at the target already, which will say so.
                offer.old_gone = Some(why);
                self.main = None;
                let target = offer.link;
                ctx.after(ANSWER, move |core, ctx| core.cannot_move(ctx, target, "no answer in time"));
            }
            Moving::Reaching(_) | Moving::None => {
                self.drop_move(ctx);
                self.lost(ctx, why);
            }
        }
    }

    /// The old link has been read to its end.
    fn swapped(&mut self, ctx: &mut Ctx<Core>) {
        let Moving::Swapping(swap) = std::mem::take(&mut self.moving) else { return };
        match swap.new_gone {
            Some(why) => self.lost(ctx, why),
            None => self.arrived(ctx, swap.new, swap.server, swap.whole),
        }
    }

    /// The new link is read from now on. `whole`: all that was sent on the old one was read.
    fn arrived(&mut self, ctx: &mut Ctx<Core>, new: LinkId, server: String, whole: bool) {
        if !whole {
            self.received.new_connection();
        }
        ctx.pause(new, false);
        // The user may have signed off meanwhile.
        if self.main == Some(new) {
            ctx.pause(new, self.full);
            self.tell(ctx, Event::Moved(server));
            self.want_standby(ctx, AT_ONCE);
        }
    }

    /// The target cannot be had: the session goes on where it is.
    pub(super) fn cannot_move(&mut self, ctx: &mut Ctx<Core>, target: LinkId, why: &str) {
        if self.moving.offer(target).is_none() {
            return;
        }
        let Moving::Reaching(offer) = std::mem::take(&mut self.moving) else { return };
        log::debug!("not moved to {}: {why}", offer.server);
        spend(ctx, target);
        match offer.old_gone {
            None => ctx.answer(&offer.later, Err(Fail::new(Code::Refused, offer.id))),
            Some(why) => self.lost(ctx, why),
        }
    }

    /// No move that could still be refused is wanted any more.
    pub(super) fn refuse_move(&mut self, ctx: &mut Ctx<Core>, why: &str) {
        if let Moving::Reaching(offer) = &self.moving {
            let target = offer.link;
            self.cannot_move(ctx, target, why);
        }
    }

    /// Forgets a move, with all its links but the session's.
    pub(super) fn drop_move(&mut self, ctx: &mut Ctx<Core>) {
        match std::mem::take(&mut self.moving) {
            Moving::None => {}
            Moving::Reaching(offer) => spend(ctx, offer.link),
            Moving::Swapping(swap) => {
                spend(ctx, swap.old);
                spend(ctx, swap.new);
            }
        }
    }
}
