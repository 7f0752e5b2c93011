//! The redundant link: a second server that knows of the session and takes it over when the first dies without a word.
//!
//! ```text
//! none ─► asked ──STANDBY──► reaching ──ATTACH──► ready ──the session's link breaks──► taking over ─► none, signed on there
//!   ▲   (now, or in a minute)    │                  │                                       │ TAKEOVER
//!   └────────────────────────────┴── STANDBYGONE ───┘                    the usual sign-on ◄┘ FAIL, or no answer
//! ```

use zeroize::Zeroizing;

use super::moving::Moving;
use super::spend;
use super::told;
use super::Core;
use super::Event;
use super::Peer;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::hex;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// When a standby is asked for, at a random time between two; milliseconds. For a fresh session: at once.
pub(super) const AT_ONCE: (u64, u64) = (0, 0);
/// While there is none, after `TRIES` that came to nothing.
const AGAIN: (u64, u64) = (60_000, 75_000);
/// After one is gone: many clients lose theirs at the same time. Twice as long after each try that came to nothing.
const SOON: (u64, u64) = (500, 3_000);
/// How often it is tried so soon.
const TRIES: u32 = 5;
/// How long a server may take to become the standby, whatever the session's server allows; milliseconds.
const REACH: u64 = 60_000;
/// How long the answer to TAKEOVER is waited for; milliseconds.
const ANSWER: u64 = 5_000;

/// Where the redundant link stands.
#[derive(Default)]
pub(super) enum Standby {
    /// There is none, or it will be asked for.
    #[default]
    None,
    /// A link to it is made, and ATTACH sent.
    Reaching(Box<Offer>),
    /// It would take over.
    Ready {
        /// Names it to the session's server.
        id: String,
        /// To it.
        link: LinkId,
        /// Its server-id.
        server: String,
        /// The session's server has said that it copies messages from here on.
        on: bool,
    },
    /// TAKEOVER is sent.
    TakingOver {
        /// To it.
        link: LinkId,
        /// Its server-id.
        server: String,
        /// Why the session's link broke.
        why: String,
    },
}

/// An answer to STANDBY.
pub(super) struct Offer {
    id: String,
    server: String,
    fingerprint: Fingerprint,
    secret: Zeroizing<Vec<u8>>,
    link: LinkId,
}

impl Standby {
    fn link(&self) -> Option<LinkId> {
        match self {
            Standby::None => None,
            Standby::Reaching(offer) => Some(offer.link),
            Standby::Ready { link, .. } | Standby::TakingOver { link, .. } => Some(*link),
        }
    }
}

pub(super) const STANDBY_GONE: Command<Core> = Command {
    name: "STANDBYGONE",
    ports: &[PortKey::ClientMain],
    args: "request-id",
    gate: told::signed_on,
    run: standby_gone,
};

pub(super) const STANDBY_ON: Command<Core> = Command {
    name: "STANDBYON",
    ports: &[PortKey::ClientMain],
    args: "request-id",
    gate: told::signed_on,
    run: standby_on,
};

/// From here on the session's server copies what it sends: TAKEOVER counts from here.
fn standby_on(core: &mut Core, _: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let told = request.data().text()?;
    match &mut core.standby {
        // The answer to ATTACH comes on another link, and may be later.
        Standby::Reaching(offer) if offer.id == told => core.standby_on = true,
        Standby::Ready { id, on, .. } if **id == told => *on = true,
        _ => return Ok(Answer::None),
    }
    core.count = 0;
    Ok(Answer::None)
}

fn standby_gone(core: &mut Core, ctx: &mut Ctx<Core>, request: &Request<'_>) -> Result<Answer, Fail> {
    let gone = request.data().text()?;
    let current = match &core.standby {
        Standby::Reaching(offer) => Some(&offer.id),
        Standby::Ready { id, .. } => Some(id),
        Standby::None | Standby::TakingOver { .. } => None,
    };
    if current.is_some_and(|id| **id == gone) {
        core.drop_standby(ctx);
        core.want_standby(ctx, SOON);
    }
    Ok(Answer::None)
}

impl Core {
    /// Asks for a standby after a while.
    pub(super) fn want_standby(&mut self, ctx: &mut Ctx<Core>, (first, last): (u64, u64)) {
        if !self.options.redundant || self.options.address.realm {
            return;
        }
        self.standby_round += 1;
        let round = self.standby_round;
        let delay = rand::RngExt::random_range(ctx.rng(), first..=last);
        ctx.after(delay, move |core, ctx| {
            if core.standby_round == round {
                core.ask_standby(ctx);
            }
        });
    }

    /// There was none, or it could not be reached: the server that is missing may be on its way back.
    fn want_another(&mut self, ctx: &mut Ctx<Core>) {
        let tries = self.standby_tries;
        self.standby_tries = tries.saturating_add(1);
        self.want_standby(ctx, if tries < TRIES { (SOON.0 << tries, SOON.1 << tries) } else { AGAIN });
    }

    fn ask_standby(&mut self, ctx: &mut Ctx<Core>) {
        let Some(main) = self.main.filter(|_| matches!(self.moving, Moving::None | Moving::Reaching(_))) else {
            return;
        };
        let round = self.standby_round;
        // No name: the server chooses.
        ctx.request(main, "STANDBY", &[b""], move |core, ctx, answer| {
            if core.standby_round != round {
                return;
            }
            match answer.and_then(|data| core.reach_standby(ctx, data)) {
                Ok(()) => {}
                // It knows of no such thing, and will not learn it.
                Err(fail) if fail.code == Code::BadCommand => {}
                Err(fail) => {
                    log::debug!("no standby: {fail:?}");
                    core.want_another(ctx);
                }
            }
        });
    }

    fn reach_standby(&mut self, ctx: &mut Ctx<Core>, offer: Raw<'_>) -> Result<(), Fail> {
        let [id, server, address, print, timeout, secret] = offer.take()?;
        let (id, server) = (id.text()?.into_owned(), server.text()?.into_owned());
        let fingerprint =
            hex::decode_32(&print.text()?).ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?;
        let (timeout, secret) = (timeout.number()?.min(REACH), Zeroizing::new(secret.unescape().into_owned()));
        let target = Target::Net(address.text()?.into_owned(), Verify::Any);
        let link = ctx.connect(PortKey::ClientMain, target, Peer::Standby);
        self.standby_on = false;
        self.standby = Standby::Reaching(Box::new(Offer { id, server, fingerprint, secret, link }));
        ctx.after(timeout, move |core, ctx| {
            if matches!(&core.standby, Standby::Reaching(offer) if offer.link == link) {
                core.standby_closed(ctx, link, "no answer in time");
            }
        });
        Ok(())
    }

    /// The link to the standby is there.
    pub(super) fn attach(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let print = ctx.info(link).and_then(|info| info.fingerprint);
        let Standby::Reaching(offer) = &self.standby else { return };
        if offer.link != link {
            return;
        }
        if print != Some(offer.fingerprint) {
            return self.standby_closed(ctx, link, "it shows another certificate than it should");
        }
        let fields = [offer.id.as_bytes(), self.options.user.as_bytes(), &offer.secret];
        ctx.request(link, "ATTACH", &fields, move |core, ctx, answer| match answer {
            Ok(_) => core.attached(link),
            Err(fail) => core.standby_closed(ctx, link, &fail.text),
        });
    }

    fn attached(&mut self, link: LinkId) {
        self.standby_tries = 0;
        self.standby = match std::mem::take(&mut self.standby) {
            Standby::Reaching(offer) if offer.link == link => {
                Standby::Ready { id: offer.id, link, server: offer.server, on: self.standby_on }
            }
            other => other,
        };
    }

    /// The link to the standby is gone, or of no use.
    pub(super) fn standby_closed(&mut self, ctx: &mut Ctx<Core>, link: LinkId, why: &str) {
        if self.standby.link() != Some(link) {
            return;
        }
        log::debug!("the standby is gone: {why}");
        let was = std::mem::take(&mut self.standby);
        self.drop_standby(ctx);
        spend(ctx, link);
        match was {
            Standby::None => {}
            // The next may be one that can be reached.
            Standby::Reaching(_) => self.want_another(ctx),
            Standby::Ready { .. } => self.want_standby(ctx, SOON),
            Standby::TakingOver { why, .. } => self.failed(ctx, Fail::new(Code::Unavailable, why)),
        }
    }

    /// The session's link broke. False: nobody can take over.
    pub(super) fn take_over(&mut self, ctx: &mut Ctx<Core>, why: &str) -> bool {
        self.standby_round += 1;
        let (link, server) = match std::mem::take(&mut self.standby) {
            Standby::Ready { link, server, on: true, .. } if ctx.is_open(link) => (link, server),
            other => {
                self.standby = other;
                return false;
            }
        };
        self.standby = Standby::TakingOver { link, server, why: why.to_owned() };
        ctx.request(link, "TAKEOVER", &[self.count.to_string().as_bytes()], move |core, ctx, answer| match answer {
            Ok(_) => core.taken_over(ctx, link),
            Err(fail) => core.standby_closed(ctx, link, &fail.text),
        });
        ctx.after(ANSWER, move |core, ctx| {
            if matches!(core.standby, Standby::TakingOver { link: taking, .. } if taking == link) {
                core.standby_closed(ctx, link, "no answer in time");
            }
        });
        true
    }

    fn taken_over(&mut self, ctx: &mut Ctx<Core>, link: LinkId) {
        let server = match std::mem::take(&mut self.standby) {
            Standby::TakingOver { link: taking, server, .. } if taking == link => server,
            other => {
                self.standby = other;
                return;
            }
        };
        // What the standby has may have been read.
        self.received.new_connection();
        self.go_on(ctx, link);
        self.tell(ctx, Event::Moved(server));
        self.standby_tries = 0;
        self.want_standby(ctx, SOON);
    }

    /// Forgets the standby and all that was begun for it.
    pub(super) fn drop_standby(&mut self, ctx: &mut Ctx<Core>) {
        self.standby_round += 1;
        if let Some(link) = std::mem::take(&mut self.standby).link() {
            spend(ctx, link);
        }
    }
}
