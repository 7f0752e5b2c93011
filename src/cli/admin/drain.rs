//! `convergia admin drain` and `move`: all clients of a main server, or some, go to others.

use std::path::PathBuf;
use std::time::Duration;

use argh::FromArgs;
use serde_json::json;

use super::Make;
use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::text;
use crate::engine::rt;

/// How often the server is asked for how many are left.
const PACE: Duration = Duration::from_millis(500);

/// Move the clients of a main server to the others, so that it can be stopped.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "drain",
    example = "{command_name} second --wait",
    note = "It gets no more clients until its process is started anew. `convergia admin servers` lists the servers."
)]
pub struct Drain {
    /// its name
    #[argh(positional)]
    name: String,
    /// stay until all have left; Ctrl-C ends the waiting, not the draining
    #[argh(switch)]
    wait: bool,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line whenever the number of clients has changed
    #[argh(switch)]
    json: bool,
}

impl Drain {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let mut told = None;
        loop {
            let answer = operator.ask(&connection, "DRAIN", &[self.name.as_bytes()]).await?;
            let left: u64 = answer.parse().map_err(|_| Stop::Refused("the server answers no number".to_owned()))?;
            if told.replace(left) != Some(left) {
                match self.json {
                    true => outcome::line(json!({ "server": self.name, "clients": left })),
                    false => outcome::line(progress(&self.name, left)),
                }
            }
            if left == 0 || !self.wait {
                return Ok(());
            }
            rt::sleep(PACE).await;
        }
    }
}

fn progress(name: &str, left: u64) -> String {
    let name = text::clean(name);
    match left {
        0 => format!("{name} has no clients; it can be stopped"),
        1 => format!("{name} drains: 1 client left"),
        _ => format!("{name} drains: {left} clients left"),
    }
}

/// Move some clients of a main server to another; they notice nothing.
#[derive(FromArgs)]
#[argh(subcommand, name = "move", example = "{command_name} first 20 second")]
pub struct Move {
    /// the name of the server that they are signed on to
    #[argh(positional)]
    from: String,
    /// how many, at most; 256 at a time
    #[argh(positional)]
    count: u64,
    /// the name of the server they are to go to
    #[argh(positional)]
    to: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

impl Move {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let count = self.count.to_string();
        let fields = [self.from.as_bytes(), count.as_bytes(), self.to.as_bytes()];
        let answer = operator.ask(&connection, "MOVECLIENTS", &fields).await?;
        let begun: u64 = answer.parse().map_err(|_| Stop::Refused("the server answers no number".to_owned()))?;
        match self.json {
            true => outcome::line(json!({ "from": self.from, "to": self.to, "clients": begun })),
            false => outcome::line(format_args!("{begun} clients are being moved to {}", text::clean(&self.to))),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        assert_eq!(progress("a", 2), "a drains: 2 clients left");
        assert_eq!(progress("a\x1b", 1), format!("{} drains: 1 client left", text::clean("a\x1b")));
        assert_eq!(progress("a", 0), "a has no clients; it can be stopped");
    }
}
