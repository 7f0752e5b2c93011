//! `convergia key`: this server's public key, for whoever adds it to a network.

use std::path::PathBuf;

use argh::FromArgs;

use super::outcome;
use super::outcome::Stop;
use crate::config;
use crate::engine::identity::ServerKey;

/// Print the public key of this machine's server, for `convergia admin add-server` on another. It is made if there is none.
#[derive(FromArgs)]
#[argh(subcommand, name = "key", example = "{command_name} --data-dir /var/lib/convergia")]
pub struct Key {
    /// the server's data folder (default: where a server keeps it by default)
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Key {
    /// Runs it.
    ///
    /// # Errors
    /// In words, when the file cannot be read or made.
    pub fn run(self) -> Result<(), Stop> {
        let folder = self.data_dir.unwrap_or_else(config::default_data_dir);
        let key = ServerKey::load(&folder).map_err(Stop::Refused)?;
        outcome::line(key.public());
        Ok(())
    }
}
