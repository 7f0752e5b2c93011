//! `convergia metadata`: short values under keys.

use std::io::IsTerminal;
use std::io::Read;
use std::io::Write;

use argh::FromArgs;
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use serde_json::json;

use super::outcome::Stop;
use super::session;
use super::text;
use super::work::placed;
use super::work::Place;
use super::work::Work;
use crate::engine::rt;
use crate::wire::Fail;

/// More than a user's keys and values may be all together is not even read.
const MOST: u64 = 256 << 10;

placed! {
    /// Keep short values under keys: those that begin with public- for all to read, others for you alone.
    #[argh(
        subcommand,
        name = "metadata",
        example = "{command_name} set public-phone '+1 555 0100'",
        example = "{command_name} get public-phone --of bob",
        example = "{command_name} ls"
    )]
    pub struct Metadata {
        #[argh(subcommand)]
        task: Task,
    }
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Task {
    Set(Set),
    Get(Get),
    List(List),
}

placed! {
    /// Set a value; an empty one removes the key. All of yours together have 256 KiB.
    #[argh(subcommand, name = "set", example = "{command_name} public-phone ''\n  removes it")]
    struct Set {
        /// under which key
        #[argh(positional)]
        key: String,
        /// what (default: standard input, as it is)
        #[argh(positional)]
        value: Option<String>,
    }
}

placed! {
    /// Print a value. On a terminal what could command it is shown as an escape; elsewhere the bytes come as they were set.
    #[argh(subcommand, name = "get")]
    struct Get {
        /// under which key
        #[argh(positional)]
        key: String,
        /// whose (default: yours)
        #[argh(option, arg_name = "NAME")]
        of: Option<String>,
    }
}

placed! {
    /// List keys, with the bytes of their values: all of yours, or what others show.
    #[argh(subcommand, name = "ls")]
    struct List {
        /// whose (default: yours)
        #[argh(option, arg_name = "NAME")]
        of: Option<String>,
    }
    json "machine-readable output, a line a key"
}

impl Metadata {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let place: Place = match &self.task {
            Task::Set(task) => task.place(),
            Task::Get(task) => task.place(),
            Task::List(task) => task.place(),
        };
        // What cannot be read is known before signing on.
        let value = match &self.task {
            Task::Set(set) => set.value()?,
            _ => Vec::new(),
        };
        rt::block_on(async {
            let work = Work::begin(place.or(&self.place()), None).await?;
            let done = match &self.task {
                Task::Set(set) => set.run(&work, &value).await,
                Task::Get(get) => get.run(&work).await,
                Task::List(list) => list.run(&work).await,
            };
            let ended = work.end().await;
            done.and(ended)
        })
    }
}

/// Whose, as the server has it.
fn owner(of: Option<&str>, work: &Work) -> Result<String, Stop> {
    of.map_or_else(|| Ok(work.session.user.clone()), session::user_name)
}

fn refused(what: &str) -> impl Fn(Fail) -> Stop + '_ {
    move |fail| Stop::refused(&text::clean(what), &fail, "`convergia metadata ls` shows what there is.")
}

impl Set {
    fn value(&self) -> Result<Vec<u8>, Stop> {
        if let Some(value) = &self.value {
            return Ok(value.clone().into_bytes());
        }
        let mut value = Vec::new();
        let read = std::io::stdin().take(MOST + 1).read_to_end(&mut value);
        read.map_err(|error| Stop::Refused(format!("standard input: {error}")))?;
        match value.len() as u64 > MOST {
            true => {
                Err(Stop::Refused("a value is at most 256 KiB long; `convergia put` takes what is longer".to_owned()))
            }
            false => Ok(value),
        }
    }

    async fn run(&self, work: &Work, value: &[u8]) -> Result<(), Stop> {
        let set = work.store.set_metadata(&self.key, value).await;
        set.map_err(|fail| Stop::refused(&text::clean(&self.key), &fail, ""))?;
        work.json(|| json!({ "key": self.key, "size": value.len(), "ok": true }));
        Ok(())
    }
}

impl Get {
    async fn run(&self, work: &Work) -> Result<(), Stop> {
        let user = owner(self.of.as_deref(), work)?;
        let value = work.store.metadata(&user, &self.key).await.map_err(refused(&self.key))?;
        if work.json {
            work.json(|| match std::str::from_utf8(&value) {
                Ok(text) => json!({ "user": user, "key": self.key, "value": text }),
                Err(_) => json!({ "user": user, "key": self.key, "base64": STANDARD.encode(&value) }),
            });
            return Ok(());
        }
        let mut out = std::io::stdout();
        let shown = match out.is_terminal() {
            true => format!("{}\n", text::clean_body(&value, "")).into_bytes(),
            false => value,
        };
        let written = out.write_all(&shown).and_then(|()| out.flush());
        written.map_err(|error| Stop::Refused(format!("standard output: {error}")))
    }
}

impl List {
    async fn run(&self, work: &Work) -> Result<(), Stop> {
        let user = owner(self.of.as_deref(), work)?;
        let lines = work.store.list_metadata(&user).await;
        let lines = lines.map_err(|fail| Stop::refused(&text::clean(&user), &fail, ""))?;
        for line in &lines {
            let (key, size) = line.rsplit_once('|').unwrap_or((line, ""));
            let size: u64 = size.parse().unwrap_or(0);
            match work.json {
                true => work.json(|| json!({ "user": user, "key": key, "size": size })),
                false => {
                    let line = format!("{}  {}\n", text::size(size), text::clean(key));
                    let written = std::io::stdout().write_all(line.as_bytes());
                    written.map_err(|error| Stop::Refused(format!("standard output: {error}")))?;
                }
            }
        }
        Ok(())
    }
}
