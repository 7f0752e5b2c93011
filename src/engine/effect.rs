//! What a role asks for, and what a driver carries out: links to make, jobs for other threads, tasks to wake.

use std::any::Any;
use std::task::Waker;

use super::chunk::Chunk;
use super::ctx::LinkId;
use crate::config::PortKey;
use crate::voice;
use crate::wire::Fail;

/// SHA-256 of a DER certificate.
pub type Fingerprint = [u8; 32];

/// Where a role wants a link to.
#[derive(Clone, Debug)]
pub enum Target {
    /// The role of this process that listens on the port.
    Local(PortKey),
    /// `host:port`, and how its certificate is checked.
    Net(String, Verify),
    /// A Unix socket, without TLS: the operator's.
    Unix(std::path::PathBuf),
}

/// How the certificate of the accepting side is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// It has this fingerprint.
    Pinned(Fingerprint),
    /// A public CA signed it for the host's name.
    PublicCa,
    /// Any; the role looks at the fingerprint itself.
    Any,
}

/// A link that the driver shall make.
#[derive(Debug)]
pub struct Connect {
    /// The link as the role knows it already.
    pub link: LinkId,
    /// The port, as a kind.
    pub port: PortKey,
    /// Where.
    pub target: Target,
}

/// What kind of worker runs a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Computes for long: Argon2, drawing.
    Heavy,
    /// Changes the database; its result is seen only after the commit.
    Store,
    /// Reads the database.
    Query,
}

/// A job's result before the role sees it.
pub type JobResult = Result<Box<dyn Any + Send>, Fail>;
/// A job's work; the connection is there on the database's lanes.
pub type Work = Box<dyn FnOnce(Option<&rusqlite::Connection>) -> JobResult + Send>;

/// Work for another thread.
pub struct Job {
    /// Who runs it.
    pub lane: Lane,
    /// Names the continuation.
    pub token: u64,
    /// The work.
    pub work: Work,
}

/// What the task of a link does next.
#[derive(Debug)]
pub enum Next {
    /// Write this, then come back with it.
    Write(Chunk),
    /// Nothing to write. `read`: whether more may be read now.
    Idle {
        /// False while the link's own outbox is over its bound.
        read: bool,
    },
    /// Shut the connection down, then report it gone.
    Finish,
}

/// What a driver carries out after every entry into a host.
#[derive(Default)]
pub struct Effects {
    /// Tasks of links that have something to write, or to close.
    pub wake: Vec<Waker>,
    /// Links without a task waker that have something to write (simulation).
    pub dirty: Vec<LinkId>,
    /// Links to make.
    pub connects: Vec<Connect>,
    /// Work for other threads.
    pub jobs: Vec<Job>,
    /// For the thread of voice.
    pub voice: Vec<voice::Order>,
    /// When `timers` wants to be called next, if ever.
    pub deadline: Option<u64>,
}

impl Effects {
    /// Whether there is anything but the deadline.
    pub fn is_empty(&self) -> bool {
        self.wake.is_empty()
            && self.dirty.is_empty()
            && self.connects.is_empty()
            && self.jobs.is_empty()
            && self.voice.is_empty()
    }
}
