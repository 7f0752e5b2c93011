//! Whose key is whose, as far as the servers of this user have said (GETKEYS).

use std::collections::HashMap;

use super::accept;
use super::direct::Direct;
use super::direct::Event;
use super::id::Id;
use super::table::Trust;
use crate::engine::Ctx;
use crate::engine::Later;
use crate::wire::name;

/// Users whose keys are remembered.
const MOST: usize = 1_024;
/// Questions that are not answered, and those of a second that are asked because of datagrams: what strangers announce shall not
/// flood the server.
const ASKING: usize = 16;
const ASKS: usize = 8;
/// Links that wait for one answer.
const WAITING: usize = 8;

/// An answer about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Its keys; none when there is no such user.
    Keys(Vec<[u8; 32]>),
    /// Nobody can say.
    Unknown,
}

/// A link whose PROVE waits.
pub(super) struct Waiting {
    pub(super) later: Later,
    pub(super) name: String,
    pub(super) public: [u8; 32],
}

struct Known {
    answer: Answer,
    /// When it is asked for again; Unix milliseconds.
    until: u64,
}

/// What is known, by folded names.
#[derive(Default)]
pub(super) struct Vouches {
    known: HashMap<String, Known>,
    asking: HashMap<String, Vec<Waiting>>,
    /// The second that is counted for, and the questions in it.
    second: u64,
    asked: usize,
}

impl Vouches {
    /// Whether the key is that user's; None: nobody knows.
    pub(super) fn knows(&self, folded: &str, public: &[u8; 32]) -> Option<bool> {
        match &self.known.get(folded)?.answer {
            Answer::Keys(keys) => Some(keys.contains(public)),
            Answer::Unknown => None,
        }
    }

    fn is_fresh(&self, folded: &str, now: u64) -> bool {
        self.known.get(folded).is_some_and(|known| now < known.until)
    }
}

impl Direct {
    /// Asks whose keys are that user's, unless it is known or being asked. `heard`: because of a datagram, of which there may be any
    /// number; whoever proves to hold a key does not wait. False: not now.
    pub(super) fn look_up(&mut self, ctx: &mut Ctx<Direct>, id: &Id, heard: bool) -> bool {
        let (now, folded, vouches) = (ctx.now(), id.folded(), &mut self.vouches);
        if vouches.is_fresh(&folded, now) || vouches.asking.contains_key(&folded) {
            return true;
        }
        if std::mem::replace(&mut vouches.second, now / 1_000) != now / 1_000 {
            vouches.asked = 0;
        }
        if vouches.asking.len() >= ASKING || (heard && vouches.asked >= ASKS) {
            return false;
        }
        vouches.asked += 1;
        vouches.asking.insert(folded, Vec::new());
        self.tell(ctx, Event::Vouch(id.name().to_owned()));
        true
    }

    /// Asks about those who are there and could not be asked about before.
    pub(super) fn look_up_rest(&mut self, ctx: &mut Ctx<Direct>) {
        let now = ctx.now();
        let unknown = self.table.all(now).filter(|(_, entry)| entry.trust == Trust::Unknown);
        let ids: Vec<Id> = unknown.map(|(_, entry)| entry.id.clone()).collect();
        for id in ids {
            if !self.look_up(ctx, &id, true) {
                return;
            }
        }
    }

    /// A link has proven to hold a key: is it the user's?
    pub(super) fn decide(&mut self, ctx: &mut Ctx<Direct>, id: &Id, waiting: Waiting) {
        let folded = id.folded();
        if self.vouches.is_fresh(&folded, ctx.now()) || !self.look_up(ctx, id, false) {
            let believed = self.vouches.knows(&folded, &waiting.public) == Some(true);
            return accept::decided(self, ctx, waiting, believed);
        }
        match self.vouches.asking.get_mut(&folded) {
            Some(all) if all.len() < WAITING => all.push(waiting),
            _ => accept::decided(self, ctx, waiting, false),
        }
    }

    /// The answer to `Event::Vouch`; it is asked for again when `fresh_for` milliseconds are over.
    pub fn vouched(&mut self, ctx: &mut Ctx<Direct>, user: &str, answer: Answer, fresh_for: u64) {
        let (now, folded) = (ctx.now(), name::fold(user).into_owned());
        let Some(waiting) = self.vouches.asking.remove(&folded) else { return };
        let known = &mut self.vouches.known;
        if known.len() >= MOST && !known.contains_key(&folded) {
            known.retain(|_, known| known.until > now && known.answer != Answer::Unknown);
        }
        if known.len() >= MOST {
            // Those that nobody would miss: no key is theirs.
            known.retain(|_, known| matches!(&known.answer, Answer::Keys(keys) if !keys.is_empty()));
        }
        if known.len() < MOST {
            known.insert(folded.clone(), Known { answer, until: now.saturating_add(fresh_for) });
        }
        for waiting in waiting {
            let believed = self.vouches.knows(&folded, &waiting.public) == Some(true);
            accept::decided(self, ctx, waiting, believed);
        }
        if self.judge(ctx, &folded) {
            self.tell(ctx, Event::Changed);
        }
        self.drop_links(ctx, &folded);
    }

    /// Whom of those who say to be this user to believe. True: that has changed.
    pub(super) fn judge(&mut self, _: &mut Ctx<Direct>, folded: &str) -> bool {
        let network = self.me.as_ref().map(|me| me.id.network().to_owned());
        let (vouches, mut changed) = (&self.vouches, false);
        for ((public, _), entry) in self.table.all_mut().filter(|(_, entry)| entry.id.folded() == folded) {
            let trust = match vouches.knows(folded, public) {
                Some(true) => Trust::Verified,
                Some(false) if network.as_deref() == Some(entry.id.network()) => Trust::Unverified,
                Some(false) => Trust::Foreign,
                None => Trust::Unknown,
            };
            changed |= std::mem::replace(&mut entry.trust, trust) != trust;
        }
        changed
    }
}
