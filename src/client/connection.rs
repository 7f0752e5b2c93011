//! One link, for questions that need no sign-on: registering, and the operator's socket.

use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Address;
use crate::config::PortKey;
use crate::engine::limits::Limits;
use crate::engine::net::Handle;
use crate::engine::net::Registry;
use crate::engine::rt::channel;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;
use crate::engine::LinkId;
use crate::engine::Role;
use crate::engine::Target;
use crate::wire::Code;
use crate::wire::Fail;

type Answer = Result<Vec<u8>, Fail>;

/// The role behind a `Connection`: it only asks.
struct Asker {
    link: LinkId,
    opened: Option<channel::Sender<Result<(), Fail>>>,
}

impl Role for Asker {
    type Peer = ();
    const NAME: &'static str = "client";

    fn commands() -> &'static [Command<Asker>] {
        &[]
    }

    fn opened(&mut self, _: &mut Ctx<Asker>, _: LinkId) {
        if let Some(opened) = self.opened.take() {
            let _ = opened.try_send(Ok(()));
        }
    }

    fn closed(&mut self, _: &mut Ctx<Asker>, _: LinkId, gone: Gone<()>) {
        if let Some(opened) = self.opened.take() {
            let _ = opened.try_send(Err(Fail::new(Code::Unavailable, gone.why)));
        }
    }
}

/// An open link. Dropping it closes it.
pub struct Connection {
    handle: Handle<Asker>,
}

impl Connection {
    /// Connects to management's public port, or to a realm.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason.
    pub async fn public(address: &Address) -> Result<Connection, Fail> {
        let target = Target::Net(address.at(address.port), address.verify());
        let port = if address.realm { PortKey::Realm } else { PortKey::PublicManagement };
        Connection::open(port, target).await
    }

    /// Connects to the directory of realms, at the management server of that address.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason; NOTFOUND: there is no directory.
    pub async fn directory(address: &Address) -> Result<Connection, Fail> {
        let ports = Connection::public(address).await?.request("GETPORTS", &[]).await?;
        let ports = String::from_utf8_lossy(&ports).into_owned();
        let port = ports.lines().find_map(|line| line.strip_prefix(PortKey::ClientRealms.name())?.strip_prefix('|'));
        let port = port.and_then(|port| port.parse().ok());
        let port = port.ok_or_else(|| Fail::new(Code::NotFound, "this server has no directory of realms"))?;
        Connection::open(PortKey::ClientRealms, Target::Net(address.at(port), address.verify())).await
    }

    /// Connects to where a network keeps accounts (not a realm's, which has one port for all), and signs on to one with a token.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason; WRONG.
    pub async fn account(address: &Address, user: &str, token: &str) -> Result<Connection, Fail> {
        let ports = Connection::public(address).await?.request("GETPORTS", &[]).await?;
        let key = format!("{}|", PortKey::ClientManagement.name());
        let port = String::from_utf8_lossy(&ports).lines().find_map(|line| line.strip_prefix(&key)?.parse().ok());
        let port = port.ok_or_else(|| Fail::new(Code::Unavailable, "the server does not tell its ports"))?;
        let target = Target::Net(address.at(port), address.verify());
        let connection = Connection::open(PortKey::ClientManagement, target).await?;
        let secret = Zeroizing::new(format!("token:{token}"));
        connection.request("LOGIN", &[user.as_bytes(), secret.as_bytes()]).await?;
        Ok(connection)
    }

    /// Connects to the operator's socket in a server's data folder.
    ///
    /// # Errors
    /// UNAVAILABLE with the reason.
    pub async fn admin(data_dir: &Path) -> Result<Connection, Fail> {
        Connection::open(PortKey::Admin, Target::Unix(data_dir.join(ADMIN_SOCKET))).await
    }

    async fn open(port: PortKey, target: Target) -> Result<Connection, Fail> {
        let (send, opened) = channel::bounded(1);
        let asker = Asker { link: LinkId::default(), opened: Some(send) };
        let handle =
            Handle::new(asker, Limits::default(), 1, None, &Arc::new(Registry::default())).map_err(Fail::internal)?;
        handle.with(|asker, ctx| asker.link = ctx.connect(port, target, ()));
        match opened.recv().await {
            Ok(result) => result.map(|()| Connection { handle }),
            Err(_) => Err(Fail::new(Code::Unavailable, "the connection was dropped")),
        }
    }

    /// Asks, and waits for the answer's DATA.
    ///
    /// # Errors
    /// The server's FAIL; UNAVAILABLE when the connection breaks.
    pub async fn request(&self, command: &str, fields: &[&[u8]]) -> Answer {
        let (send, answer) = channel::bounded(1);
        self.handle.with(|asker, ctx| {
            ctx.request(asker.link, command, fields, move |_, _, result| {
                let _ = send.try_send(result.map(|data| data.unescape().into_owned()));
            });
        });
        answer.recv().await.unwrap_or_else(|_| Err(Fail::new(Code::Unavailable, "the connection was dropped")))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.handle.with(|asker, ctx| ctx.close(asker.link, "done"));
    }
}

/// The operator's socket, in the data folder.
pub const ADMIN_SOCKET: &str = "admin.sock";

/// A registration that waits for its confirmation, for a minute.
pub struct Registration {
    connection: Connection,
    id: Vec<u8>,
    /// The captcha; empty when the server's policy asks for none.
    pub png: Vec<u8>,
}

/// Asks for a new account.
///
/// # Errors
/// EXISTS, BADARGS, REFUSED, LIMIT; UNAVAILABLE.
pub async fn register(address: &Address, user: &str, password: &[u8]) -> Result<Registration, Fail> {
    let connection = Connection::public(address).await?;
    if address.realm {
        connection.request("STARTREGISTRATION", &[]).await?;
    }
    let answer = connection.request("REGISTERACCOUNT", &[user.as_bytes(), password]).await?;
    let (id, png) = match answer.iter().position(|byte| *byte == b'\n') {
        Some(at) => (answer[..at].to_vec(), answer[at + 1..].to_vec()),
        None => (answer, Vec::new()),
    };
    Ok(Registration { connection, id, png })
}

impl Registration {
    /// Confirms with the captcha's text, or the invite's code, or nothing, as the server's policy asks.
    ///
    /// # Errors
    /// WRONG (begin anew), EXPIRED.
    pub async fn confirm(self, text: &str) -> Result<(), Fail> {
        self.connection.request("CONFIRMREGISTERACCOUNT", &[&self.id, text.as_bytes()]).await.map(|_| ())
    }
}
