//! Every bound on what outsiders can make grow, with its reason. Times in milliseconds, sizes in bytes.

/// Bounds that the configuration may move.
#[derive(Clone, Debug)]
pub struct Limits {
    /// A whole packet on a link that has not signed on: enough for every command that can be sent there.
    pub packet_before_sign_on: usize,
    /// DATA of a packet after that, unescaped; of a command with a payload ([`AROUND`]) the payload.
    pub packet: usize,
    /// Queued for one link. Over it, senders get BUSY, and the link's own requests wait.
    pub outbox: usize,
    /// Queued, unproven, and half packets over all links of a role: ten thousand links that read nothing must not add up.
    /// Over it, senders get BUSY, and the links that hold most go.
    pub outbox_total: usize,
    /// Links of a role, all together.
    pub links: usize,
    /// Links that have not signed on; the longest silent one goes when there are more.
    pub waiting_links: usize,
    /// How long an outbox may stay over its bound before the link is closed.
    pub stall: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            packet_before_sign_on: 4 << 10,
            packet: 1 << 20,
            outbox: 1 << 20,
            outbox_total: 256 << 20,
            links: 100_000,
            waiting_links: 4_096,
            stall: 30_000,
        }
    }
}

/// Silence after which a PING is sent.
pub const SILENCE_PING: u64 = 60_000;
/// Silence after which a link is gone.
pub const SILENCE_GONE: u64 = 120_000;
/// A link that needs a sign-on has this long for it.
pub const SIGN_ON: u64 = 30_000;
/// The same on the doors of a realm, where a person fills in a form meanwhile.
pub const SIGN_ON_DOOR: u64 = 300_000;
/// A TCP connection has this long to become a TLS link (contract 2: the handshake is done within 10 s).
pub const HANDSHAKE: u64 = 10_000;
/// The head of an HTTP request, and how long it may take to come whole.
pub const HTTP_HEAD: usize = 8 << 10;
/// See [`HTTP_HEAD`].
pub const HTTP_HEAD_TIME: u64 = 10_000;
/// An HTTP connection may be idle for so long between two requests.
pub const HTTP_IDLE: u64 = 15_000;
/// A page of the web port has so long to be read by the browser.
pub const HTTP_ANSWER: u64 = 60_000;
/// Requests on one HTTP connection: it counts among those that wait for a sign-on, and shall not do so without end.
pub const HTTP_REQUESTS: u32 = 64;
/// A closing link has this long to take what is queued.
pub const CLOSING: u64 = 5_000;
/// What is queued for a link lies in chunks of this size: a busy link's are used again and never grown into. A packet that
/// does not fit makes its chunk larger.
pub const CHUNK: usize = 64 << 10;
/// A chunk in which less than this is free takes no further packet.
pub const CHUNK_LEFT: usize = 4 << 10;
/// Bytes after which a PING asks for proof, at the end of all that is queued; fewer wait for the next tick.
pub const PROOF_BYTES: usize = 32 << 10;
/// Bytes after which it asks in any case, though more is queued behind.
pub const PROOF_BYTES_WITHIN: usize = 256 << 10;
/// Unproven bytes that are kept for a link whose peer answers no PING. More than the kernels at both ends buffer (6 MiB
/// on Linux, and our send buffer), so what is older was read.
pub const UNPROVEN: usize = 8 << 20;
/// Requests that one link may have open towards its peer.
pub const REQUESTS: usize = 10_000;
/// Requests of one link that wait for an answer which takes a job or another server: those behind them are not read. So one
/// link cannot fill the queues that all share.
pub const UNANSWERED: usize = 256;
/// Bytes that such requests of one link stand for: what they bring, and what they ask for. Over it, those behind are not read, also
/// between servers. So a role's memory does not grow with how much is sent to it.
pub const WEIGHT: u64 = 16 << 20;
/// Queued between two roles of one process, or two servers: answers for many clients share it.
pub const INTERNAL_OUTBOX: usize = 64 << 20;
/// Queued for a server of another network; what it asks for may add as much.
pub const FOREIGN_OUTBOX: usize = 4 << 20;
/// What a packet between networks has beside a body of the largest size: its head, and what shares the packet with it.
pub const FOREIGN_HEAD: usize = 64 << 10;
/// What may stand before the payload of a command whose DATA ends with `LF bytes`, as it stands on the wire: a path of 4 KiB and an
/// offset. So a whole block goes into one packet, whatever its name.
pub const AROUND: usize = 12 << 10;
/// DATA of an answer from a server of our own network, or to a client from the server that it trusts.
pub const ANSWER: usize = 64 << 20;
/// Jobs that wait for a worker of one kind.
pub const JOBS: usize = 4_096;
/// Buffers that a role keeps for reuse: bytes of all together.
pub const SPARE_TOTAL: usize = 16 << 20;
/// The largest buffer that is kept for reuse.
pub const SPARE_BYTES: usize = 256 << 10;
/// How often a role's `tick` runs.
pub const TICK: u64 = 1_000;
