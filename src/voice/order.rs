//! What a role asks of the thread that has the UDP sockets of voice channels, and what that tells it.

use std::net::IpAddr;

use zeroize::Zeroizing;

use super::KEY;

/// How a member of a channel proves what it sends.
#[derive(Clone, Debug)]
pub enum Terms {
    /// By nothing: the first packet binds the uid to its address.
    Unsigned,
    /// By this key: `Order::Join` of a signed channel.
    Signed(Zeroizing<[u8; KEY]>),
}

/// What a role asks. Orders are carried out one after the other.
#[derive(Clone, Debug)]
pub enum Order {
    /// The channel gets a UDP port, unless it has one. `Event::Opened` tells it, in every case. When all ports are used, the one of another
    /// channel without members is taken: so this comes before each `Join`. One that is open with other terms is closed first.
    Open {
        /// The channel.
        channel: u64,
        /// Whether its packets are signed.
        signed: bool,
    },
    /// The channel is no more: its members are told, and its port is free again.
    Close {
        /// The channel.
        channel: u64,
    },
    /// A member that sends and hears by UDP; one that is there is replaced, as if it had left. When that cannot be, as the channel is not open or
    /// full, `Event::Silent` comes. The key must be new each time: counters begin anew.
    Join {
        /// The channel; it must be open.
        channel: u64,
        /// The member.
        uid: u64,
        /// Which of the member's joins this is: `Event::Silent` names it.
        join: u64,
        /// As the channel is.
        terms: Terms,
        /// The address from which the member has asked, over TCP: one that packets of this member may be sent to without another proof.
        proven: Option<IpAddr>,
    },
    /// A member is no more: kicked, or gone by itself. It is told.
    Leave {
        /// The channel.
        channel: u64,
        /// The member.
        uid: u64,
    },
    /// Whether what members say is wanted here too: members at other servers, or on links, hear it.
    Listen {
        /// The channel.
        channel: u64,
        /// `Event::Heard` comes.
        on: bool,
    },
    /// What others said, for the members here: whole datagrams, one behind the other. They are sent as they are, and not to the uid in them.
    Play {
        /// The channel.
        channel: u64,
        /// A multiple of `PACKET` bytes.
        packets: Vec<u8>,
    },
}

/// What a role is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The channel's UDP port; Err, in words: there is none.
    Opened {
        /// The channel.
        channel: u64,
        /// On the address of `listen.voice_udp`.
        port: Result<u16, String>,
    },
    /// What members said since the last event, as it came, once it was found good.
    Heard {
        /// The channel.
        channel: u64,
        /// A multiple of `PACKET` bytes.
        packets: Vec<u8>,
    },
    /// A member has sent nothing for 60 s, or could not join, and is none any more.
    Silent {
        /// The channel.
        channel: u64,
        /// The member.
        uid: u64,
        /// That of its `Order::Join`: the member may have another place by now.
        join: u64,
    },
}
