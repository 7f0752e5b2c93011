//! Who is in which channel, at which server. Pure, and in memory: main servers say it again when management was restarted.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use crate::accounts::users::UserId;
use crate::engine::LinkId;
use crate::wire::Code;
use crate::wire::Fail;

/// Members of one channel, and of one server.
const IN_CHANNEL: usize = 4_096;
const AT_SERVER: usize = 65_536;
/// Channels that one user is in.
const OF_USER: usize = 64;

/// A member of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is.
    pub server: Box<str>,
    /// The link by which that server said so, or asked for it.
    pub link: LinkId,
    /// The number of its join.
    pub join: u64,
    /// A session asked for it: it ends when the user is not signed on there any more.
    pub session: bool,
    /// Its account, and that one's name as registered; empty: it has none.
    pub account: Option<UserId>,
    pub user: Box<str>,
}

/// A channel that has members.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    pub signed: bool,
    pub workspace: Option<Box<str>>,
    pub members: BTreeMap<u64, Member>,
    /// How many there are at a server, by the link that spoke for them.
    at: BTreeMap<(Box<str>, LinkId), usize>,
}

impl Channel {
    fn add(&mut self, server: &str, link: LinkId) {
        *self.at.entry((Box::from(server), link)).or_default() += 1;
    }

    fn remove(&mut self, server: &str, link: LinkId) {
        let at = (Box::from(server), link);
        let count = self.at.get(&at).map_or(0, |count| count.saturating_sub(1));
        match count {
            0 => self.at.remove(&at),
            _ => self.at.insert(at, count),
        };
    }
}

/// All channels that have members.
#[derive(Debug, Default)]
pub struct Members {
    channels: BTreeMap<u64, Channel>,
    /// How many there are at a server.
    at: HashMap<Box<str>, usize>,
    /// The channels of a uid.
    of: HashMap<u64, BTreeSet<u64>>,
}

impl Members {
    /// The channel, if it has members.
    pub fn channel(&self, channel: u64) -> Option<&Channel> {
        self.channels.get(&channel)
    }

    /// The channels that have members.
    pub fn channels(&self) -> impl Iterator<Item = (u64, &Channel)> {
        self.channels.iter().map(|(id, channel)| (*id, channel))
    }

    /// How many the channel has.
    pub fn count(&self, channel: u64) -> usize {
        self.channels.get(&channel).map_or(0, |channel| channel.members.len())
    }

    /// In how many channels a user is.
    pub fn channels_of(&self, uid: u64) -> usize {
        self.of.get(&uid).map_or(0, BTreeSet::len)
    }

    /// A member.
    pub fn get(&self, channel: u64, uid: u64) -> Option<&Member> {
        self.channels.get(&channel)?.members.get(&uid)
    }

    /// The servers where the channel has members, in the order of their ids.
    pub fn servers(&self, channel: u64) -> BTreeSet<Box<str>> {
        let at = self.channels.get(&channel).into_iter().flat_map(|channel| channel.at.keys());
        at.map(|(server, _)| server.clone()).collect()
    }

    /// Whether a server has a member in the channel by its word over this link.
    pub fn confirmed(&self, channel: u64, server: &str, link: LinkId) -> bool {
        let at = (Box::from(server), link);
        self.channels.get(&channel).is_some_and(|channel| channel.at.contains_key(&at))
    }

    /// Whether one more may come.
    ///
    /// # Errors
    /// LIMIT.
    pub fn room(&self, channel: u64, uid: u64, server: &str) -> Result<(), Fail> {
        let limit = |text| Err(Fail::new(Code::Limit, text));
        let before = self.get(channel, uid);
        if before.is_none() && self.count(channel) >= IN_CHANNEL {
            return limit("this channel has 4,096 members");
        }
        if before.is_none() && self.channels_of(uid) >= OF_USER {
            return limit("a user is in 64 channels at most");
        }
        let here = before.is_some_and(|before| *before.server == *server);
        if !here && self.at.get(server).copied().unwrap_or(0) >= AT_SERVER {
            return limit("this server has 65,536 members of channels");
        }
        Ok(())
    }

    /// A member comes; the one that it takes the place of. Who made sure of the room is who calls.
    pub fn put(&mut self, id: u64, signed: bool, workspace: Option<&str>, uid: u64, member: Member) -> Option<Member> {
        let before = self.take(id, uid);
        *self.at.entry(member.server.clone()).or_default() += 1;
        self.of.entry(uid).or_default().insert(id);
        let channel = self.channels.entry(id).or_default();
        (channel.signed, channel.workspace) = (signed, workspace.map(Box::from));
        channel.add(&member.server, member.link);
        channel.members.insert(uid, member);
        before
    }

    /// A member is none any more.
    pub fn take(&mut self, id: u64, uid: u64) -> Option<Member> {
        let channel = self.channels.get_mut(&id)?;
        let member = channel.members.remove(&uid)?;
        channel.remove(&member.server, member.link);
        if channel.members.is_empty() {
            self.channels.remove(&id);
        }
        if let Some(count) = self.at.get_mut(&member.server) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.at.remove(&member.server);
            }
        }
        if let Some(channels) = self.of.get_mut(&uid) {
            channels.remove(&id);
            if channels.is_empty() {
                self.of.remove(&uid);
            }
        }
        Some(member)
    }

    /// The link by which the member is known is this one now.
    pub fn relink(&mut self, channel: u64, uid: u64, link: LinkId) {
        let Some(channel) = self.channels.get_mut(&channel) else { return };
        let Some(member) = channel.members.get_mut(&uid) else { return };
        let (server, before) = (member.server.clone(), std::mem::replace(&mut member.link, link));
        channel.remove(&server, before);
        channel.add(&server, link);
    }

    /// Channel and uid of those of whom something is true, in order.
    pub fn find(&self, so: impl Fn(u64, &Member) -> bool) -> Vec<(u64, u64)> {
        let all = self.channels.iter();
        let all = all.flat_map(|(id, channel)| channel.members.iter().map(move |(uid, member)| (*id, *uid, member)));
        all.filter(|(_, uid, member)| so(*uid, member)).map(|(id, uid, _)| (id, uid)).collect()
    }

    /// The channels of a uid, in order.
    pub fn of(&self, uid: u64) -> Vec<u64> {
        self.of.get(&uid).into_iter().flatten().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(server: &str, join: u64) -> Member {
        let (link, account) = (LinkId::default(), None);
        Member { server: Box::from(server), link, join, session: false, account, user: Box::default() }
    }

    #[test]
    fn one_place_for_each() {
        let mut members = Members::default();
        assert_eq!(members.put(1, true, None, 7, member("a", 1)), None);
        assert_eq!(members.put(1, true, None, 8, member("b", 2)), None);
        assert_eq!(members.put(2, true, Some("w"), 7, member("a", 3)), None);
        assert_eq!(members.put(1, true, None, 7, member("b", 4)).unwrap().join, 1);
        assert_eq!((members.count(1), members.of(7), members.channels_of(8)), (2, vec![1, 2], 1));
        assert_eq!(members.servers(1), BTreeSet::from([Box::from("b")]));
        assert_eq!(members.servers(2), BTreeSet::from([Box::from("a")]));
        assert_eq!(members.find(|uid, member| uid == 7 && &*member.server == "a"), [(2, 7)]);
        for (channel, uid) in [(1, 7), (1, 8), (2, 7)] {
            assert!(members.take(channel, uid).is_some());
            assert!(members.take(channel, uid).is_none());
        }
        assert!(members.channels.is_empty() && members.at.is_empty() && members.of.is_empty());
    }

    #[test]
    fn bounded() {
        let mut members = Members::default();
        for uid in 0..IN_CHANNEL as u64 {
            assert!(members.room(1, uid, "a").is_ok());
            members.put(1, true, None, uid, member("a", uid));
        }
        assert_eq!(members.room(1, u64::MAX, "a").unwrap_err().code, Code::Limit);
        assert!(members.room(1, 5, "b").is_ok(), "who is there may come again");
        for channel in 2..=OF_USER as u64 {
            members.put(channel, true, None, 9, member("b", channel));
        }
        assert_eq!(members.room(1_000, 9, "b").unwrap_err().code, Code::Limit);
        *members.at.get_mut("a").unwrap() = AT_SERVER;
        assert_eq!(members.room(1_000, 10, "a").unwrap_err().code, Code::Limit);
        assert!(members.room(1, 10, "a").is_ok(), "it is there already");
    }
}
