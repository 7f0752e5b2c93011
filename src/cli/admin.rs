//! `convergia admin`: what the operator asks the server of this machine, over the socket in its data folder. A backup is made
//! from the data folder itself.

mod backup;
mod block;
mod drain;
mod people;
mod servers;
mod users;
mod voice;

use std::fmt::Write;
use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;
use serde_json::Value;

use super::outcome;
use super::outcome::Stop;
use super::session;
use super::text;
use crate::client::Connection;
use crate::client::ADMIN_SOCKET;
use crate::config;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

/// Run the server of this machine: accounts, invites, who is signed on, the servers of the network, backups.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "admin",
    example = "{command_name} status",
    example = "{command_name} --data-dir /var/lib/convergia user add alice",
    note = "--data-dir and --json stand before the command, or behind it."
)]
pub struct Admin {
    /// the server's data folder (default: where a server keeps it by default)
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
    #[argh(subcommand)]
    task: Task,
}

#[derive(FromArgs)]
#[argh(subcommand)]
enum Task {
    Users(Users),
    User(users::User),
    Kick(Kick),
    Quota(people::Quota),
    Notice(people::Notice),
    Sessions(people::Sessions),
    Invite(Invite),
    Invites(people::Invites),
    Status(Status),
    AddServer(servers::Add),
    RemoveServer(servers::Remove),
    Servers(servers::Servers),
    Drain(drain::Drain),
    Move(drain::Move),
    Block(block::Block),
    Blocks(block::Blocks),
    Voice(voice::Voice),
    VoiceRights(voice::VoiceRights),
    Backup(backup::Backup),
}

/// List the accounts.
#[derive(FromArgs)]
#[argh(subcommand, name = "users", example = "{command_name} --json")]
struct Users {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line an account
    #[argh(switch)]
    json: bool,
}

/// End the sessions of a user; who may not come back is disabled as well.
#[derive(FromArgs)]
#[argh(subcommand, name = "kick", example = "{command_name} bob --reason 'see the rules'")]
struct Kick {
    /// whom
    #[argh(positional)]
    name: String,
    /// what the user is told
    #[argh(option, arg_name = "TEXT")]
    reason: Option<String>,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Make a code with which one person may register.
#[derive(FromArgs)]
#[argh(subcommand, name = "invite", example = "{command_name} --days 3")]
struct Invite {
    /// how long it is good (default: 7)
    #[argh(option, default = "7")]
    days: u64,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Show how the server does.
#[derive(FromArgs)]
#[argh(subcommand, name = "status", example = "{command_name}")]
struct Status {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Makes the way to the server of the options that were given.
type Make<'a> = &'a dyn Fn(Option<PathBuf>, bool) -> Operator;

/// Which server, and how to answer.
struct Operator {
    data_dir: PathBuf,
    json: bool,
}

impl Admin {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let operator = |data_dir: Option<PathBuf>, json: bool| {
            let data_dir = data_dir.or(self.data_dir.clone()).unwrap_or_else(config::default_data_dir);
            Operator { data_dir, json: json || self.json }
        };
        rt::block_on(async {
            match self.task {
                Task::Users(users) => operator(users.data_dir, users.json).users().await,
                Task::User(user) => user.run(operator).await,
                Task::Kick(kick) => {
                    let reason = kick.reason.unwrap_or_else(|| "the operator ended this session".to_owned());
                    let operator = operator(kick.data_dir, kick.json);
                    operator.change("KICK", &kick.name, &[reason.as_bytes()], "is signed off").await
                }
                Task::Quota(quota) => quota.run(&operator).await,
                Task::Notice(notice) => notice.run(&operator).await,
                Task::Sessions(sessions) => sessions.run(&operator).await,
                Task::Invites(invites) => invites.run(&operator).await,
                Task::Invite(invite) => operator(invite.data_dir, invite.json).invite(invite.days).await,
                Task::Status(status) => operator(status.data_dir, status.json).status().await,
                Task::AddServer(add) => add.run(&operator).await,
                Task::RemoveServer(remove) => remove.run(&operator).await,
                Task::Servers(servers) => servers.run(&operator).await,
                Task::Drain(drain) => drain.run(&operator).await,
                Task::Move(some) => some.run(&operator).await,
                Task::Block(block) => block.run(&operator).await,
                Task::Blocks(blocks) => blocks.run(&operator).await,
                Task::Voice(voice) => voice.run(&operator).await,
                Task::VoiceRights(rights) => rights.run(&operator).await,
                Task::Backup(backup) => backup.run(&operator),
            }
        })
    }
}

/// Accounts asked for at once.
const PAGE: usize = 500;

impl Operator {
    async fn connect(&self) -> Result<Connection, Stop> {
        Connection::admin(&self.data_dir).await.map_err(|fail| {
            let socket = self.data_dir.join(ADMIN_SOCKET);
            let folder = self.data_dir.display();
            match std::os::unix::net::UnixStream::connect(&socket).map_err(|error| error.kind()) {
                Err(std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => Stop::Refused(format!(
                    "no server runs on {folder}.\nStart it, or name its data folder: convergia admin --data-dir DIR …"
                )),
                Err(std::io::ErrorKind::PermissionDenied) => {
                    Stop::Refused(format!("{}: only the user that runs the server may do this.", socket.display()))
                }
                _ => Stop::refused("the server does not answer", &fail, "Its log tells more."),
            }
        })
    }

    async fn ask(&self, connection: &Connection, command: &str, fields: &[&[u8]]) -> Result<String, Stop> {
        let answer = connection.request(command, fields).await.map_err(|fail| refused(&fail))?;
        Ok(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A change to one account, and the word that it is done.
    async fn change(&self, command: &str, user: &str, fields: &[&[u8]], done: &str) -> Result<(), Stop> {
        let user = session::user_name(user)?;
        let connection = self.connect().await?;
        let fields: Vec<&[u8]> = std::iter::once(user.as_bytes()).chain(fields.iter().copied()).collect();
        self.ask(&connection, command, &fields).await?;
        match self.json {
            true => outcome::line(json!({ "ok": true, "user": user })),
            false => outcome::line(format_args!("{user} {done}")),
        }
        Ok(())
    }

    async fn users(&self) -> Result<(), Stop> {
        let connection = self.connect().await?;
        let mut rows =
            vec![["NAME", "STATE", "REGISTERED (UTC)", "SESSIONS", "OPERATOR", "USED", "QUOTA"].map(str::to_owned)];
        let mut after = String::new();
        loop {
            let page = self.ask(&connection, "USERS", &[after.as_bytes(), PAGE.to_string().as_bytes()]).await?;
            let before = after.clone();
            for line in page.lines() {
                let [name, state, created, sessions, operator, quota, used, ..] =
                    line.split('|').collect::<Vec<_>>()[..]
                else {
                    continue;
                };
                after = name.to_owned();
                let (created, sessions): (u64, u64) = (created.parse().unwrap_or(0), sessions.parse().unwrap_or(0));
                // Nothing, while data management is away.
                let (quota, used): (Option<u64>, Option<u64>) = (quota.parse().ok(), used.parse().ok());
                if self.json {
                    outcome::line(json!({
                        "name": name,
                        "state": state,
                        "created": created,
                        "sessions": sessions,
                        "operator": operator == "yes",
                        "quota": quota,
                        "used": used,
                    }));
                    continue;
                }
                let size = |bytes: Option<u64>| bytes.map_or("?".to_owned(), text::size);
                let cells = [text::clean(name), text::clean(state), text::date(created), sessions.to_string()];
                let [name, state, created, sessions] = cells;
                rows.push([name, state, created, sessions, text::clean(operator), size(used), size(quota)]);
            }
            // The end, or a server that repeats itself.
            if after == before {
                break;
            }
        }
        if !self.json {
            outcome::line(table(&rows).trim_end_matches('\n'));
        }
        Ok(())
    }

    async fn invite(&self, days: u64) -> Result<(), Stop> {
        let connection = self.connect().await?;
        let code = self.ask(&connection, "INVITE", &[days.to_string().as_bytes()]).await?;
        match self.json {
            true => outcome::line(json!({ "invite": code, "days": days })),
            false => {
                let plural = if days == 1 { "day" } else { "days" };
                outcome::line(format_args!(
                    "{}\nGood once, for {days} {plural}: convergia register NAME --invite CODE",
                    text::clean(&code)
                ));
            }
        }
        Ok(())
    }

    async fn status(&self) -> Result<(), Stop> {
        let connection = self.connect().await?;
        let status = self.ask(&connection, "STATUS", &[]).await?;
        let rows: Vec<(&str, &str)> = status.lines().filter_map(|line| line.split_once('|')).collect();
        if self.json {
            let value = |text: &str| text.parse::<u64>().map_or_else(|_| json!(text), |number| json!(number));
            let fields = rows.iter().map(|(key, text)| (key.replace(' ', "_"), value(text)));
            outcome::line(Value::Object(fields.collect()));
            return Ok(());
        }
        let rows: Vec<[String; 2]> = rows.iter().map(|(key, text)| [text::clean(key), text::clean(text)]).collect();
        outcome::line(table(&rows).trim_end_matches('\n'));
        Ok(())
    }
}

fn refused(fail: &Fail) -> Stop {
    let next = match fail.code {
        Code::NotFound => "`convergia admin users` lists the accounts, `convergia admin servers` the servers.",
        Code::BadCommand => "The server that runs there is of another version.",
        _ => "",
    };
    Stop::refused("refused", fail, next)
}

/// Columns as wide as what they hold.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mode = rustyline::GraphemeClusterMode::from_env();
    let wide = |cell: &String| usize::from(mode.width(cell));
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = wide(cell).max(*width);
        }
    }
    rows.iter().fold(String::new(), |mut out, row| {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell}{}  ", " ".repeat(width.saturating_sub(wide(cell))));
        }
        let _ = writeln!(out, "{}", line.trim_end());
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        let rows = [["NAME".to_owned(), "X".to_owned()], ["名前名".to_owned(), "1".to_owned()]];
        assert_eq!(table(&rows), "NAME    X\n名前名  1\n");
    }
}
