//! `convergia voice key`: what members know this machine's server by.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use crate::cli::outcome;
use crate::cli::outcome::Stop;
use crate::cli::work::Place;
use crate::config;
use crate::engine::identity::ServerKey;
use crate::voice::packet::Signer;
use crate::wire::hex;

/// Print the public key with which this machine's server signs what it tells members of signed channels by UDP, in hex. It is made
/// of the server's key, which is made if there is none.
#[derive(FromArgs)]
#[argh(subcommand, name = "key", example = "{command_name} --data-dir /var/lib/convergia")]
pub struct Key {
    /// the server's data folder (default: where a server keeps it by default)
    #[argh(option, arg_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

impl Key {
    /// Runs it.
    ///
    /// # Errors
    /// In words, when the file cannot be read or made.
    pub fn run(self, before: &Place) -> Result<(), Stop> {
        let folder = self.data_dir.unwrap_or_else(config::default_data_dir);
        let key = ServerKey::load(&folder).map_err(Stop::Refused)?;
        let seed = key.voice_seed().and_then(|seed| Signer::new(&seed));
        let public = seed.map(|signer| hex::encode(&signer.public()));
        let public = public.ok_or_else(|| Stop::Refused("no key can be made of this server's".to_owned()))?;
        match self.json || before.json {
            true => outcome::line(json!({ "key": public })),
            false => outcome::line(public),
        }
        Ok(())
    }
}
