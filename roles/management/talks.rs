//! Who talks to whom over two servers (TALKS), so that they can be brought together at their next sign-on. In memory alone:
//! it starts empty after a restart of management, and fills again within minutes.

use std::collections::HashMap;

use super::introduced;
use super::server_of;
use super::Management;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Request;
use crate::wire::name;
use crate::wire::Fail;

/// Peers remembered of a user: those it talks to most.
const PEERS: usize = 8;
/// Users remembered, over all; then the one whose talk is longest ago makes room.
const USERS: usize = 100_000;
/// Weights halve in this time; milliseconds.
const HALF: u64 = 3_600_000;
/// Lines of one TALKS; more is no main server of ours.
const LINES: usize = 256;

/// Who talks to whom. Names are folded.
#[derive(Debug, Default)]
pub struct Talks {
    users: HashMap<Box<str>, Talker>,
}

#[derive(Debug, Default)]
struct Talker {
    /// When the weights were halved last, as far as that goes in whole steps.
    stamp: u64,
    peers: Vec<(Box<str>, u64)>,
}

impl Talker {
    fn decay(&mut self, now: u64) {
        let halves = now.saturating_sub(self.stamp) / HALF;
        if halves == 0 {
            return;
        }
        self.stamp = self.stamp.saturating_add(halves.saturating_mul(HALF));
        for (_, weight) in &mut self.peers {
            *weight = weight.checked_shr(u32::try_from(halves).unwrap_or(u32::MAX)).unwrap_or(0);
        }
        self.peers.retain(|(_, weight)| *weight > 0);
    }

    fn add(&mut self, peer: &str, count: u64) {
        if let Some((_, weight)) = self.peers.iter_mut().find(|(known, _)| &**known == peer) {
            *weight = weight.saturating_add(count);
            return;
        }
        if self.peers.len() < PEERS {
            self.peers.push((Box::from(peer), count));
            return;
        }
        // The newcomer takes the place of the least, and its weight too: else nine that talk alike would push each
        // other out for ever, and none would grow.
        if let Some((name, weight)) = self.peers.iter_mut().min_by_key(|(_, weight)| *weight) {
            *name = Box::from(peer);
            *weight = weight.saturating_add(count);
        }
    }
}

impl Talks {
    /// `count` messages from one to the other; it counts for both.
    pub fn add(&mut self, one: &str, other: &str, count: u64, now: u64) {
        if one == other || count == 0 {
            return;
        }
        for (user, peer) in [(one, other), (other, one)] {
            if !self.users.contains_key(user) && self.users.len() >= USERS {
                self.make_room(now);
            }
            let talker = self.users.entry(Box::from(user)).or_insert_with(|| Talker { stamp: now, peers: Vec::new() });
            talker.decay(now);
            talker.add(peer, count);
        }
    }

    /// Drops who has no weight left, and if that is nobody, every fourth: rare, as names come only from accounts.
    fn make_room(&mut self, now: u64) {
        self.users.retain(|_, talker| {
            talker.decay(now);
            !talker.peers.is_empty()
        });
        if self.users.len() >= USERS {
            let mut nth = 0u64;
            self.users.retain(|_, _| {
                nth += 1;
                !nth.is_multiple_of(4)
            });
        }
    }

    /// Those whom the user talks to most, with weights.
    pub fn peers(&mut self, user: &str, now: u64) -> &[(Box<str>, u64)] {
        let Some(talker) = self.users.get_mut(user) else { return &[] };
        talker.decay(now);
        &talker.peers
    }
}

pub const TALKS: Command<Management> =
    Command { name: "TALKS", ports: &[PortKey::MainManagement], args: "lines", gate: introduced, run: talks };

fn talks(management: &mut Management, ctx: &mut Ctx<Management>, request: &Request<'_>) -> Result<Answer, Fail> {
    let server = server_of(ctx, request.link)?;
    let text = request.data().text()?;
    if text.lines().count() > LINES {
        return Err(Fail::bad_args("at most 256 lines"));
    }
    let now = ctx.now();
    for line in text.lines() {
        let [sender, recipient, count] = line.split('|').collect::<Vec<_>>()[..] else {
            return Err(Fail::bad_args("a line is sender|recipient|count"));
        };
        let count: u64 = count.parse().map_err(|_| Fail::bad_args("count is a number"))?;
        let (sender, recipient) = (name::fold(sender), name::fold(recipient));
        // A server speaks for those who are signed on to it, and of those there are; they may have gone meanwhile.
        if management.online.sessions(&sender, &server) > 0 && management.online.get(&recipient).is_some() {
            management.talks.add(&sender, &recipient, count, now);
        }
    }
    Ok(Answer::Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_are_kept() {
        let mut talks = Talks::default();
        for (peer, count) in (0..8).map(|n| (format!("p{n}"), 10 + n)) {
            talks.add("alice", &peer, count, 0);
        }
        talks.add("alice", "new", 1, 0);
        talks.add("alice", "alice", 100, 0);
        let peers = talks.peers("alice", 0);
        assert_eq!(peers.len(), PEERS);
        assert!(peers.contains(&(Box::from("new"), 11)) && !peers.iter().any(|(peer, _)| &**peer == "p0"));
        assert_eq!(talks.peers("p7", 0), [(Box::from("alice"), 17)]);
        assert!(talks.peers("nobody", 0).is_empty());
    }

    #[test]
    fn weights_halve() {
        let mut talks = Talks::default();
        talks.add("alice", "bob", 5, 1_000);
        assert_eq!(talks.peers("alice", 1_000 + HALF - 1)[0].1, 5);
        assert_eq!(talks.peers("alice", 1_000 + HALF)[0].1, 2);
        assert_eq!(talks.peers("alice", 1_000 + 2 * HALF)[0].1, 1);
        assert!(talks.peers("alice", u64::MAX).is_empty());
    }

    #[test]
    fn bounded() {
        let mut talks = Talks::default();
        for n in 0..=USERS {
            talks.add("alice", &n.to_string(), 1, 0);
        }
        assert!(talks.users.len() <= USERS);
        assert!(talks.users.len() > USERS / 2);
    }
}
