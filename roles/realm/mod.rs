//! Role realm: a provider that people register and sign on with, in one process. It is role main with more doors: clients come in over 63745
//! and over the web socket of the page, and are sessions like all others from then on. So it is a part of that role's state machine.
//!
//! [`door`] has the states before the sign-on, [`desk`] the links to management on which the realm speaks for a client, [`log_in`] and
//! [`account`] what is asked there. [`directory`] tells the directory of this realm and asks it for others, [`links`] are to those;
//! [`abroad`] sends and takes messages over the streams in [`relay`], [`queue`] and [`arrived`] keep those that have to wait. [`envoy`]
//! passes on what data management has to say to that of another realm.

pub mod abroad;
mod account;
pub mod arrived;
pub mod assets;
pub mod blocks;
mod desk;
pub mod directory;
mod door;
mod envoy;
pub mod links;
mod log_in;
pub mod queue;
pub mod relay;

use std::collections::HashMap;

use crate::config::Policy;
use crate::config::PortKey;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::roles::main::Main;

pub use door::Door;

/// The ports that clients of a realm come in by.
pub const DOORS: &[PortKey] = &[PortKey::Realm, PortKey::Web];

/// How often accounts are counted; milliseconds.
const COUNT: u64 = 10_000;

/// What a realm is told at start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// In the directory, for people.
    pub name: String,
    /// The same.
    pub description: String,
    /// Where the directory is; None: this realm knows no others.
    pub directory: Option<Where>,
    /// How long messages for a realm that is away wait; milliseconds.
    pub queue: u64,
    /// `host:port`: what its users' ids begin with.
    pub address: String,
    /// Who may register.
    pub registration: Policy,
    /// Accounts; none: any number.
    pub user_cap: Option<u64>,
    /// Bytes that a user may store.
    pub quota: u64,
    /// The same, where it is not what all accounts of the network may: who registers here gets it.
    pub own_quota: Option<u64>,
}

/// The state of a realm's doors.
pub struct Realm {
    settings: Settings,
    /// Links to management, by the clients that they are for.
    desks: HashMap<LinkId, desk::Desk>,
    /// Accounts, when they were last counted.
    users: u64,
    next_count: u64,
    directory: directory::Directory,
    /// The other realms.
    others: links::Others,
    /// What waits for others that are away.
    queues: queue::Queues,
    /// What has come from others, and waits for users.
    arrived: arrived::Arrived,
    /// Whom the operator has blocked.
    blocks: blocks::Blocks,
    /// The link to data management, and the id, that it was told that other realms are reached by.
    gateway: Option<(LinkId, String)>,
}

impl Realm {
    /// A realm that nobody has come to.
    pub fn new(settings: Settings) -> Realm {
        let directory = directory::Directory::new(settings.directory.clone());
        Realm {
            settings,
            desks: HashMap::new(),
            users: 0,
            next_count: 0,
            directory,
            others: links::Others::default(),
            queues: queue::Queues::default(),
            arrived: arrived::Arrived::default(),
            blocks: blocks::Blocks::default(),
            gateway: None,
        }
    }

    /// `host:port`: what its users' ids begin with.
    pub fn id(&self) -> &str {
        &self.settings.address
    }

    /// Where others find it: known once its port is bound.
    pub fn set_address(&mut self, address: &str) {
        self.settings.address = address.to_ascii_lowercase();
    }
}

/// What a realm keeps of others.
pub const SCHEMAS: [&str; 4] = [links::SCHEMA, queue::SCHEMA, arrived::SCHEMA, blocks::SCHEMA];

/// The listeners are bound.
pub fn start(main: &Main, ctx: &mut Ctx<Main>) {
    if main.realm.is_some() {
        links::load(ctx, directory::connect);
    }
}

/// Every command of the doors.
pub const COMMANDS: [Command<Main>; 18] = [
    door::START_REGISTRATION,
    door::CANCEL_REGISTRATION,
    door::REGISTER_ACCOUNT,
    door::CONFIRM_REGISTER_ACCOUNT,
    door::GET_REALM,
    log_in::LOGIN,
    log_in::LOGIN_KEY,
    log_in::PROVE_KEY,
    account::ADD_KEY,
    account::LIST_KEYS,
    account::REMOVE_KEY,
    account::CHANGE_PASSWORD,
    account::REVOKE_TOKENS,
    links::MEET,
    relay::RELAY,
    relay::RELAYED,
    envoy::DO_FOR,
    envoy::ABROAD,
];

pub use desk::closed as desk_closed;
pub use desk::opened as desk_opened;
pub use desk::proven as desk_proven;
pub use directory::Where;
pub use door::closed;
pub use door::is_free;
pub use door::opened;
pub use envoy::introduce;
pub use links::RealmNo;

/// Once a second.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    let now = ctx.now();
    introduce(main, ctx);
    directory::tick(main, ctx);
    links::tick(main, ctx);
    let Some(link) = main.management.link() else { return };
    let Some(realm) = main.realm.as_mut().filter(|realm| realm.next_count <= now) else { return };
    realm.next_count = now.saturating_add(COUNT);
    ctx.request(link, "COUNTACCOUNTS", &[], |main, _, answer| {
        if let (Some(realm), Ok(count)) = (&mut main.realm, answer.and_then(|count| count.number())) {
            realm.users = count;
        }
    });
}
