//! What the commands on the storage share: a session that is taken up again, what comes meanwhile, and what goes wrong.

use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use serde_json::json;
use serde_json::Value;

use super::outcome;
use super::outcome::Stop;
use super::progress::Progress;
use super::remote::Remote;
use super::session;
use super::session::Session;
use super::session::Stay;
use super::session::Target;
use super::text;
use crate::client::store::Entry;
use crate::client::store::Trouble;
use crate::client::window::Permit;
use crate::client::window::Window;
use crate::client::Event;
use crate::client::Store;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::Code;
use crate::wire::Fail;

/// Which server, who, and how to answer: what may stand before a command of two words, or behind it.
#[derive(Clone, Default)]
pub struct Place {
    /// `--server`
    pub server: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--password-file`
    pub password_file: Option<PathBuf>,
    /// `--json`
    pub json: bool,
}

impl Place {
    /// This one, and what it leaves open as `before` says.
    #[must_use]
    pub fn or(self, before: &Place) -> Place {
        Place {
            server: self.server.or(before.server.clone()),
            user: self.user.or(before.user.clone()),
            password_file: self.password_file.or(before.password_file.clone()),
            json: self.json || before.json,
        }
    }
}

/// A subcommand with the options of a `Place`; behind it, if need be, the word `json` and what that option is for.
macro_rules! placed {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* }) => {
        $crate::cli::work::placed! { $(#[$meta])* $vis struct $name { $($fields)* } json "machine-readable output" }
    };
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* } json $json:tt) => {
        #[derive(FromArgs)]
        $(#[$meta])*
        $vis struct $name {
            $($fields)*
            /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
            #[argh(option, arg_name = "URL")]
            server: Option<String>,
            /// who you are (default: as last time)
            #[argh(option, arg_name = "NAME")]
            user: Option<String>,
            /// a file with the password
            #[argh(option, arg_name = "FILE")]
            password_file: Option<std::path::PathBuf>,
            #[doc = $json]
            #[argh(switch)]
            json: bool,
        }

        impl $name {
            fn place(&self) -> $crate::cli::work::Place {
                $crate::cli::work::Place {
                    server: self.server.clone(),
                    user: self.user.clone(),
                    password_file: self.password_file.clone(),
                    json: self.json,
                }
            }
        }
    };
}
pub(super) use placed;

/// Things done at once.
const AT_ONCE: usize = 128;

/// A command under way. Clones are the same.
#[derive(Clone)]
pub struct Work {
    /// Signed on.
    pub session: Arc<Session>,
    /// The user's storage.
    pub store: Store,
    /// Whether a program reads the output.
    pub json: bool,
    /// Bytes and files.
    pub progress: Arc<Progress>,
    at_once: Window,
    trouble: Arc<Mutex<Told>>,
    over: Arc<AtomicBool>,
}

/// What was told of trouble.
#[derive(Default)]
struct Told {
    count: u64,
    /// The advice that was given.
    advice: Vec<&'static str>,
}

/// What to do about a FAIL.
fn advice(code: Code) -> &'static str {
    match code {
        Code::Unavailable => "A server that is needed is away. What was done stays; run the same again later.",
        Code::Busy => "The server has much to do. Run the same again later.",
        Code::Quota => {
            "The space is used up: `convergia rm` removes what is not needed, and the operator can give more."
        }
        Code::Denied => "`convergia share PATH` shows who may do what; whoever has the right `a` there can change it.",
        Code::NotFound => "`convergia ls PATH` shows what there is.",
        Code::BadCommand => "This server has no storage.",
        _ => "",
    }
}

/// The words of a trouble, and what to do.
fn words(trouble: &Trouble) -> (String, &'static str) {
    match trouble {
        Trouble::Remote(fail) => (outcome::words(fail), advice(fail.code)),
        Trouble::Local(error) => (error.to_string(), ""),
        Trouble::Changed => ("it was changed while it was read".to_owned(), "Run the same again."),
    }
}

/// One thing that could not be done, as the end of the command.
pub fn refused(what: &str, fail: &Fail) -> Stop {
    Stop::refused(&text::clean(what), fail, advice(fail.code))
}

impl Work {
    /// Signs on. `changes` hears of the changes of workspaces.
    ///
    /// # Errors
    /// In words.
    pub async fn begin(place: Place, changes: Option<channel::Sender<Event>>) -> Result<Work, Stop> {
        let Place { server, user, password_file, json } = place;
        let target = Target { server, user, password_file };
        let session = Arc::new(session::sign_on(&target, Stay::Work).await?);
        let store = Store::new(Arc::clone(&session.client));
        let work = Work {
            session,
            store,
            json,
            progress: Arc::new(Progress::new(json)),
            at_once: Window::new(AT_ONCE, usize::MAX),
            trouble: Arc::default(),
            over: Arc::default(),
        };
        rt::spawn(work.clone().listen(changes));
        Ok(work)
    }

    /// Takes what comes: nothing else would be read. A message must not get lost here: it is shown.
    async fn listen(self, changes: Option<channel::Sender<Event>>) {
        while let Some(event) = self.session.client.next().await {
            match event {
                Event::Message { sender, body, .. } => {
                    let body = text::clean_body(&body, "  ");
                    self.say(&format!("a message of {}: {body}", text::clean(&sender)));
                }
                Event::Notice { text, .. } => {
                    let text = text::clean_body(text.as_bytes(), "  ");
                    self.say(&format!("the operator says: {text}"));
                }
                Event::Lost(why, _) => {
                    self.say(&format!("the connection is lost ({}); trying again", text::clean(&why)))
                }
                Event::Failed(_) => self.over.store(true, Ordering::Relaxed),
                event => {
                    if let Some(changes) = &changes {
                        let _ = changes.send(event).await;
                    }
                }
            }
        }
    }

    /// Signs off. Err: something was told already that makes the exit status 1.
    ///
    /// # Errors
    /// `Stop::Told`.
    pub async fn end(&self) -> Result<(), Stop> {
        self.session.client.sign_off().await;
        match self.trouble.lock().unwrap_or_else(PoisonError::into_inner).count {
            0 => Ok(()),
            _ => Err(Stop::Told),
        }
    }

    /// A line for people.
    pub fn say(&self, words: &str) {
        self.progress.clear();
        eprintln!("convergia: {words}");
    }

    /// A line for programs.
    pub fn json(&self, fields: impl FnOnce() -> Value) {
        if self.json {
            outcome::line(fields());
        }
    }

    /// `what` could not be done; others may be.
    pub fn failed(&self, what: &str, trouble: &Trouble) {
        let (words, advice) = words(trouble);
        self.told(&format!("{}: {words}", text::clean(what)), advice);
        self.json(|| match trouble {
            Trouble::Remote(fail) => outcome::json_fail(json!({ "path": what }), fail),
            Trouble::Local(_) | Trouble::Changed => json!({ "path": what, "ok": false, "text": words }),
        });
        if let Trouble::Remote(fail) = trouble {
            // What follows would fail alike.
            if matches!(fail.code, Code::Quota | Code::Unavailable | Code::SignIn | Code::BadCommand) {
                self.over.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Counts a trouble that has its words already.
    pub fn told(&self, words: &str, advice: &'static str) {
        let first = {
            let mut told = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
            told.count += 1;
            let first = !advice.is_empty() && !told.advice.contains(&advice);
            if first {
                told.advice.push(advice);
            }
            first
        };
        self.say(words);
        if first {
            eprintln!("{advice}");
        }
    }

    /// Whether any was told.
    pub fn has_trouble(&self) -> bool {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).count > 0
    }

    /// Whether nothing more is to be begun.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// A place among the things done at once.
    pub async fn slot(&self) -> Permit {
        self.at_once.enter(0).await
    }

    /// Waits until all that was begun is done.
    pub async fn rest(&self) {
        let mut all = Vec::new();
        for _ in 0..AT_ONCE {
            all.push(self.slot().await);
        }
    }

    /// A path as the server knows it.
    ///
    /// # Errors
    /// When it cannot be one.
    pub fn remote(&self, given: &str) -> Result<Remote, Stop> {
        Remote::new(given, &self.session.user)
    }

    /// What is at a path; None: nothing.
    ///
    /// # Errors
    /// When it is not known.
    pub async fn look(&self, path: &str) -> Result<Option<Entry>, Fail> {
        if path == super::remote::home(&self.session.user) {
            return Ok(Some(Entry { name: self.session.user.clone(), folder: true, size: 0, modified: 0 }));
        }
        match self.store.find(path).await {
            Ok(entry) => Ok(Some(entry)),
            Err(fail) if fail.code == Code::NotFound => Ok(None),
            Err(fail) => Err(fail),
        }
    }
}
