//! USER and USERGONE (64481): who is signed on at which main server. A main server acts only for users of whom management says that they
//! are signed on there.

use std::collections::BTreeMap;
use std::collections::HashMap;

use super::changes;
use super::main_server;
use super::DataManagement;
use super::Peer;
use crate::config::PortKey;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::storage::accounts;
use crate::storage::mail;
use crate::storage::mail::Message;
use crate::storage::Caller;
use crate::storage::FOREIGN;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Users of one main server.
const USERS: usize = 1_000_000;

/// A user as one main server sees it: its link, and the number there.
pub type At = (LinkId, u64);

/// A user who is signed on at a main server.
pub struct User {
    pub caller: Caller,
    /// What it changes, in order.
    pub changes: changes::Queue,
}

/// Everybody who is signed on.
#[derive(Default)]
pub struct Users {
    all: BTreeMap<At, User>,
    by_account: HashMap<u64, Vec<At>>,
    next: u64,
    /// What management has vouched for, as long as the main server's link lives: it is believed while management is away.
    checked: HashMap<(LinkId, u64), (String, String)>,
}

pub const USER: Command<DataManagement> = Command {
    name: "USER",
    ports: &[PortKey::MainDatamanagement],
    args: "username LF account LF receipt",
    gate: main_server,
    run: user,
};

pub const USER_GONE: Command<DataManagement> =
    Command { name: "USERGONE", ports: &[PortKey::MainDatamanagement], args: "number", gate: main_server, run: gone };

impl Users {
    /// A user by its number on a link.
    pub fn get(&self, at: At) -> Option<&User> {
        self.all.get(&at)
    }

    /// The same, to change.
    pub fn get_mut(&mut self, at: At) -> Option<&mut User> {
        self.all.get_mut(&at)
    }

    /// Where an account is signed on.
    pub fn places(&self, account: u64) -> &[At] {
        self.by_account.get(&account).map_or(&[], Vec::as_slice)
    }

    /// Users that are signed on, each main server's counted.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// A user of another realm, who asks over that link: under this number.
    pub fn enter_foreign(&mut self, link: LinkId, caller: Caller) -> u64 {
        self.next += 1;
        self.all.insert((link, self.next), User { caller, changes: changes::Queue::default() });
        self.next
    }

    /// One that nothing is under way of, or that is gone.
    pub fn leave_foreign(&mut self, at: At) -> bool {
        let rests = self.get(at).is_none_or(|user| user.changes.is_empty());
        if rests {
            self.all.remove(&at);
        }
        rests
    }

    fn remove(&mut self, at: At) -> Option<User> {
        let user = self.all.remove(&at)?;
        if let Some(places) = self.by_account.get_mut(&user.caller.account) {
            places.retain(|place| *place != at);
            if places.is_empty() {
                self.by_account.remove(&user.caller.account);
            }
        }
        Some(user)
    }
}

fn user(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [user, account, receipt] = request.data().take()?;
    let (user, account) = (user.text()?.into_owned(), account.number()?);
    let receipt = receipt.text()?.into_owned();
    name::check_user(&user)?;
    if account == 0 || account >= FOREIGN {
        return Err(Fail::bad_args("that is no account"));
    }
    if dm.users.len() >= USERS {
        return Err(Fail::new(Code::Limit, "too many users are signed on"));
    }
    let (later, link) = (request.later(), request.link);
    check_receipt(dm, ctx, link, user, account, receipt, move |_, ctx, checked| {
        let (name, quota) = match checked {
            Ok(checked) => checked,
            Err(fail) => return ctx.answer(&later, Err(fail)),
        };
        let caller = Caller { account, name };
        let (stored, now) = (caller.clone(), ctx.now());
        ctx.store(
            move |db| {
                let known = accounts::welcome(db, &stored, now)?;
                if let Quota::Told(quota) = quota {
                    accounts::renew_quota(db, account, quota)?;
                }
                Ok(known)
            },
            move |dm, ctx, known| {
                let number = known.map(|_| enter(dm, ctx, link, caller));
                ctx.answer(&later, number.map(|number| number.to_string().into_bytes()));
            },
        );
    });
    Ok(Answer::Later)
}

/// What an account may store.
#[derive(Clone, Copy)]
enum Quota {
    /// As management says, in bytes; None: what all may.
    Told(Option<u64>),
    /// Management is away.
    AsItWas,
}

/// The answer of CHECKRECEIPT.
fn checked(told: Raw<'_>) -> Result<(String, Quota), Fail> {
    let [name, quota] = told.take()?;
    let quota = if quota.is_empty() { None } else { Some(quota.number()?) };
    Ok((name.text()?.into_owned(), Quota::Told(quota)))
}

/// Asks management whether this user is signed on at the main server at the other end of `link`; `then` gets the name as registered,
/// and the account's quota.
/// While management is away, what it has said before is believed.
fn check_receipt(
    dm: &DataManagement,
    ctx: &mut Ctx<DataManagement>,
    link: LinkId,
    user: String,
    account: u64,
    receipt: String,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<(String, Quota), Fail>) + Send + 'static,
) {
    let server = match ctx.peer_ref(link) {
        Some(Peer::Main(server)) => server.clone(),
        _ => return,
    };
    let number = account.to_string();
    let shown = receipt.clone();
    let fields = [&server, &user, &number, &shown].map(|field| field.as_bytes());
    let done = move |dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, answer: Result<(String, Quota), Fail>| {
        let result = match answer {
            Ok((name, quota)) if ctx.is_open(link) => {
                dm.users.checked.insert((link, account), (receipt, name.clone()));
                Ok((name, quota))
            }
            Err(fail) if fail.code == Code::Unavailable => match dm.users.checked.get(&(link, account)) {
                Some((known, name)) if *known == receipt => Ok((name.clone(), Quota::AsItWas)),
                _ => Err(fail),
            },
            other => other,
        };
        then(dm, ctx, result);
    };
    match dm.uplink.link() {
        Some(management) => ctx.request(management, "CHECKRECEIPT", &fields, move |dm, ctx, answer| {
            done(dm, ctx, answer.and_then(checked));
        }),
        None => ctx.after(0, move |dm, ctx| {
            done(dm, ctx, Err(Fail::new(Code::Unavailable, "management is not reachable; retry later")));
        }),
    }
}

/// The user is signed on there, under this number; it is told of the messages that wait.
fn enter(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, link: LinkId, caller: Caller) -> u64 {
    dm.users.next += 1;
    let number = dm.users.next;
    if !ctx.is_open(link) {
        return number;
    }
    let at = (link, number);
    dm.users.by_account.entry(caller.account).or_default().push(at);
    dm.users.all.insert(at, User { caller: caller.clone(), changes: changes::Queue::default() });
    ctx.query(
        move |db| mail::list(db, &caller),
        move |_, ctx, messages| {
            for message in messages.unwrap_or_default() {
                tell_message(ctx, at, &message);
            }
        },
    );
    number
}

/// OFFLINEMESSAGEAVAILABLE to a user at one main server.
pub fn tell_message(ctx: &mut Ctx<DataManagement>, at: At, message: &Message) {
    let (id, size, sent) = (message.name(), message.size.to_string(), message.sent.to_string());
    tell(ctx, at, "OFFLINEMESSAGEAVAILABLE", &[&id, &message.sender, &size, &sent].map(|field| field.as_bytes()));
}

/// TELL: the main server passes it on to all sessions of the user there. Who cannot take it asks for what there is.
pub fn tell(ctx: &mut Ctx<DataManagement>, at: At, command: &str, fields: &[&[u8]]) {
    let number = at.1.to_string();
    let all: Vec<&[u8]> = [number.as_bytes(), command.as_bytes()].into_iter().chain(fields.iter().copied()).collect();
    let _ = ctx.push(at.0, "TELL", &all);
}

fn gone(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let at = (request.link, request.data().number()?);
    if let Some(user) = dm.users.remove(at) {
        dm.users.checked.remove(&(request.link, user.caller.account));
        changes::dropped(dm, ctx, user.changes);
    }
    Ok(Answer::None)
}

/// The link of a main server is gone, and its users with it.
pub fn main_gone(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, link: LinkId) {
    let all: Vec<At> = dm.users.all.range((link, 0)..=(link, u64::MAX)).map(|(at, _)| *at).collect();
    for at in all {
        if let Some(user) = dm.users.remove(at) {
            changes::dropped(dm, ctx, user.changes);
        }
    }
    dm.users.checked.retain(|(of, _), _| *of != link);
}

/// The account is gone: nobody acts for it any more.
pub fn forget(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, account: u64) {
    for at in dm.users.places(account).to_vec() {
        if let Some(user) = dm.users.remove(at) {
            changes::dropped(dm, ctx, user.changes);
        }
    }
    dm.users.checked.retain(|(_, of), _| *of != account);
}
