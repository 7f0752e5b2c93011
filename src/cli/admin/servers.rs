//! `convergia admin add-server`, `remove-server`, `servers`: the servers of the network.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::table;
use super::Make;
use super::Operator;
use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::text;
use crate::config;

/// Let a server into the network.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "add-server",
    example = "{command_name} second main 9pG5…=",
    note = "PUBLIC-KEY is what `convergia key` prints on that machine; NAME is the key `name` of its configuration."
)]
pub struct Add {
    /// its name in the network
    #[argh(positional)]
    name: String,
    /// main, data-management, data or realm
    #[argh(positional)]
    role: String,
    /// its public key, in Base64
    #[argh(positional)]
    public_key: String,
    /// a data server that may lose what it stores
    #[argh(switch)]
    volatile: bool,
    /// a realm that has accounts of its own: a place in the directory of realms, and no part of this network
    #[argh(switch)]
    alone: bool,
    /// what a data server may store, for example "100 GiB"
    #[argh(option, arg_name = "SIZE")]
    capacity: Option<String>,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// Shut a server out of the network.
#[derive(FromArgs)]
#[argh(subcommand, name = "remove-server", example = "{command_name} second")]
pub struct Remove {
    /// its name
    #[argh(positional)]
    name: String,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

/// List the servers of the network.
#[derive(FromArgs)]
#[argh(subcommand, name = "servers", example = "{command_name} --json")]
pub struct Servers {
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output, a line a server
    #[argh(switch)]
    json: bool,
}

impl Add {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let capacity = match self.capacity.as_deref().map(config::size) {
            None => String::new(),
            Some(Some(bytes)) => bytes.to_string(),
            Some(None) => {
                return Err(Stop::Usage("--capacity SIZE: bytes, or text like \"4 KiB\" or \"2 GiB\"".to_owned()))
            }
        };
        let volatile = match (self.volatile, self.alone) {
            (true, true) => return Err(Stop::Usage("--volatile is of a data server, --alone of a realm".to_owned())),
            (true, false) => "volatile",
            (false, true) => "alone",
            (false, false) => "",
        };
        let fields = [self.name.as_str(), &self.role, &self.public_key, volatile, &capacity].map(str::as_bytes);
        operator
            .server(
                "ADDSERVER",
                &self.name,
                &fields,
                if self.alone { "may be in the directory of realms" } else { "may join the network" },
            )
            .await
    }
}

impl Remove {
    /// As `Add::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        operator.server("REMOVESERVER", &self.name, &[self.name.as_bytes()], "is shut out of the network").await
    }
}

impl Servers {
    /// As `Add::run`.
    pub async fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let connection = operator.connect().await?;
        let answer = operator.ask(&connection, "SERVERS", &[]).await?;
        let mut rows = vec![["NAME", "ROLE", "STATE", "SINCE (UTC)", "ADDRESS"].map(str::to_owned)];
        for line in answer.lines() {
            let [name, role, state, since, address, key, volatile, capacity] = line.split('|').collect::<Vec<_>>()[..]
            else {
                continue;
            };
            let since: u64 = since.parse().unwrap_or(0);
            if operator.json {
                outcome::line(json!({
                    "name": name,
                    "role": role,
                    "state": state,
                    "since": since,
                    "address": address,
                    "key": key,
                    "volatile": volatile == "volatile",
                    "alone": volatile == "alone",
                    "capacity": capacity.parse::<u64>().ok(),
                }));
                continue;
            }
            let clean = text::clean;
            rows.push([clean(name), clean(role), clean(state), text::date(since), clean(address)]);
        }
        if !operator.json {
            outcome::line(table(&rows).trim_end_matches('\n'));
        }
        Ok(())
    }
}

impl Operator {
    /// A change to one server, and the word that it is done.
    async fn server(&self, command: &str, name: &str, fields: &[&[u8]], done: &str) -> Result<(), Stop> {
        let connection = self.connect().await?;
        self.ask(&connection, command, fields).await?;
        match self.json {
            true => outcome::line(json!({ "ok": true, "server": name })),
            false => outcome::line(format_args!("{} {done}", text::clean(name))),
        }
        Ok(())
    }
}
