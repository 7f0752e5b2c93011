//! What is stored for a user (contract 6): files and folders, offline messages, workspaces, metadata. Many requests are under
//! way at once, within a window, so that memory is the same however much is moved.
//!
//! **A connection that breaks** takes the answers of its requests with it. The `Client` comes back by itself; a request
//! whose answer was lost is asked again where that is harmless: `Again` says how a second time is told from a first.

mod download;
mod entry;
mod mail;
mod parts;
mod upload;
mod walk;
mod workspace;

use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use super::core;
use super::window::Permit;
use super::window::Window;
use super::Client;
use super::Reply;
use crate::engine::rt;
use crate::wire::Blob;
use crate::wire::Code;
use crate::wire::Fail;

pub use download::Whole;
pub use entry::Entry;
pub use entry::Info;
pub use entry::Waiting;
pub use mail::Letter;
pub use upload::Upload;
pub use walk::join;
pub use walk::Walk;
pub use workspace::Change;
pub use workspace::Workspace;

/// Requests under way at once.
const REQUESTS: usize = 128;
/// Bytes of them.
const BYTES: usize = 8 << 20;
/// Bytes of files that were read and are not posted yet.
const BUFFERS: usize = 8 << 20;
/// What one WRITEFILE, APPENDOFFLINEMESSAGE or POSTCHANGE carries at most, and what a block of the storage is at most.
pub const PIECE: usize = 1 << 20;
/// What one READFILE asks for at most: what one WRITEFILE made, so that it is of one block.
pub const READ: usize = PIECE;
/// How long a connection that broke, or a server that says BUSY or UNAVAILABLE, is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// The wait before a request is asked again, at first and at most.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(2));

/// Why bytes could not be moved between a file of this machine and the storage.
#[derive(Debug)]
pub enum Trouble {
    /// The server says no.
    Remote(Fail),
    /// This machine says no.
    Local(std::io::Error),
    /// The file was changed while it was read, and not put together from two.
    Changed,
}

impl From<Fail> for Trouble {
    fn from(fail: Fail) -> Trouble {
        Trouble::Remote(fail)
    }
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Trouble {
        Trouble::Local(error)
    }
}

/// Hears of the bytes of a transfer.
pub trait Watch: Send + Sync {
    /// So many bytes are over.
    fn moved(&self, bytes: u64);
    /// So many were there already.
    fn kept(&self, bytes: u64);
}

/// What a request that was asked a second time may be answered, when the first time was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Again {
    /// The same as the first time.
    Same,
    /// EXISTS: it is there.
    Exists,
    /// NOTFOUND: it is gone.
    NotFound,
    /// It must not be asked a second time.
    Never,
}

/// The storage, as its user sees it. Clones share the window.
#[derive(Clone)]
pub struct Store {
    client: Arc<Client>,
    window: Window,
    /// Who has a place here may wait for one in `window`, and never the other way round.
    buffers: Window,
    /// Whether anything was answered OK: a storage that was never there is not waited for.
    worked: Arc<AtomicBool>,
    patience: Duration,
    old: parts::Old,
}

/// How long one thing was tried.
struct Tries {
    since: Option<Instant>,
    wait: Duration,
}

impl Tries {
    fn new() -> Tries {
        Tries { since: None, wait: BACK_OFF.0 }
    }
}

/// The engine's FAIL, not the server's: the connection broke.
fn broke(fail: &Fail) -> bool {
    fail.code == Code::Unavailable && (fail.text == core::BROKE || fail.text == core::NOT_CONNECTED)
}

/// Whether the request may have been carried out though it was answered so.
fn may_be_done(fail: &Fail) -> bool {
    fail.code == Code::Unavailable && fail.text != core::NOT_CONNECTED
}

impl Store {
    /// The storage of that client's user. Somebody must take the client's events, else nothing is read.
    pub fn new(client: Arc<Client>) -> Store {
        let window = Window::new(REQUESTS, BYTES);
        let buffers = Window::new(REQUESTS, BUFFERS);
        Store { client, window, buffers, worked: Arc::default(), patience: PATIENCE, old: Arc::default() }
    }

    /// The same with another patience: how long a broken connection, BUSY, or UNAVAILABLE is waited out.
    #[must_use]
    pub fn with_patience(mut self, patience: Duration) -> Store {
        self.patience = patience;
        self
    }

    /// A place in the window; see `Window::enter`.
    async fn enter(&self, bytes: usize) -> Permit {
        self.window.enter(bytes).await
    }

    fn post(&self, command: &str, fields: &[&[u8]]) -> Reply {
        self.client.post(command, fields)
    }

    fn post_blob(&self, command: &str, fields: &[&[u8]], last: Blob) -> Reply {
        self.client.post_blob(command, fields, last)
    }

    /// Waits until it is worth trying again. Err: it is not.
    async fn wait(&self, fail: Fail, tries: &mut Tries) -> Result<(), Fail> {
        let until = *tries.since.get_or_insert_with(Instant::now) + self.patience;
        let left = until.saturating_duration_since(Instant::now());
        if broke(&fail) {
            return self.client.when_on(left).await;
        }
        let worth = match fail.code {
            Code::Busy => true,
            Code::Unavailable => self.worked.load(Ordering::Relaxed),
            _ => false,
        };
        if !worth || left.is_zero() {
            return Err(fail);
        }
        rt::sleep(tries.wait.min(left)).await;
        tries.wait = (tries.wait * 2).min(BACK_OFF.1);
        Ok(())
    }

    /// Asks, and asks again as `again` allows. Also whether it may have been carried out twice.
    async fn ask_told(
        &self,
        again: Again,
        command: &str,
        fields: &[&[u8]],
        answer: usize,
    ) -> (Result<Vec<u8>, Fail>, bool) {
        let bytes = fields.iter().map(|field| field.len()).sum::<usize>() + answer;
        let (mut twice, mut tries) = (false, Tries::new());
        loop {
            let result = {
                let _permit = self.enter(bytes).await;
                self.post(command, fields).answer().await
            };
            let fail = match result {
                Ok(data) => {
                    self.worked.store(true, Ordering::Relaxed);
                    return (Ok(data), twice);
                }
                Err(fail) => fail,
            };
            if may_be_done(&fail) {
                if again == Again::Never {
                    return (Err(fail), twice);
                }
                twice = true;
            }
            if let Err(fail) = self.wait(fail, &mut tries).await {
                return (Err(fail), twice);
            }
        }
    }

    async fn ask(&self, again: Again, command: &str, fields: &[&[u8]]) -> Result<Vec<u8>, Fail> {
        let (result, twice) = self.ask_told(again, command, fields, 0).await;
        match (result, again) {
            (Err(fail), Again::Exists) if twice && fail.code == Code::Exists => Ok(Vec::new()),
            (Err(fail), Again::NotFound) if twice && fail.code == Code::NotFound => Ok(Vec::new()),
            (result, _) => result,
        }
    }

    async fn ask_text(&self, again: Again, command: &str, fields: &[&[u8]]) -> Result<String, Fail> {
        let answer = self.ask(again, command, fields).await?;
        String::from_utf8(answer).map_err(|_| Fail::new(Code::Internal, "the server's answer is not UTF-8"))
    }

    /// CREATEFOLDER.
    ///
    /// # Errors
    /// EXISTS, DENIED, NOTFOUND (there is no folder above it), LIMIT, BADARGS, and those of every request: UNAVAILABLE, BUSY.
    pub async fn create_folder(&self, path: &str) -> Result<(), Fail> {
        self.ask(Again::Exists, "CREATEFOLDER", &[path.as_bytes()]).await.map(drop)
    }

    /// DELETEFOLDER, an empty one.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, BADARGS (not empty, or no folder).
    pub async fn delete_folder(&self, path: &str) -> Result<(), Fail> {
        self.ask(Again::NotFound, "DELETEFOLDER", &[path.as_bytes()]).await.map(drop)
    }

    /// CREATEFILE: an empty one. After a broken connection EXISTS may mean the one that this made.
    ///
    /// # Errors
    /// EXISTS, DENIED, NOTFOUND (there is no folder above it), LIMIT, BADARGS.
    pub async fn create_file(&self, path: &str) -> Result<(), Fail> {
        self.ask(Again::Same, "CREATEFILE", &[path.as_bytes()]).await.map(drop)
    }

    /// DELETEFILE.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, BADARGS (no file).
    pub async fn delete_file(&self, path: &str) -> Result<(), Fail> {
        self.ask(Again::NotFound, "DELETEFILE", &[path.as_bytes()]).await.map(drop)
    }

    /// WRITEFILE of at most `PIECE` bytes.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, QUOTA, BADARGS (`offset` is behind the end).
    pub async fn write(&self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), Fail> {
        let offset = offset.to_string();
        self.ask(Again::Same, "WRITEFILE", &[path.as_bytes(), offset.as_bytes(), bytes]).await.map(drop)
    }

    /// READFILE of at most `READ` bytes; fewer come at the file's end.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, BADARGS (`offset` is behind the end).
    pub async fn read(&self, path: &str, offset: u64, length: usize) -> Result<Vec<u8>, Fail> {
        let (offset, words) = (offset.to_string(), length.to_string());
        let fields = [path.as_bytes(), offset.as_bytes(), words.as_bytes()];
        self.ask_told(Again::Same, "READFILE", &fields, length).await.0
    }

    /// TRUNCATEFILE.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, BADARGS (`size` is more than it has).
    pub async fn truncate(&self, path: &str, size: u64) -> Result<(), Fail> {
        self.ask(Again::Same, "TRUNCATEFILE", &[path.as_bytes(), size.to_string().as_bytes()]).await.map(drop)
    }

    /// MOVE. What was moved before its answer was lost is told by its being at `to`.
    ///
    /// # Errors
    /// NOTFOUND, EXISTS, DENIED, QUOTA, BADARGS.
    pub async fn rename(&self, from: &str, to: &str) -> Result<(), Fail> {
        self.moved("MOVE", from, to).await
    }

    /// REPLACE: a file that is at `to` goes, with no moment at which none is there.
    ///
    /// # Errors
    /// As `rename`; EXISTS when a folder is there.
    pub async fn replace(&self, from: &str, to: &str) -> Result<(), Fail> {
        self.moved("REPLACE", from, to).await
    }

    async fn moved(&self, command: &str, from: &str, to: &str) -> Result<(), Fail> {
        match self.ask_told(Again::Same, command, &[from.as_bytes(), to.as_bytes()], 0).await {
            (Err(fail), true) if fail.code == Code::NotFound && self.info(to).await.is_ok() => Ok(()),
            (result, _) => result.map(drop),
        }
    }

    /// LISTFOLDER.
    ///
    /// # Errors
    /// NOTFOUND, DENIED, BADARGS (no folder); INTERNAL when the answer cannot be read.
    pub async fn list(&self, path: &str) -> Result<Vec<Entry>, Fail> {
        self.ask_text(Again::Same, "LISTFOLDER", &[path.as_bytes()]).await?.lines().map(str::parse).collect()
    }

    /// GETINFO. Of a large file it may take as long as it takes the servers to read it, for its hash.
    ///
    /// # Errors
    /// NOTFOUND, DENIED.
    pub async fn info(&self, path: &str) -> Result<Info, Fail> {
        self.ask_text(Again::Same, "GETINFO", &[path.as_bytes()]).await?.parse()
    }

    /// What the folder above says of an entry: as `info` without its price.
    ///
    /// # Errors
    /// As `list`; NOTFOUND.
    pub async fn find(&self, path: &str) -> Result<Entry, Fail> {
        let root = || Entry { name: String::new(), folder: true, size: 0, modified: 0 };
        let Some((above, name)) = path.rsplit_once('/').filter(|(_, name)| !name.is_empty()) else { return Ok(root()) };
        // The root, here or in another realm.
        if above.is_empty() || above.ends_with("::") {
            return Ok(Entry { name: name.to_owned(), ..root() });
        }
        let entries = match self.list(above).await {
            // It may be readable where the folder is not.
            Err(fail) if matches!(fail.code, Code::Denied | Code::NotFound) => {
                let info = self.info(path).await?;
                return Ok(Entry {
                    name: name.to_owned(),
                    folder: info.folder,
                    size: info.size,
                    modified: info.modified,
                });
            }
            entries => entries?,
        };
        let found = entries.into_iter().find(|entry| entry.name == name);
        found.ok_or_else(|| Fail::new(Code::NotFound, "there is no such file or folder"))
    }

    /// SETPERMISSIONS: `subject|rights` each; none: those of the folder above hold.
    ///
    /// # Errors
    /// NOTFOUND (the entry, or a subject), DENIED, BADARGS.
    pub async fn set_permissions(&self, path: &str, rights: &[(String, String)]) -> Result<(), Fail> {
        let lines: Vec<String> = rights.iter().map(|(subject, rights)| format!("{subject}|{rights}")).collect();
        let fields: Vec<&[u8]> =
            std::iter::once(path).chain(lines.iter().map(String::as_str)).map(str::as_bytes).collect();
        self.ask(Again::Same, "SETPERMISSIONS", &fields).await.map(drop)
    }

    /// SETMETADATA.
    ///
    /// # Errors
    /// BADARGS, QUOTA.
    pub async fn set_metadata(&self, key: &str, value: &[u8]) -> Result<(), Fail> {
        self.ask(Again::Same, "SETMETADATA", &[key.as_bytes(), value]).await.map(drop)
    }

    /// GETMETADATA.
    ///
    /// # Errors
    /// NOTFOUND, DENIED.
    pub async fn metadata(&self, user: &str, key: &str) -> Result<Vec<u8>, Fail> {
        self.ask(Again::Same, "GETMETADATA", &[user.as_bytes(), key.as_bytes()]).await
    }

    /// LISTMETADATA: the keys that may be read, with what the server tells of each.
    ///
    /// # Errors
    /// NOTFOUND.
    pub async fn list_metadata(&self, user: &str) -> Result<Vec<String>, Fail> {
        let lines = self.ask_text(Again::Same, "LISTMETADATA", &[user.as_bytes()]).await?;
        Ok(lines.lines().map(str::to_owned).collect())
    }
}
