//! `convergia workspace`: a team's folder, and its conversation.

use std::io::IsTerminal;
use std::io::Read;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::remote;
use super::session;
use super::text;
use super::text::Clock;
use super::text::Paint;
use super::work;
use super::work::placed;
use super::work::Place;
use super::work::Work;
use crate::client::store::Change;
use crate::client::store::Workspace as Told;
use crate::client::store::PIECE;
use crate::client::Event;
use crate::engine::rt;
use crate::engine::rt::channel;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// What a team works on together: the folder /workspaces/NAME, for ls, put and get, and a conversation that waits for those
/// who are not there.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "workspace",
    example = "{command_name} create team bob carol",
    example = "{command_name} post team 'The plan is in plans/'",
    example = "{command_name} follow team"
)]
pub struct Workspace {
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
    #[argh(subcommand)]
    task: Task,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Task {
    Create(Create),
    List(List),
    Post(Post),
    Read(ReadSome),
    Follow(Follow),
    Add(Add),
    Remove(Remove),
    Leave(Leave),
    Delete(Delete),
}

placed! {
    /// Make a workspace.
    #[argh(subcommand, name = "create")]
    struct Create {
        /// its name
        #[argh(positional)]
        name: String,
        /// who takes part besides you
        #[argh(positional)]
        participant: Vec<String>,
    }
}

placed! {
    /// List the workspaces that you take part in.
    #[argh(subcommand, name = "ls")]
    struct List {
        /// also who takes part
        #[argh(switch, short = 'l')]
        long: bool,
    }
}

placed! {
    /// Say something to the team.
    #[argh(subcommand, name = "post")]
    struct Post {
        /// the workspace
        #[argh(positional)]
        name: String,
        /// what (default: all of standard input)
        #[argh(positional)]
        text: Vec<String>,
    }
}

placed! {
    /// Show what happened that you have not acknowledged.
    #[argh(subcommand, name = "read", note = "A change is kept until all participants have acknowledged it.")]
    struct ReadSome {
        /// the workspace
        #[argh(positional)]
        name: String,
        /// from behind that number on (default: the last one that you have acknowledged)
        #[argh(option, arg_name = "SEQ")]
        after: Option<u64>,
        /// so many at most
        #[argh(option, default = "u64::MAX")]
        count: u64,
        /// acknowledge what was shown: it need not be kept for you
        #[argh(switch)]
        ack: bool,
    }
}

placed! {
    /// Show what happens, and acknowledge it; Ctrl-C ends it.
    #[argh(subcommand, name = "follow")]
    struct Follow {
        /// the workspace
        #[argh(positional)]
        name: String,
    }
}

placed! {
    /// Let others take part.
    #[argh(subcommand, name = "add")]
    struct Add {
        /// the workspace
        #[argh(positional)]
        name: String,
        /// who
        #[argh(positional)]
        participant: Vec<String>,
    }
}

placed! {
    /// Let some take part no longer.
    #[argh(subcommand, name = "remove")]
    struct Remove {
        /// the workspace
        #[argh(positional)]
        name: String,
        /// who
        #[argh(positional)]
        participant: Vec<String>,
    }
}

placed! {
    /// Take part no longer.
    #[argh(subcommand, name = "leave")]
    struct Leave {
        /// the workspace
        #[argh(positional)]
        name: String,
    }
}

placed! {
    /// Remove a workspace and all that is in it.
    #[argh(subcommand, name = "rm")]
    struct Delete {
        /// the workspace
        #[argh(positional)]
        name: String,
        /// do not ask
        #[argh(switch, short = 'f')]
        force: bool,
    }
}

impl Task {
    fn place(&self) -> Place {
        match self {
            Task::Create(task) => task.place(),
            Task::List(task) => task.place(),
            Task::Post(task) => task.place(),
            Task::Read(task) => task.place(),
            Task::Follow(task) => task.place(),
            Task::Add(task) => task.place(),
            Task::Remove(task) => task.place(),
            Task::Leave(task) => task.place(),
            Task::Delete(task) => task.place(),
        }
    }
}

/// Changes asked for at once.
const PAGE: u64 = 500;
/// Changes that wait to be shown.
const WAITING: usize = 1_024;

fn people(given: &[String]) -> Result<Vec<String>, Stop> {
    given.iter().map(|user| session::recipient(user)).collect()
}

fn workspace_name(given: &str) -> Result<String, Stop> {
    remote::segment(given).map_err(Stop::Usage)
}

fn refused(name: &str) -> impl Fn(Fail) -> Stop + '_ {
    move |fail| match fail.code {
        Code::NotFound => Stop::refused(&text::clean(name), &fail, "`convergia workspace ls` shows which there are."),
        _ => work::refused(name, &fail),
    }
}

impl Workspace {
    fn place(&self) -> Place {
        Place {
            server: self.server.clone(),
            user: self.user.clone(),
            password_file: self.password_file.clone(),
            json: self.json,
        }
    }

    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let body = match &self.task {
            Task::Post(post) => post.body()?,
            Task::Add(Add { participant, .. }) | Task::Remove(Remove { participant, .. }) if participant.is_empty() => {
                return Err(Stop::Usage("who? Name at least one user.".to_owned()))
            }
            _ => Vec::new(),
        };
        let (changes, heard) = channel::bounded(WAITING);
        let changes = matches!(self.task, Task::Follow(_)).then_some(changes);
        rt::block_on(async {
            let work = Work::begin(self.task.place().or(&self.place()), changes).await?;
            let done = match &self.task {
                Task::Create(create) => {
                    let (name, users) = (workspace_name(&create.name)?, people(&create.participant)?);
                    done(&work, &name, work.store.create_workspace(&name, &users).await)
                }
                Task::List(task) => list(&work, task.long).await,
                Task::Post(post) => {
                    let name = workspace_name(&post.name)?;
                    let seq = work.store.post_change(&name, &body).await.map_err(refused(&name))?;
                    work.json(|| json!({ "workspace": name, "ok": true, "seq": seq }));
                    Ok(())
                }
                Task::Read(read) => read.run(&work).await,
                Task::Follow(follow) => follow.run(&work, &heard).await,
                Task::Add(add) => participants(&work, &add.name, &people(&add.participant)?, true).await,
                Task::Remove(remove) => participants(&work, &remove.name, &people(&remove.participant)?, false).await,
                Task::Leave(leave) => {
                    let name = workspace_name(&leave.name)?;
                    done(&work, &name, work.store.leave_workspace(&name).await)
                }
                Task::Delete(delete) => {
                    let name = workspace_name(&delete.name)?;
                    if !delete.force && std::io::stdin().is_terminal() && !super::rm::agrees(&name) {
                        return Ok(());
                    }
                    done(&work, &name, work.store.delete_workspace(&name).await)
                }
            };
            let ended = work.end().await;
            done.and(ended)
        })
    }
}

fn done(work: &Work, name: &str, result: Result<(), Fail>) -> Result<(), Stop> {
    result.map_err(refused(name))?;
    work.json(|| json!({ "workspace": name, "ok": true }));
    Ok(())
}

async fn all(work: &Work) -> Result<Vec<Told>, Stop> {
    work.store.workspaces().await.map_err(|fail| work::refused("the workspaces", &fail))
}

/// The one of that name.
async fn find(work: &Work, given: &str) -> Result<Told, Stop> {
    let name = workspace_name(given)?;
    let found = all(work).await?.into_iter().find(|workspace| workspace.name == name);
    found.ok_or_else(|| refused(given)(Fail::new(Code::NotFound, "you take part in no such workspace")))
}

async fn list(work: &Work, long: bool) -> Result<(), Stop> {
    for workspace in all(work).await? {
        let Told { name, creator, last, acknowledged, participants } = &workspace;
        let names = match long {
            true => match work.store.participants(name).await {
                Ok(names) => Some(names),
                // It was deleted, or left, since it was listed.
                Err(fail) if fail.code == Code::NotFound => continue,
                Err(fail) => return Err(refused(name)(fail)),
            },
            false => None,
        };
        if work.json {
            let mut fields = json!({
                "workspace": name, "creator": creator, "last": last, "acknowledged": acknowledged, "participants": participants
            });
            if let Some(names) = names {
                fields["names"] = json!(names);
            }
            outcome::line(fields);
            continue;
        }
        let new = match last.saturating_sub(*acknowledged) {
            0 => String::new(),
            new => format!("  {new} new"),
        };
        let who = match (names, participants) {
            (Some(names), _) => names.join(", "),
            (None, 1) => "1 takes part".to_owned(),
            (None, count) => format!("{count} take part"),
        };
        outcome::line(format_args!("{}{new}  {}", text::clean(name), text::clean(&who)));
    }
    Ok(())
}

async fn participants(work: &Work, given: &str, users: &[String], add: bool) -> Result<(), Stop> {
    let name = workspace_name(given)?;
    let mut list = work.store.participants(&name).await.map_err(refused(&name))?;
    let is_in = |list: &[String], user: &str| list.iter().any(|other| name::fold(other) == name::fold(user));
    if !add {
        if let Some(user) = users.iter().find(|user| !is_in(&list, user)) {
            let fail = Fail::new(Code::NotFound, "takes no part in it");
            return Err(Stop::refused(&text::clean(user), &fail, "`convergia workspace ls -l` shows who does."));
        }
    }
    list.retain(|user| !is_in(users, user));
    if add {
        list.extend_from_slice(users);
    }
    done(work, &name, work.store.set_participants(&name, &list).await)
}

impl Post {
    fn body(&self) -> Result<Vec<u8>, Stop> {
        let mut body = self.text.join(" ").into_bytes();
        if body.is_empty() {
            if std::io::stdin().is_terminal() {
                eprintln!("Type the text; Ctrl-D on a line of its own posts it.");
            }
            let limit = u64::try_from(PIECE).unwrap_or(u64::MAX).saturating_add(2);
            let read = std::io::stdin().lock().take(limit).read_to_end(&mut body);
            read.map_err(|error| Stop::Refused(format!("standard input: {error}")))?;
            if body.last() == Some(&b'\n') {
                body.pop();
            }
        }
        match body.len() {
            0 => Err(Stop::Usage("there is nothing to post".to_owned())),
            length if length > PIECE => Err(Stop::Usage(format!(
                "a change is at most {PIECE} bytes long; `convergia put` takes what is longer"
            ))),
            _ => Ok(body),
        }
    }
}

/// Shows a change.
fn show(work: &Work, clock: Clock, workspace: &str, change: &Change) {
    if work.json {
        let Change { seq, author, at, body } = change;
        let fields = json!({ "workspace": workspace, "seq": seq, "author": author, "at": at });
        return outcome::line(outcome::with_body(fields, body));
    }
    let paint = Paint(text::colour());
    let (date, author) = (clock.date(change.at), text::clean(&change.author));
    let body = text::clean_change(&change.body, "    ");
    outcome::line(format_args!("{} {}: {body}", paint.dim(&date), paint.name(&author)));
}

/// Shows what is behind `after`; the number of the last one.
async fn catch_up(work: &Work, clock: Clock, name: &str, mut after: u64, mut count: u64) -> Result<u64, Stop> {
    while count > 0 {
        let changes = work.store.changes(name, after, count.min(PAGE)).await.map_err(refused(name))?;
        // The end, or a server that repeats itself.
        let fresh: Vec<&Change> = changes.iter().filter(|change| change.seq > after).collect();
        let Some(last) = fresh.last() else { break };
        fresh.iter().for_each(|change| show(work, clock, name, change));
        count = count.saturating_sub(fresh.len() as u64);
        after = last.seq;
    }
    Ok(after)
}

impl ReadSome {
    async fn run(&self, work: &Work) -> Result<(), Stop> {
        let workspace = find(work, &self.name).await?;
        let clock = if work.json { Clock::default() } else { Clock::local() };
        let after = self.after.unwrap_or(workspace.acknowledged);
        let last = catch_up(work, clock, &workspace.name, after, self.count).await?;
        if self.ack && last > workspace.acknowledged {
            work.store.acknowledge(&workspace.name, last).await.map_err(refused(&self.name))?;
        }
        Ok(())
    }
}

impl Follow {
    /// What is told is only a hint that there is more: so nothing is missed, and nothing shown twice.
    async fn run(&self, work: &Work, heard: &channel::Receiver<Event>) -> Result<(), Stop> {
        let workspace = find(work, &self.name).await?;
        let clock = if work.json { Clock::default() } else { Clock::local() };
        let (name, mut seen) = (&workspace.name, workspace.acknowledged);
        loop {
            let last = catch_up(work, clock, name, seen, u64::MAX).await?;
            if last > seen {
                work.store.acknowledge(name, last).await.map_err(refused(name))?;
                seen = last;
            }
            loop {
                match heard.recv().await {
                    Ok(Event::WorkspaceChange { workspace, seq, .. }) if workspace == *name && seq > seen => break,
                    // What was told while there was no connection.
                    Ok(Event::SignedOn(_) | Event::Moved(_)) => break,
                    Ok(_) => {}
                    Err(_) => {
                        let fail = Fail::new(Code::Unavailable, "the connection is lost");
                        return Err(work::refused(name, &fail));
                    }
                }
            }
        }
    }
}
