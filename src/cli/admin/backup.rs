//! `convergia admin backup`: a copy of the data folder of a server that runs.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::Make;
use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::progress::Progress;
use crate::cli::text;
use crate::client::store;
use crate::node::backup;
use crate::node::backup::Blocks;

/// Copy the server's data folder while the server runs; the copy is a data folder to start from.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "backup",
    example = "{command_name} /backup/2031-05-01",
    note = "It holds the server's keys: keep it where nobody else reads. The configuration file is not in it.\n\
            To restore: stop the server, and start it with --data-dir and a copy of that folder."
)]
pub struct Backup {
    /// where to; it must not exist, or be empty, and appears when the copy is whole
    #[argh(positional, arg_name = "DIR")]
    to: PathBuf,
    /// the server's data folder
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

impl backup::Watch for Progress {
    fn total(&self, bytes: u64) {
        self.expect(bytes);
        self.complete();
    }

    fn moved(&self, bytes: u64) {
        store::Watch::moved(self, bytes);
    }
}

impl Backup {
    /// Runs it; `operator` makes the way to the server of the options that were given.
    pub fn run(self, operator: Make<'_>) -> Result<(), Stop> {
        let operator = operator(self.data_dir, self.json);
        let progress = Progress::new(operator.json);
        let report = backup::make(&operator.data_dir, &self.to, &progress);
        progress.clear();
        let report = report.map_err(|words| Stop::Refused(format!("no backup was made: {}", text::clean(&words))))?;
        let shown = text::clean(&self.to.display().to_string());
        let blocks = match report.blocks {
            Blocks::None => "none",
            Blocks::Folder => "copied",
            Blocks::Bucket => "bucket",
        };
        if operator.json {
            let fields =
                json!({ "ok": true, "folder": shown, "roles": report.roles, "bytes": report.bytes, "blocks": blocks });
            outcome::line(fields);
            return Ok(());
        }
        outcome::line(format_args!("{shown}: {}, {}", report.roles.join(", "), text::size(report.bytes)));
        if report.blocks == Blocks::Bucket {
            outcome::line("The blocks are in a bucket, and not part of it.");
        }
        Ok(())
    }
}
