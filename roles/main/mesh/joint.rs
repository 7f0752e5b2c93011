//! What waits for several results: a message to sessions on several servers, or one that is copied to a standby.

use std::collections::HashMap;

use crate::engine::LinkId;
use crate::relay::Outcome;
use crate::roles::main::realm::RealmNo;
use crate::route::ServerNo;
use crate::wire::Code;

/// Whom the result is for.
#[derive(Clone, Debug)]
pub enum Asker {
    /// A session of this server.
    Session {
        /// Index into `Main::sessions`.
        index: usize,
        /// Its link.
        link: LinkId,
        /// Its packet ID; empty: no answer is wanted.
        id: Vec<u8>,
    },
    /// An item of another server's stream.
    Item {
        /// The stream's origin.
        origin: ServerNo,
        /// The stream.
        stream: u64,
        /// The item.
        number: u64,
    },
    /// An item of another realm's stream.
    RealmItem {
        /// The realm.
        realm: RealmNo,
        /// The stream.
        stream: u64,
        /// The item.
        number: u64,
    },
    /// A message of another realm that waits here for its recipient, by its number.
    Waiting(i64),
}

/// How often one message is sent on after sessions that move, at most: a server that lies could make it go round for ever.
const SENT_ON: usize = 64;

/// The number of no joint: nobody waits.
pub const NOBODY: u64 = 0;

#[derive(Debug)]
struct Joint {
    asker: Asker,
    left: usize,
    /// How often it was sent on.
    sent_on: usize,
    /// One is enough.
    succeeded: bool,
    failed: Option<Outcome>,
}

/// All that wait.
#[derive(Debug, Default)]
pub struct Joints {
    open: HashMap<u64, Joint>,
    next: u64,
}

impl Joints {
    /// Waits for `left` results; `succeeded`: one has come already.
    pub fn open(&mut self, asker: Asker, left: usize, succeeded: bool) -> u64 {
        self.next += 1;
        self.open.insert(self.next, Joint { asker, left, sent_on: 0, succeeded, failed: None });
        self.next
    }

    /// More results are to be waited for, as sessions have moved. False: it has gone round too often, and goes nowhere.
    pub fn more(&mut self, joint: u64, count: usize, succeeded: bool) -> bool {
        let Some(joint) = self.open.get_mut(&joint) else { return false };
        joint.succeeded |= succeeded;
        joint.sent_on += count;
        if joint.sent_on > SENT_ON {
            return false;
        }
        joint.left += count;
        true
    }

    /// A result has come. When it was the last: who asked, and None if any succeeded.
    pub fn close(&mut self, number: u64, outcome: Option<Outcome>) -> Option<(Asker, Option<Outcome>)> {
        let joint = self.open.get_mut(&number)?;
        joint.left = joint.left.saturating_sub(1);
        match outcome {
            None => joint.succeeded = true,
            // BUSY says more than OFFLINE: it is worth another try.
            Some(Outcome::Fail(Code::Offline, _)) if joint.failed.is_some() => {}
            some => joint.failed = some,
        }
        if joint.left > 0 {
            return None;
        }
        let joint = self.open.remove(&number)?;
        Some((joint.asker, joint.failed.filter(|_| !joint.succeeded)))
    }
}
