//! `convergia login`: proves the password once; a token stands in for it from then on.

use std::path::PathBuf;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::password;
use super::program;
use super::session;
use super::session::Stay;
use super::state::State;
use crate::engine::rt;

/// Sign on once and remember the server, the name, and a token in place of the password.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "login",
    example = "{command_name} alice",
    example = "{command_name} alice --server convergia://chat.example:64474#FINGERPRINT",
    note = "The password comes from a prompt, --password-file, or CONVERGIA_PASSWORD."
)]
pub struct Login {
    /// your name there
    #[argh(positional)]
    name: Option<String>,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// the same as NAME
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output
    #[argh(switch)]
    json: bool,
}

impl Login {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let state = State::load()?;
        let address = session::address(self.server.as_deref(), &state)?;
        let user = match self.name.or(self.user).or_else(|| state.user(&address)) {
            Some(user) => session::user_name(&user)?,
            None => return Err(Stop::Usage("as whom? convergia login NAME".to_owned())),
        };
        let password = password::read(self.password_file.as_deref(), &format!("Password of {user}: "), false)?;
        let session = rt::block_on(session::with_password(&address, &user, password, Stay::Once))?;
        session::remember(&session, self.server.is_some());
        rt::block_on(session.client.sign_off());
        match self.json {
            true => outcome::line(json!({ "ok": true, "user": user, "server": address.to_string() })),
            false => outcome::line(format_args!("{user} is signed on. Next: {} chat", program())),
        }
        Ok(())
    }
}
