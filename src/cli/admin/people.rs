//! `convergia admin quota`, `notice`, `sessions`, `invites`.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::table;
use super::Make;
use super::PAGE;
use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::text;
use crate::config;

/// Say what one user may store.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "quota",
    example = "{command_name} bob '20 GiB'",
    example = "{command_name} bob default",
    note = "Who has more than that already keeps it, and can store nothing more."
)]
pub struct Quota {
    /// whose
    #[argh(positional)]
    name: String,
    /// for example "500 MiB"; default: what all may, the key data_management.quota
    #[argh(positional)]
    size: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Say something to everybody who is signed on.
#[derive(FromArgs)]
#[argh(subcommand, name = "notice", example = "{command_name} 'The server is away from 10 to 11 tonight'")]
pub struct Notice {
    /// what
    #[argh(positional)]
    text: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// List who is signed on where, and from which address.
#[derive(FromArgs)]
#[argh(subcommand, name = "sessions", example = "{command_name} --json")]
pub struct Sessions {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line a session
    #[argh(switch)]
    json: bool,
}

/// List the invites that nobody has used so far.
#[derive(FromArgs)]
#[argh(subcommand, name = "invites", example = "{command_name} --json", note = "The codes themselves are not kept.")]
pub struct Invites {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line an invite
    #[argh(switch)]
    json: bool,
}

impl Quota {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let (bytes, done) = match (self.size.as_str(), config::size(&self.size)) {
            ("default", _) => ("default".to_owned(), "may store what all may".to_owned()),
            (_, Some(bytes)) => (bytes.to_string(), format!("may store {}", text::size(bytes))),
            (_, None) => {
                let words = "SIZE: bytes, or text like \"500 MiB\" or \"2 GiB\", or the word default";
                return Err(Stop::Usage(words.to_owned()));
            }
        };
        operator.change("QUOTA", &self.name, &[bytes.as_bytes()], &done).await
    }
}

impl Notice {
    /// As `Quota::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let answer = operator.ask(&connection, "NOTICE", &[self.text.as_bytes()]).await?;
        let sessions: u64 = answer.parse().unwrap_or(0);
        match operator.json {
            true => outcome::line(json!({ "ok": true, "sessions": sessions })),
            false => {
                let plural = if sessions == 1 { "session" } else { "sessions" };
                outcome::line(format_args!("said in {sessions} {plural}"));
            }
        }
        Ok(())
    }
}

impl Sessions {
    /// As `Quota::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let mut rows = vec![["NAME", "SERVER", "DOOR", "SINCE (UTC)", "ADDRESS"].map(str::to_owned)];
        let mut after = String::new();
        loop {
            let page = operator.ask(&connection, "SESSIONS", &[after.as_bytes(), PAGE.to_string().as_bytes()]).await?;
            let before = after.clone();
            for line in page.lines() {
                let [name, server, door, since, address, ..] = line.split('|').collect::<Vec<_>>()[..] else {
                    continue;
                };
                after = name.to_owned();
                let since: u64 = since.parse().unwrap_or(0);
                if operator.json {
                    outcome::line(json!({
                        "name": name,
                        "server": server,
                        "door": door,
                        "since": since,
                        "address": address,
                    }));
                    continue;
                }
                let clean = text::clean;
                rows.push([clean(name), clean(server), clean(door), text::date(since), clean(address)]);
            }
            // The end, or a server that repeats itself.
            if after == before {
                break;
            }
        }
        if !operator.json {
            outcome::line(table(&rows).trim_end_matches('\n'));
        }
        Ok(())
    }
}

impl Invites {
    /// As `Quota::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let answer = operator.ask(&connection, "INVITES", &[]).await?;
        let mut rows = vec![["MADE (UTC)", "GOOD UNTIL (UTC)"].map(str::to_owned)];
        for line in answer.lines() {
            let [created, expires, ..] = line.split('|').collect::<Vec<_>>()[..] else { continue };
            let (created, expires): (u64, u64) = (created.parse().unwrap_or(0), expires.parse().unwrap_or(0));
            match operator.json {
                true => outcome::line(json!({ "created": created, "expires": expires })),
                false => rows.push([created, expires].map(text::date)),
            }
        }
        if !operator.json {
            outcome::line(table(&rows).trim_end_matches('\n'));
        }
        Ok(())
    }
}
