//! Which server, which user, and signing on: what every subcommand of a user begins with.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

use zeroize::Zeroizing;

use super::outcome::Stop;
use super::password;
use super::state::State;
use super::text;
use crate::client::Address;
use crate::client::Client;
use crate::client::Event;
use crate::client::Options;
use crate::client::Secret;
use crate::config;
use crate::engine::rt;
use crate::node::ADDRESS_FILE;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

/// What the user said about where and who.
#[derive(Clone, Debug, Default)]
pub struct Target {
    /// `--server`
    pub server: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--password-file`
    pub password_file: Option<PathBuf>,
}

/// How long a subcommand wants to be signed on, and what it does for that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stay {
    /// To see whether it works.
    Once,
    /// For one thing to do: while no server can be reached, it is tried for some seconds.
    Short,
    /// For work that takes its time: a session that breaks is taken up again.
    Work,
    /// Until the user leaves: however long a server is away, with a second link to another one.
    Long,
    /// The same, but without waiting long for the first sign-on: there may be people on the local network.
    Near,
}

impl Stay {
    /// How long the first sign-on is tried; milliseconds.
    fn patience(self) -> u64 {
        match self {
            Stay::Once => 0,
            Stay::Short | Stay::Work => 10_000,
            Stay::Long | Stay::Near => u64::MAX,
        }
    }
}

/// How long `Stay::Near` waits for the first sign-on.
const NEAR: Duration = Duration::from_secs(3);

/// A signed-on user.
pub struct Session {
    /// The connection.
    pub client: Arc<Client>,
    /// The id of the main server that it was made to; empty: no server was reached so far.
    pub server: String,
    /// Who.
    pub user: String,
    /// Where.
    pub address: Address,
}

/// The address that a server of this machine has written to its data folder.
fn local_address() -> Option<Address> {
    address_in(&config::default_data_dir())
}

fn address_in(data_dir: &Path) -> Option<Address> {
    fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

/// The server: `--server`, else the remembered one, else the one of this machine.
///
/// # Errors
/// When there is none.
pub fn address(given: Option<&str>, state: &State) -> Result<Address, Stop> {
    if let Some(given) = given {
        return given.parse().map_err(|words: String| Stop::Usage(format!("--server {}", text::clean(&words))));
    }
    if let Some(remembered) = &state.server {
        return remembered.parse().map_err(|words: String| Stop::Refused(format!("the remembered server: {words}")));
    }
    local_address().ok_or_else(|| {
        Stop::Usage(
            "no server is known.\nStart one on this machine with `convergia`, or name one with --server \
             convergia://HOST:PORT#FINGERPRINT; a server prints that at its start."
                .to_owned(),
        )
    })
}

/// A user's name as it goes to the server.
///
/// # Errors
/// When it cannot be one.
pub fn user_name(given: &str) -> Result<String, Stop> {
    let user = name::normalise(given);
    name::check_user(&user).map_err(|fail| Stop::Usage(format!("{}: {}", text::clean(given), fail.text)))?;
    Ok(user)
}

/// A recipient as it goes to the server: a user, or `realm::user`.
///
/// # Errors
/// When it cannot be one.
pub fn recipient(given: &str) -> Result<String, Stop> {
    match given.rsplit_once("::") {
        Some((realm, user)) if !realm.is_empty() && !realm.contains(|c: char| c.is_control() || c.is_whitespace()) => {
            Ok(format!("{realm}::{}", user_name(user)?))
        }
        _ => user_name(given),
    }
}

/// What to do when the server cannot be reached, or another thing keeps a user from signing on.
pub fn next(fail: &Fail, address: &Address, user: &str) -> String {
    match fail.code {
        Code::Unavailable => {
            let elsewhere = local_address().filter(|local| local != address);
            let tip = match elsewhere {
                Some(local) => format!("The server of this machine is at another address: --server {local}"),
                None => {
                    "Is the server running? `convergia` starts one on this machine; --server names another.".to_owned()
                }
            };
            match fail.text.contains("fingerprint") {
                true => format!(
                    "Another server answers there. If that is meant to be, ask its operator for its address.\n{tip}"
                ),
                false => tip,
            }
        }
        Code::Wrong => {
            format!("Try again with `convergia login {user}`, or make the account: `convergia register {user}`.")
        }
        Code::Limit | Code::Busy => "Wait a little, then try again.".to_owned(),
        _ => String::new(),
    }
}

fn cannot(user: &str, fail: &Fail, address: &Address) -> Stop {
    Stop::refused(&format!("cannot sign on as {user}"), fail, &next(fail, address, user))
}

/// Signs on with a password and remembers the token.
///
/// # Errors
/// In words.
pub async fn with_password(
    address: &Address,
    user: &str,
    password: Zeroizing<String>,
    stay: Stay,
) -> Result<Session, Stop> {
    with(address, user, Secret::Password(password), stay).await.map_err(|fail| cannot(user, &fail, address))
}

async fn with(address: &Address, user: &str, secret: Secret, stay: Stay) -> Result<Session, Fail> {
    let options = Options {
        reconnect: matches!(stay, Stay::Long | Stay::Near | Stay::Work),
        redundant: matches!(stay, Stay::Long | Stay::Near),
        patience: stay.patience(),
        ..Options::new(address.clone(), user.to_owned(), secret)
    };
    let client = Client::start(options)?;
    let (mut told, began) = (false, Instant::now());
    let server = loop {
        let most = if stay == Stay::Near { NEAR.saturating_sub(began.elapsed()) } else { Duration::MAX };
        let Ok(event) = rt::timeout(most, client.next()).await else {
            eprintln!("convergia: going on without the server, which is tried again");
            break String::new();
        };
        match event {
            Some(Event::SignedOn(server)) => break server,
            // Another server answers there: waiting does not help.
            Some(Event::Lost(why, _)) if why.contains("fingerprint") => return Err(Fail::new(Code::Unavailable, why)),
            // It would come back for ever.
            Some(Event::Lost(why, _))
                if stay == Stay::Work && began.elapsed().as_millis() >= stay.patience().into() =>
            {
                return Err(Fail::new(Code::Unavailable, why));
            }
            Some(Event::Lost(why, _)) => {
                if !std::mem::replace(&mut told, true) {
                    let until = match stay {
                        Stay::Long | Stay::Near => "until it works; Ctrl-C gives up".to_owned(),
                        Stay::Short | Stay::Work | Stay::Once => format!("for {} seconds", stay.patience() / 1_000),
                    };
                    eprintln!("convergia: cannot sign on yet ({}); trying again {until}", text::clean(&why));
                }
            }
            Some(Event::Failed(fail)) => return Err(fail),
            Some(_) => {}
            None => return Err(Fail::new(Code::Unavailable, "the client was stopped")),
        }
    };
    let token = client.token();
    State::note(|state| state.set_token(address, user, token));
    Ok(Session { client: Arc::new(client), server, user: user.to_owned(), address: address.clone() })
}

/// Signs on: with a remembered token, and when that is not good any more, with the password.
///
/// # Errors
/// In words.
pub async fn sign_on(target: &Target, stay: Stay) -> Result<Session, Stop> {
    let state = State::load()?;
    let address = address(target.server.as_deref(), &state)?;
    let user = match &target.user {
        Some(user) => user_name(user)?,
        None => state.user(&address).ok_or_else(|| {
            Stop::Usage(
                "who are you? Sign on with `convergia login NAME`, make an account with `convergia register NAME`, or \
                 add --user NAME."
                    .to_owned(),
            )
        })?,
    };
    if let Some(token) = state.token(&address, &user) {
        match with(&address, &user, Secret::Token(token), stay).await {
            Ok(session) => return Ok(session),
            Err(fail) if fail.code == Code::Wrong => State::note(|state| state.set_token(&address, &user, None)),
            Err(fail) => return Err(cannot(&user, &fail, &address)),
        }
    }
    let password = password::read(target.password_file.as_deref(), &format!("Password of {user}: "), false)?;
    with_password(&address, &user, password, stay).await
}

/// Remembers who signed on where; the server only when it was named, so that one of this machine is found where it is.
pub fn remember(session: &Session, named: bool) {
    State::note(|state| {
        if named {
            state.server = Some(session.address.to_string());
        }
        state.set_user(&session.address, &session.user);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recipients() {
        for good in ["bob", "Å", "host:1::bob", "[::1]:5::bob"] {
            assert_eq!(recipient(good).unwrap(), good);
        }
        assert_eq!(recipient("A\u{30a}").unwrap(), "Å");
        for bad in ["", "a b", "a\nb", "a:b", "::bob", "h:1::", "h\n:1::bob", "h:1::a/b"] {
            assert!(matches!(recipient(bad), Err(Stop::Usage(_))), "{bad:?}");
        }
    }
}
