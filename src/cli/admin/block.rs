//! `convergia admin block` and `blocks`: realms, and users of realms, that this network has nothing to do with.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::Make;
use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::text;

/// Refuse whatever comes from a realm, or a user of a realm, and send nothing there.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "block",
    example = "{command_name} spam.example:63745",
    example = "{command_name} chat.example:63745::mallory",
    note = "`convergia admin blocks` lists what is blocked."
)]
pub struct Block {
    /// HOST:PORT of the realm, or HOST:PORT::NAME of a user of it
    #[argh(positional)]
    what: String,
    /// not any more
    #[argh(switch)]
    off: bool,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// List the realms and users of realms that are blocked.
#[derive(FromArgs)]
#[argh(subcommand, name = "blocks", example = "{command_name} --json")]
pub struct Blocks {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line each
    #[argh(switch)]
    json: bool,
}

impl Block {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let yes: &[u8] = if self.off { b"no" } else { b"yes" };
        operator.ask(&connection, "BLOCK", &[self.what.as_bytes(), yes]).await?;
        let done = if self.off { "is not blocked any more" } else { "is blocked" };
        match operator.json {
            true => outcome::line(json!({ "ok": true, "what": self.what, "blocked": !self.off })),
            false => outcome::line(format_args!("{} {done}", text::clean(&self.what))),
        }
        Ok(())
    }
}

impl Blocks {
    /// As `Block::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        for what in operator.ask(&connection, "BLOCKS", &[]).await?.lines() {
            match operator.json {
                true => outcome::line(json!({ "what": what })),
                false => outcome::line(text::clean(what)),
            }
        }
        Ok(())
    }
}
