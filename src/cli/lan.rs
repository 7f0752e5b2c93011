//! This device on the local network: its key, which it makes at first use, and the keys of others, as the server has told them.
//! One JSON file, 0600.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use serde::Deserialize;
use serde::Serialize;
use zeroize::Zeroizing;

use super::kept;
use super::outcome;
use super::places;
use super::session::Session;
use super::state;
use crate::accounts::keys;
use crate::accounts::secret;
use crate::client::lan::Event;
use crate::client::lan::Id;
use crate::client::lan::Lan;
use crate::client::lan::Me;
use crate::client::lan::Vouch;
use crate::client::Address;
use crate::client::Client;
use crate::client::Connection;
use crate::config::PortKey;
use crate::engine::rt;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// Users whose keys are kept, and for how long (milliseconds).
const KEPT: usize = 1_024;
const KEPT_FOR: u64 = 30 * 24 * 3_600_000;
/// How long the server may take to answer before what is kept counts.
const PATIENCE: Duration = Duration::from_secs(3);
/// When to ask again: after the server's answer, after one that was kept, and after none.
const FRESH: Duration = Duration::from_secs(600);
const STALE: Duration = Duration::from_secs(30);
const NONE: Duration = Duration::from_secs(5);

const REPAIR: &str = "Remove the file; this device makes another key then.";

/// The file's content: by server, then by folded name of this user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Book {
    #[serde(default)]
    accounts: BTreeMap<String, BTreeMap<String, Account>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Account {
    /// What the account calls this device's key.
    #[serde(default)]
    label: String,
    /// The seed of this device's key, in hexadecimal; empty: none.
    #[serde(default)]
    seed: String,
    /// The account knows it.
    #[serde(default)]
    added: bool,
    /// By folded name.
    #[serde(default)]
    others: BTreeMap<String, Known>,
}

/// Keys of another user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// When the server said so; Unix milliseconds.
    at: u64,
    /// In Base64.
    keys: Vec<String>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0))
}

/// This user on this device.
#[derive(Clone)]
pub struct Device {
    path: PathBuf,
    server: String,
    folded: String,
    id: Id,
}

impl Device {
    /// Of that user of that server.
    ///
    /// # Errors
    /// In words.
    pub fn new(address: &Address, user: &str) -> Result<Device, String> {
        let path = places::beside_state("lan.json").ok_or("HOME is not set: nothing can be remembered")?;
        let id = Id::new(address, user).ok_or("this server's name is too long for the local network")?;
        Ok(Device { path, server: state::key(address), folded: name::fold(user).into_owned(), id })
    }

    fn read(&self) -> Result<Account, String> {
        let book: Book = kept::load(&self.path, REPAIR)?;
        Ok(book.accounts.get(&self.server).and_then(|users| users.get(&self.folded)).cloned().unwrap_or_default())
    }

    fn change(&self, change: impl FnOnce(&mut Account)) -> Result<(), String> {
        kept::update(&self.path, REPAIR, |book: &mut Book| {
            change(book.accounts.entry(self.server.clone()).or_default().entry(self.folded.clone()).or_default());
        })
    }

    /// This user, as somebody who only looks.
    pub fn looking(&self) -> Me {
        Me { id: self.id.clone(), seed: None }
    }

    /// This user with this device's key. It is made, and added to the account, if that was not done so far; for that the
    /// session must be signed on.
    ///
    /// # Errors
    /// In words.
    pub async fn with_key(&self, session: &Session) -> Result<Me, String> {
        let mut account = self.read()?;
        if account.seed.is_empty() {
            let (seed, _) = keys::generate().map_err(|fail| outcome::words(&fail))?;
            let mark = secret::system::<4>().map_err(|fail| outcome::words(&fail))?;
            self.change(|account| {
                // Another process may have been faster.
                if account.seed.is_empty() {
                    account.seed = hex::encode(seed.as_slice());
                    account.label = format!("device-{}", hex::encode(&mark));
                }
            })?;
            account = self.read()?;
        }
        let seed = hex::decode_32(&account.seed).map(Zeroizing::new);
        let seed = seed.ok_or_else(|| format!("{}: holds no key. {REPAIR}", self.path.display()))?;
        let public = keys::public_of(&seed).map_err(|fail| outcome::words(&fail))?;
        if !account.added {
            let cannot =
                |fail: Fail| format!("this device cannot add its key to the account: {}", outcome::words(&fail));
            add(session, &account.label, &keys::to_base64(&public)).await.map_err(cannot)?;
            self.change(|account| account.added = true)?;
        } else if let Ok(Ok(held)) = rt::timeout(PATIENCE, held(&session.client, &session.user)).await {
            // Removed from elsewhere: whoever did that does not want it back by itself.
            if !held.contains(&public) {
                return Err(format!(
                    "the key {} of this device was removed from the account. To make another, remove {}",
                    account.label,
                    self.path.display()
                ));
            }
        }
        Ok(Me { id: self.id.clone(), seed: Some(seed) })
    }

    /// Says whose keys are those of that user: as the server says, or when it cannot be asked, as it has said before.
    async fn vouch(&self, client: &Client, lan: &Lan, user: &str) {
        let folded = name::fold(user).into_owned();
        let asked = rt::timeout(PATIENCE, held(client, user)).await;
        let (keys, fresh_for) = match asked {
            Ok(Ok(keys)) => (Some(keys), FRESH),
            Ok(Err(fail)) if matches!(fail.code, Code::NotFound | Code::BadArgs) => (Some(Vec::new()), FRESH),
            _ => (None, STALE),
        };
        if let Some(keys) = &keys {
            let known = Known { at: now(), keys: keys.iter().map(|key| keys::to_base64(key)).collect() };
            if let Err(words) = self.change(|account| account.learn(folded.clone(), known)) {
                log::warn!("not remembered: {words}");
            }
        }
        let keys = keys.or_else(|| {
            let account = self.read().ok()?;
            let known = account.others.get(&folded).filter(|known| now().saturating_sub(known.at) < KEPT_FOR)?;
            Some(known.keys.iter().filter_map(|key| keys::parse_public(key).ok()).collect())
        });
        match keys {
            Some(keys) => lan.vouch(user, Vouch::Keys(keys), fresh_for),
            None => lan.vouch(user, Vouch::Unknown, NONE),
        }
    }
}

impl Account {
    /// Keeps the keys of a user; who has none is forgotten.
    fn learn(&mut self, folded: String, known: Known) {
        if known.keys.is_empty() {
            self.others.remove(&folded);
            return;
        }
        self.others.insert(folded, known);
        if self.others.len() > KEPT {
            let oldest = self.others.iter().min_by_key(|(_, known)| known.at).map(|(name, _)| name.clone());
            oldest.and_then(|oldest| self.others.remove(&oldest));
        }
    }
}

/// The keys of a user, as the server says.
async fn held(client: &Client, user: &str) -> Result<Vec<[u8; 32]>, Fail> {
    let lines = client.request("GETKEYS", &[user.as_bytes()]).await?;
    let key = |line: &str| keys::parse_public(line.split('|').nth(1)?).ok();
    Ok(String::from_utf8_lossy(&lines).lines().filter_map(key).collect())
}

/// Adds a key to the account: at a realm in the session, else at management, as a main server has no say in keys.
async fn add(session: &Session, label: &str, public: &str) -> Result<(), Fail> {
    let fields = [label.as_bytes(), public.as_bytes()];
    let added = if session.address.realm {
        session.client.request("ADDKEY", &fields).await
    } else {
        let token = session.client.token().unwrap_or_default();
        Connection::account(&session.address, &session.user, &token).await?.request("ADDKEY", &fields).await
    };
    match added {
        // It was added before, and the answer lost.
        Err(fail) if fail.code == Code::Exists => Ok(()),
        added => added.map(|_| ()),
    }
}

/// Looks who is on the local network. `announce`: and says that this user is here.
///
/// # Errors
/// In words.
pub async fn start(session: &Session, announce: bool) -> Result<(Arc<Lan>, Device), String> {
    let device = Device::new(&session.address, &session.user)?;
    let me = device.with_key(session).await?;
    let kind = if session.address.realm { PortKey::RealmClientClient } else { PortKey::ClientClient };
    let lan = Lan::start(Some(me), announce.then_some(kind)).map_err(|fail| outcome::words(&fail))?;
    Ok((Arc::new(lan), device))
}

/// Handles what happens on the local network, for as long as it is looked at; messages and changes go to `told`.
pub async fn pump(lan: Arc<Lan>, device: Device, client: Option<Arc<Client>>, mut told: impl FnMut(Event)) {
    while let Some(event) = lan.next().await {
        let Event::Vouch(user) = event else {
            told(event);
            continue;
        };
        let (lan, device, client) = (Arc::clone(&lan), device.clone(), client.clone());
        // The server may take its time; a message that comes meanwhile does not wait.
        rt::spawn(async move {
            match client {
                Some(client) => device.vouch(&client, &lan, &user).await,
                None => lan.vouch(&user, Vouch::Unknown, NONE),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_bounded() {
        let mut account = Account::default();
        for n in 0..=KEPT {
            account.learn(format!("u{n}"), Known { at: n as u64, keys: vec!["k".to_owned()] });
        }
        assert_eq!(account.others.len(), KEPT);
        assert!(!account.others.contains_key("u0") && account.others.contains_key("u1"));
        account.learn("u1".to_owned(), Known::default());
        assert!(!account.others.contains_key("u1"));
    }
}
