//! `convergia admin voice`, `voice-rights`: who may do what in voice channels.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::table;
use super::Make;
use super::PAGE;
use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::text;
use crate::voice::Rights;

/// List the voice users, what they may do, and in how many channels they are.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "voice",
    example = "{command_name} --json",
    note = "An account has a voice user from when it first needs one. Those without a name have no account."
)]
pub struct Voice {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line a voice user
    #[argh(switch)]
    json: bool,
}

/// Say what a voice user may do.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "voice-rights",
    example = "{command_name} alice add_channel,kick_user",
    example = "{command_name} 4294967301 none",
    note = "It counts at once. What all get at first is the key voice.default_rights."
)]
pub struct VoiceRights {
    /// whose: a user name, or the uid of a voice user
    #[argh(positional)]
    user: String,
    /// none, or some of register_user, delete_user, add_channel, rm_channel, add_user, kick_user and admin, with commas between them
    #[argh(positional)]
    rights: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

impl Voice {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let mut rows = vec![["UID", "NAME", "RIGHTS", "CHANNELS"].map(str::to_owned)];
        let mut after = String::new();
        loop {
            let page =
                operator.ask(&connection, "VOICEUSERS", &[after.as_bytes(), PAGE.to_string().as_bytes()]).await?;
            let before = after.clone();
            for line in page.lines() {
                let [uid, name, rights, channels, ..] = line.split('|').collect::<Vec<_>>()[..] else { continue };
                after = uid.to_owned();
                if operator.json {
                    let words = if rights == "none" { Vec::new() } else { rights.split(',').collect() };
                    // Text: greater numbers than every reader of JSON takes.
                    outcome::line(json!({
                        "uid": uid,
                        "name": Some(name).filter(|name| !name.is_empty()),
                        "rights": words,
                        "channels": channels.parse::<u64>().unwrap_or(0),
                    }));
                    continue;
                }
                rows.push([uid, name, rights, channels].map(text::clean));
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

impl VoiceRights {
    /// As `Voice::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let Some(rights) = Rights::parse(&self.rights) else {
            let words = "register_user, delete_user, add_channel, rm_channel, add_user, kick_user and admin";
            return Err(Stop::Usage(format!("RIGHTS: none, or some of {words}, with commas between them")));
        };
        let rights = rights.to_string();
        let connection = operator.connect().await?;
        let uid = operator.ask(&connection, "VOICERIGHTS", &[self.user.as_bytes(), rights.as_bytes()]).await?;
        match operator.json {
            true => outcome::line(json!({ "ok": true, "uid": uid, "rights": rights })),
            false => {
                outcome::line(format_args!("{} has these rights: {rights}", text::clean(&self.user)));
            }
        }
        Ok(())
    }
}
