//! `convergia voice`: channels, and being in one.

mod join;
mod key;
mod play;
mod record;
mod show;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::session;
use super::text;
use super::work::placed;
use super::work::Place;
use super::work::Work;
use crate::client::voice::joined;
use crate::client::voice::Channel;
use crate::engine::rt;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Talk in channels: see who is there, play Opus files to the others, record what they say.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "voice",
    example = "{command_name} create standup",
    example = "{command_name} join standup\n  shows who is there, who comes and who speaks; Ctrl-C leaves",
    example = "{command_name} join workspace:team --play hello.opus --record answers.opus",
    note = "CHANNEL is a channel's name, its number, or workspace:NAME for the channel of a workspace that you take part in."
)]
pub struct Voice {
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<std::path::PathBuf>,
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
    Join(join::Join),
    Leave(Leave),
    Kick(Kick),
    Delete(Delete),
    Key(key::Key),
}

placed! {
    /// Make a channel, whose packets are signed. It is yours: you may remove others from it, and delete it.
    #[argh(subcommand, name = "create", example = "{command_name} standup")]
    struct Create {
        /// its name
        #[argh(positional)]
        name: String,
    }
}

placed! {
    /// List the channels that stand alone, and those of workspaces that you are in now; or who is in one.
    #[argh(subcommand, name = "list", example = "{command_name}", example = "{command_name} standup")]
    struct List {
        /// who is in this channel?
        #[argh(positional)]
        channel: Option<String>,
    }
}

placed! {
    /// Leave a channel that you are in from elsewhere: another terminal, or a page. The terminal that is in it ends by itself; one that you see,
    /// you leave with Ctrl-C.
    #[argh(subcommand, name = "leave", example = "{command_name} standup")]
    struct Leave {
        /// the channel
        #[argh(positional)]
        channel: String,
    }
}

placed! {
    /// Remove somebody from a channel: for its owner, and for those whom the operator lets.
    #[argh(subcommand, name = "kick", example = "{command_name} standup bob")]
    struct Kick {
        /// the channel
        #[argh(positional)]
        channel: String,
        /// who
        #[argh(positional, arg_name = "user")]
        who: String,
    }
}

placed! {
    /// Delete a channel: for its owner, and for those whom the operator lets. Whoever is in it hears that it has ended.
    #[argh(subcommand, name = "delete", example = "{command_name} standup")]
    struct Delete {
        /// the channel
        #[argh(positional)]
        channel: String,
    }
}

/// A channel as the server takes it.
fn channel_name(given: &str) -> Result<String, Stop> {
    let name = name::normalise(given.trim());
    match name.is_empty() || name.chars().any(char::is_control) {
        true => Err(Stop::Usage(format!("{:?} is no channel: give its name, its number, or workspace:NAME", given))),
        false => Ok(name),
    }
}

/// What to do about a FAIL.
fn next(fail: &Fail, channel: &str) -> &'static str {
    match fail.code {
        Code::NotFound if channel.starts_with("workspace:") => {
            "`convergia workspace ls` shows the workspaces that you take part in."
        }
        Code::NotFound => "`convergia voice list` shows which channels there are.",
        Code::Denied => {
            "The operator says who may, with `convergia admin voice-rights`; a channel's owner may more in it."
        }
        Code::Exists => "Another name, or join that one: `convergia voice join NAME`.",
        Code::BadCommand => "This server has no voice.",
        Code::Unavailable | Code::Busy => "A server that is needed is away, or has much to do. Try again later.",
        Code::Limit => "Leave or delete one before.",
        _ => "",
    }
}

fn refused(channel: &str, fail: &Fail) -> Stop {
    Stop::refused(&text::clean(channel), fail, next(fail, channel))
}

impl Voice {
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
        let place = self.place();
        let (task, name) = match self.task {
            Task::Join(join) => return join.run(&place),
            Task::Key(key) => return key.run(&place),
            Task::List(List { channel: None, .. }) => (self.task, String::new()),
            Task::Create(Create { name: ref channel, .. })
            | Task::List(List { channel: Some(ref channel), .. })
            | Task::Leave(Leave { ref channel, .. })
            | Task::Kick(Kick { ref channel, .. })
            | Task::Delete(Delete { ref channel, .. }) => {
                let name = channel_name(channel)?;
                (self.task, name)
            }
        };
        task.run(&place, &name)
    }
}

impl Task {
    fn place(&self) -> Place {
        match self {
            Task::Create(task) => task.place(),
            Task::List(task) => task.place(),
            // These two run by themselves.
            Task::Join(_) | Task::Key(_) => Place::default(),
            Task::Leave(task) => task.place(),
            Task::Kick(task) => task.place(),
            Task::Delete(task) => task.place(),
        }
    }

    fn run(&self, before: &Place, name: &str) -> Result<(), Stop> {
        let who = match self {
            Task::Kick(kick) => Some(session::user_name(&kick.who)?),
            _ => None,
        };
        rt::block_on(async {
            let work = Work::begin(self.place().or(before), None).await?;
            let done = match self {
                Task::Create(_) => create(&work, name).await,
                Task::List(List { channel: None, .. }) => list(&work).await,
                Task::List(_) => people(&work, name).await,
                Task::Leave(_) => simply(&work, "LEAVEVOICE", name, None).await,
                Task::Kick(_) => simply(&work, "KICKVOICE", name, who.as_deref()).await,
                Task::Delete(_) => simply(&work, "DELETEVOICE", name, None).await,
                Task::Join(_) | Task::Key(_) => Ok(()),
            };
            let ended = work.end().await;
            done.and(ended)
        })
    }
}

async fn ask(work: &Work, command: &str, channel: &str, fields: &[&str]) -> Result<Vec<u8>, Stop> {
    let fields: Vec<&[u8]> = fields.iter().map(|field| field.as_bytes()).collect();
    work.session.client.request(command, &fields).await.map_err(|fail| refused(channel, &fail))
}

async fn create(work: &Work, name: &str) -> Result<(), Stop> {
    let answer = ask(work, "CREATEVOICE", name, &[name]).await?;
    let number = String::from_utf8_lossy(&answer).parse::<u64>();
    let number = number.map_err(|_| Stop::Refused("the server's answer is no number of a channel".to_owned()))?;
    match work.json {
        true => outcome::line(json!({ "channel": number, "name": name, "ok": true })),
        false => outcome::line(format_args!("`convergia voice join {}` goes there.", text::clean(name))),
    }
    Ok(())
}

async fn simply(work: &Work, command: &str, channel: &str, who: Option<&str>) -> Result<(), Stop> {
    let fields: Vec<&str> = std::iter::once(channel).chain(who).collect();
    ask(work, command, channel, &fields).await?;
    work.json(|| json!({ "channel": channel, "ok": true }));
    Ok(())
}

async fn list(work: &Work) -> Result<(), Stop> {
    let answer = ask(work, "LISTVOICE", "the channels", &[]).await?;
    let all = joined::channels(&answer).map_err(|fail| refused("the channels", &fail))?;
    if all.is_empty() && !work.json {
        outcome::line("There are no channels. `convergia voice create NAME` makes one; workspace:NAME is there for each workspace.");
    }
    for Channel { channel, name, owner, signed, members } in all {
        if work.json {
            outcome::line(json!({
                "channel": channel, "name": name, "owner": owner, "signed": signed, "members": members
            }));
            continue;
        }
        let of = if owner.is_empty() { String::new() } else { format!(", of {}", text::clean(&owner)) };
        let open = if signed { "" } else { ", not signed" };
        outcome::line(format_args!("{}  {members} in it{of}{open}  ({channel})", text::clean(&name)));
    }
    Ok(())
}

async fn people(work: &Work, channel: &str) -> Result<(), Stop> {
    let answer = ask(work, "GETVOICE", channel, &[channel]).await?;
    let (_, _, _, members) = joined::members(&answer).map_err(|fail| refused(channel, &fail))?;
    for person in &members {
        match work.json {
            true => outcome::line(json!({ "uid": person.uid, "user": person.user })),
            false => outcome::line(text::clean(&person.name())),
        }
    }
    if members.is_empty() && !work.json {
        outcome::line("Nobody is there.");
    }
    Ok(())
}
