//! The link of data management and of data servers to management (64483): opened again, later and later, whenever it breaks.

use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::identity::PublicKey;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Target;
use crate::engine::Verify;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;

use super::Joined;

/// How long to wait before the next try, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (100, 10_000);
const PORT: PortKey = PortKey::DatamanagementManagement;

/// Where management is.
#[derive(Clone, Debug)]
pub struct Where {
    /// Where its ports are asked for (GETPORTS) before every connection, as they may move. None: `management` says it.
    pub public: Option<Target>,
    /// Its port 64483. With `public`, only the host counts.
    pub management: Target,
}

/// What a link to management is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Up {
    /// GETPORTS.
    Public,
    /// 64483.
    Management,
}

/// What is known of the link.
pub struct Uplink {
    target: Where,
    link: Option<LinkId>,
    introducing: Option<LinkId>,
    tries: u32,
    /// When this process started, by its own clock; names the process. Unix milliseconds.
    pub boot: u64,
}

/// A role that has this link: data management, or a data server.
pub trait StorageServer: Joined {
    /// Which of the two it is.
    const ROLE: RoleName;

    /// Its link.
    fn uplink(&mut self) -> &mut Uplink;

    /// What the role remembers of such a link.
    fn up(up: Up) -> Self::Peer;

    /// The two middle fields of STORAGESERVER: where it is found, and the fingerprint of its certificate.
    fn introduction(&self) -> (String, Fingerprint);

    /// Management knows this server.
    fn introduced(&mut self, ctx: &mut Ctx<Self>);

    /// The link is gone, and there was one.
    fn management_away(&mut self, _ctx: &mut Ctx<Self>) {}
}

impl Uplink {
    /// Not connected.
    pub fn new(target: Where) -> Uplink {
        Uplink { target, link: None, introducing: None, tries: 0, boot: 0 }
    }

    /// 64483, while management knows this server.
    pub fn link(&self) -> Option<LinkId> {
        self.link
    }

    /// Opens the link.
    pub fn connect<R: StorageServer>(role: &mut R, ctx: &mut Ctx<R>) {
        if ctx.is_stopping() {
            return;
        }
        match role.uplink().target.clone() {
            Where { public: Some(public), .. } => ctx.connect(PortKey::PublicManagement, public, R::up(Up::Public)),
            Where { management, .. } => ctx.connect(PORT, management, R::up(Up::Management)),
        };
    }

    /// A link of this kind is open.
    pub fn opened<R: StorageServer>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, up: Up) {
        match up {
            Up::Public => ask_ports(ctx, link),
            Up::Management => {
                let expected = role.members().management_key;
                handshake::open(role, ctx, link, "management", expected);
            }
        }
    }

    /// The server handshake on 64483 is done.
    pub fn proven<R: StorageServer>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId) {
        role.uplink().introducing = Some(link);
        Uplink::introduce(role, ctx);
    }

    /// The server handshake on 64483 has failed.
    pub fn refused<R: StorageServer>(role: &mut R, why: &Fail) {
        let shakes = role.handshakes_ref();
        match why.code {
            Code::Denied => log::error!(
                "management does not know this server. On management: convergia admin add-server {} {} {}",
                shakes.own_id(),
                R::ROLE.name(),
                shakes.key().public()
            ),
            Code::Refused => log::error!(
                "what answers as management is not the management that this server joined. If that is meant, stop this \
                 server, remove the database in the folder {} in its data folder, and start it: it joins anew",
                R::NAME
            ),
            _ => {}
        }
    }

    /// Tells management who this server is, and where.
    pub fn introduce<R: StorageServer>(role: &mut R, ctx: &mut Ctx<R>) {
        let uplink = role.uplink();
        let Some(link) = uplink.link.or(uplink.introducing) else { return };
        let boot = uplink.boot.to_string();
        let (address, print) = role.introduction();
        let print = hex::encode(&print);
        let shakes = role.handshakes_ref();
        let (own, key) = (shakes.own_id().to_owned(), shakes.key().public().to_string());
        let fields = [R::ROLE.name(), &own, &address, &print, &key, &boot].map(str::as_bytes);
        ctx.request(link, "STORAGESERVER", &fields, move |role, ctx, answer| match answer {
            Ok(_) => {
                let uplink = role.uplink();
                let again = uplink.link.replace(link) == Some(link);
                uplink.introducing = None;
                uplink.tries = 0;
                if !again {
                    log::info!("management knows this server");
                    role.introduced(ctx);
                }
            }
            Err(fail) => {
                log::error!("management refuses this server: {fail}");
                ctx.close(link, "refused");
            }
        });
    }

    /// A link of this kind is gone, or could not be made: it is tried again, later and later.
    pub fn closed<R: StorageServer>(role: &mut R, ctx: &mut Ctx<R>, link: LinkId, up: Up, why: &str) {
        let uplink = role.uplink();
        if uplink.introducing == Some(link) {
            uplink.introducing = None;
        }
        if uplink.link == Some(link) {
            uplink.link = None;
            log::warn!("management is not reachable: {why}");
            role.management_away(ctx);
        }
        // After GETPORTS was answered there is another link already.
        if ctx.is_stopping() || (up == Up::Public && why == DONE) {
            return;
        }
        let uplink = role.uplink();
        uplink.tries = uplink.tries.saturating_add(1);
        let wait = back_off(ctx, uplink.tries);
        ctx.after(wait, Uplink::connect);
    }
}

/// How long to wait after so many tries; milliseconds. With jitter, so that many servers do not come back in one instant.
pub fn back_off<R: crate::engine::Role>(ctx: &mut Ctx<R>, tries: u32) -> u64 {
    let (first, most) = BACK_OFF;
    let wait = first.saturating_mul(1 << tries.min(16)).min(most);
    wait / 2 + rand::RngExt::random_range(ctx.rng(), 0..=wait / 2)
}

/// Why the link for GETPORTS is closed when all went well.
const DONE: &str = "done";

fn ask_ports<R: StorageServer>(ctx: &mut Ctx<R>, link: LinkId) {
    ctx.request(link, "GETPORTS", &[], move |role, ctx, answer| {
        let text = answer.and_then(|data| Ok(data.text()?.into_owned())).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix(PORT.name())?.strip_prefix('|'));
        let Some(port) = line.and_then(|port| port.parse::<u16>().ok()) else {
            return ctx.close(link, "management does not tell its port for data servers: is it of this version?");
        };
        if let Target::Net(address, _) = &mut role.uplink().target.management {
            let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
            *address = format!("{host}:{port}");
        }
        let target = role.uplink().target.management.clone();
        ctx.connect(PORT, target, R::up(Up::Management));
        ctx.close(link, DONE);
    });
}

/// Where data management is, as DATAMANAGEMENT tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its name.
    pub server: String,
    /// Where to connect to.
    pub address: String,
    /// Of its certificate.
    pub fingerprint: Fingerprint,
    /// Its identity.
    pub key: PublicKey,
}

impl Place {
    /// The target of a link to it.
    pub fn target(&self) -> Target {
        Target::Net(self.address.clone(), Verify::Pinned(self.fingerprint))
    }
}

/// The DATA of DATAMANAGEMENT; None: there is none at the moment.
///
/// # Errors
/// BADARGS.
pub fn address_of(text: &str) -> Result<Option<Place>, Fail> {
    if text.is_empty() {
        return Ok(None);
    }
    let bad = || Fail::bad_args("server-id|host:port|fingerprint|public key, or nothing");
    let [server, address, print, key] = text.split('|').collect::<Vec<_>>()[..] else { return Err(bad()) };
    name::check(server)?;
    let fingerprint = hex::decode_32(print).ok_or_else(bad)?;
    let key = PublicKey::parse(key).ok_or_else(bad)?;
    Ok(Some(Place { server: server.to_owned(), address: address.to_owned(), fingerprint, key }))
}
