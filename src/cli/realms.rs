//! `convergia realms`: the directory of realms.

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::session;
use super::state::State;
use super::text;
use crate::client::Connection;
use crate::engine::rt;
use crate::wire::Fail;

/// List the realms that a management server knows: providers that you can register with, and whose users you can write to.
#[derive(FromArgs)]
#[argh(
    subcommand,
    name = "realms",
    example = "{command_name}",
    note = "A user of a realm is REALM::NAME: convergia send chat.example:63745::bob 'Hello'"
)]
pub struct Realms {
    /// convergia://HOST:PORT#FINGERPRINT (default: as last time, else the server of this machine)
    #[argh(option, arg_name = "URL")]
    server: Option<String>,
    /// machine-readable output, a line a realm
    #[argh(switch)]
    json: bool,
}

impl Realms {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let address = session::address(self.server.as_deref(), &State::load()?)?;
        if address.realm {
            let words =
                "a realm has no directory; name a management server: --server convergia://HOST:PORT#FINGERPRINT";
            return Err(Stop::Usage(words.to_owned()));
        }
        let cannot = |fail: Fail| Stop::refused("cannot get the realms", &fail, &session::next(&fail, &address, ""));
        let lines = rt::block_on(async {
            let connection = Connection::directory(&address).await?;
            connection.request("LISTREALMS", &[]).await
        });
        let lines = String::from_utf8_lossy(&lines.map_err(cannot)?).into_owned();
        let mut count = 0;
        for line in lines.lines() {
            let [realm, name, description, registration, users, cap, quota] = line.split('|').collect::<Vec<_>>()[..]
            else {
                continue;
            };
            count += 1;
            let number = |text: &str| text.parse::<u64>().unwrap_or(0);
            let (users, cap, quota) = (number(users), number(cap), number(quota));
            if self.json {
                outcome::line(json!({
                    "realm": realm,
                    "name": name,
                    "description": description,
                    "registration": registration,
                    "users": users,
                    "cap": cap,
                    "quota": quota,
                }));
                continue;
            }
            let most = if cap == 0 { String::new() } else { format!(" of {cap}") };
            outcome::line(format_args!(
                "{}  {}\n    {users}{most} users, registration {}, {} for each",
                text::clean(realm),
                text::clean(name),
                text::clean(registration),
                text::size(quota),
            ));
            if !description.is_empty() {
                outcome::line(format_args!("    {}", text::clean(description)));
            }
        }
        if count == 0 && !self.json {
            outcome::line("No realms are known there.");
        }
        Ok(())
    }
}
