//! What the client remembers: the last server, the last user on each, and session tokens. One JSON file, 0600.

use crate::wire::hex;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use serde::Serialize;

use super::kept;
use super::outcome::Stop;
use super::places;
use crate::client::Address;
use crate::wire::name;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The address that was given last; None: the server of this machine.
    #[serde(default)]
    pub server: Option<String>,
    #[serde(default)]
    servers: BTreeMap<String, Known>,
}

/// What is known on one server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    #[serde(default)]
    user: Option<String>,
    /// By folded user name.
    #[serde(default)]
    tokens: BTreeMap<String, String>,
}

/// A server is its certificate, wherever it is now; without a pinned one, its name.
pub fn key(address: &Address) -> String {
    address.fingerprint.map_or_else(|| address.to_string(), |print| hex::encode(&print))
}

impl State {
    /// Reads the file; nothing is remembered when there is none.
    ///
    /// # Errors
    /// When there is one that cannot be read.
    pub fn load() -> Result<State, Stop> {
        match places::state() {
            Some(path) => State::load_from(&path).map_err(Stop::Refused),
            None => Ok(State::default()),
        }
    }

    fn load_from(path: &Path) -> Result<State, String> {
        kept::load(path, "Remove the file, and sign on with `convergia login`.")
    }

    /// Changes the file. Another process that changes it at the same time waits.
    ///
    /// # Errors
    /// In words, when it cannot be written.
    pub fn update(change: impl FnOnce(&mut State)) -> Result<(), String> {
        let path = places::state().ok_or("HOME is not set: nothing can be remembered")?;
        State::update_at(&path, change)
    }

    fn update_at(path: &Path, change: impl FnOnce(&mut State)) -> Result<(), String> {
        kept::update(path, "Remove the file, and sign on with `convergia login`.", change)
    }

    /// As `update`; that it could not be done is a warning.
    pub fn note(change: impl FnOnce(&mut State)) {
        if let Err(words) = State::update(change) {
            eprintln!("convergia: not remembered: {words}");
        }
    }

    /// The user who signed on last.
    pub fn user(&self, address: &Address) -> Option<String> {
        self.servers.get(&key(address))?.user.clone()
    }

    /// A session token.
    pub fn token(&self, address: &Address, user: &str) -> Option<String> {
        self.servers.get(&key(address))?.tokens.get(name::fold(user).as_ref()).cloned()
    }

    /// Remembers who signed on last.
    pub fn set_user(&mut self, address: &Address, user: &str) {
        self.servers.entry(key(address)).or_default().user = Some(user.to_owned());
    }

    /// Remembers a token, or forgets it.
    pub fn set_token(&mut self, address: &Address, user: &str, token: Option<String>) {
        let tokens = &mut self.servers.entry(key(address)).or_default().tokens;
        let user = name::fold(user).into_owned();
        match token {
            Some(token) => drop(tokens.insert(user, token)),
            None => drop(tokens.remove(&user)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder(name: &str) -> std::path::PathBuf {
        let folder = std::env::temp_dir().join(format!("convergia-state-{}-{name}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    #[test]
    fn it_is_for_its_owner_alone_and_comes_back() {
        let folder = folder("owner");
        let path = folder.join("deeper/client.json");
        let address: Address = "convergia://h:1".parse().unwrap();
        assert_eq!(State::load_from(&path).unwrap(), State::default());
        State::update_at(&path, |state| {
            state.server = Some(address.to_string());
            state.set_user(&address, "Alice");
            state.set_token(&address, "Alice", Some("secret".to_owned()));
        })
        .unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&folder), 0o700);
        let state = State::load_from(&path).unwrap();
        assert_eq!(state.user(&address).as_deref(), Some("Alice"));
        assert_eq!(state.token(&address, "aLICE").as_deref(), Some("secret"));
        assert_eq!(state.token(&"convergia://other:1".parse().unwrap(), "alice"), None);
        State::update_at(&path, |state| state.set_token(&address, "alice", None)).unwrap();
        assert_eq!(State::load_from(&path).unwrap().token(&address, "alice"), None);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_pinned_server_may_move() {
        let print = "ab".repeat(32);
        let mut state = State::default();
        let (here, there): (Address, Address) =
            (format!("convergia://h:1#{print}").parse().unwrap(), format!("convergia://i:2#{print}").parse().unwrap());
        state.set_token(&here, "a", Some("t".to_owned()));
        assert_eq!(state.token(&there, "a").as_deref(), Some("t"));
    }

    #[test]
    fn a_broken_file_is_not_overwritten() {
        let folder = folder("broken");
        fs::create_dir_all(&folder).unwrap();
        let path = folder.join("client.json");
        fs::write(&path, "{").unwrap();
        assert!(State::update_at(&path, |state| state.server = None).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn changes_at_the_same_time_are_all_there() {
        let folder = folder("race");
        let path = folder.join("client.json");
        let address: Address = "convergia://h:1".parse().unwrap();
        std::thread::scope(|scope| {
            for user in 0..8 {
                let (path, address) = (&path, &address);
                scope.spawn(move || {
                    let set = |state: &mut State| state.set_token(address, &format!("u{user}"), Some("t".to_owned()));
                    State::update_at(path, set).unwrap();
                });
            }
        });
        let state = State::load_from(&path).unwrap();
        assert!((0..8).all(|user| state.token(&address, &format!("u{user}")).is_some()), "{state:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
