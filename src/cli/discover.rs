//! `convergia discover`: who is on the local network.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use argh::FromArgs;
use serde_json::json;
use serde_json::Value;

use super::lan;
use super::lan::Device;
use super::outcome;
use super::outcome::Stop;
use super::session;
use super::session::Session;
use super::session::Stay;
use super::session::Target;
use super::state::State;
use super::text;
use crate::accounts::keys;
use crate::client::lan::Lan;
use crate::client::lan::Person;
use crate::client::lan::Trust;
use crate::engine::rt;

/// Show who is on the local network.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "discover",
    example = "{command_name}",
    example = "{command_name} --json --seconds 10",
    note = "It lists those who let themselves be found (`convergia chat --lan`), and does not announce you. `verified`: the key that \
            announces itself is one of that account, as your server says, or has said before. Only such people get messages directly, with \
            `chat --lan` and `send --lan`."
)]
pub struct Discover {
    /// how long to listen, in seconds, 1 to 3600 (default: 3)
    #[argh(option, default = "3", arg_name = "N")]
    seconds: u64,
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// who you are (default: as last time)
    #[argh(option, arg_name = "NAME")]
    user: Option<String>,
    /// a file with the password
    #[argh(option, arg_name = "FILE")]
    password_file: Option<PathBuf>,
    /// machine-readable output, a line a person
    #[argh(switch)]
    json: bool,
}

/// For programs.
fn word(trust: Trust) -> &'static str {
    match trust {
        Trust::Verified => "verified",
        Trust::Unverified => "unverified",
        Trust::Foreign => "foreign",
        Trust::Unknown => "unknown",
    }
}

/// For people.
pub fn words(trust: Trust) -> &'static str {
    match trust {
        Trust::Verified => "verified",
        Trust::Unverified => "UNVERIFIED: not a key of this user",
        Trust::Foreign => "of another network",
        Trust::Unknown => "not checked: the server cannot be asked",
    }
}

/// For programs.
pub fn json(person: &Person) -> Value {
    json!({
        "user": person.id.name(), "id": person.id.to_string(), "trust": word(person.trust),
        "address": person.address.to_string(), "key": keys::to_base64(&person.public),
    })
}

impl Discover {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        if !(1..=3_600).contains(&self.seconds) {
            return Err(Stop::Usage("--seconds is 1 to 3600".to_owned()));
        }
        rt::block_on(async {
            let session = self.session().await?;
            let device = match &session {
                Some(session) => Some(Device::new(&session.address, &session.user).map_err(Stop::Refused)?),
                None => None,
            };
            let me = device.as_ref().map(Device::looking);
            let started = Lan::start(me, None);
            let lan = Arc::new(started.map_err(|fail| Stop::refused("cannot look for others", &fail, ""))?);
            let client = session.as_ref().map(|session| Arc::clone(&session.client));
            let length = Duration::from_secs(self.seconds);
            match device {
                Some(device) => {
                    let _ = rt::timeout(length, lan::pump(Arc::clone(&lan), device, client, |_| {})).await;
                }
                None => rt::sleep(length).await,
            }
            self.show(lan.people());
            if let Some(session) = session.filter(|session| !session.server.is_empty()) {
                session.client.sign_off().await;
            }
            Ok(())
        })
    }

    /// The session to ask for keys: only of who has signed on before, or gives a password; whoever has no account sees who is there.
    async fn session(&self) -> Result<Option<Session>, Stop> {
        let state = State::load()?;
        let Ok(address) = session::address(self.server.as_deref(), &state) else { return Ok(None) };
        let user = match &self.user {
            Some(user) => Some(session::user_name(user)?),
            None => state.user(&address),
        };
        let has_token = user.as_ref().is_some_and(|user| state.token(&address, user).is_some());
        let given = self.password_file.is_some() || std::env::var_os("CONVERGIA_PASSWORD").is_some();
        if user.is_none() || !(has_token || given) {
            eprintln!("convergia: nobody is signed on here (convergia login), so nobody can be verified");
            return Ok(None);
        }
        let target = Target { server: self.server.clone(), user, password_file: self.password_file.clone() };
        session::sign_on(&target, Stay::Near).await.map(Some)
    }

    fn show(&self, mut people: Vec<Person>) {
        people.sort_by_key(|person| (person.trust != Trust::Verified, person.id.folded(), person.public));
        for person in &people {
            if self.json {
                outcome::line(json(person));
            } else {
                let (name, address) = (text::clean(person.id.name()), person.address.to_string());
                outcome::line(format_args!("{name:<20} {address:<22} {}", words(person.trust)));
            }
        }
        if people.is_empty() && !self.json {
            eprintln!("convergia: nobody lets themselves be found here. `convergia chat --lan` does.");
        }
    }
}
