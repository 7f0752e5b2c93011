//! What is in another realm: a path `realm::/path`, a message `realm::message-id`. The command is asked there, over a realm server of this
//! network (a gateway): GATEWAY tells which servers are, ABROAD hands it the command.

use std::collections::BTreeMap;

use super::errands;
use super::main_server;
use super::operate::Ask;
use super::operate::OVERHEAD;
use super::users::At;
use super::DataManagement;
use super::Peer;
use crate::config::PortKey;
use crate::config::RoleName;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::session;
use crate::storage::abroad;
use crate::storage::args;
use crate::storage::args::SubjectName;
use crate::storage::mail::MessageId;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::raw;
use crate::wire::Body;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

pub const GATEWAY: Command<DataManagement> = Command {
    name: "GATEWAY",
    ports: &[PortKey::MainDatamanagement],
    args: "realm LF milliseconds",
    gate: main_server,
    run: gateway_is,
};

/// A realm server of this network, over which other realms are asked.
struct Gateway {
    /// Its realm's id.
    realm: String,
    /// How long a message waits for a realm that is away; milliseconds.
    patience: u64,
}

/// All of them, by their links.
#[derive(Default)]
pub struct Elsewhere {
    gateways: BTreeMap<LinkId, Gateway>,
    /// What users have under way to each realm: what they bring, and what they ask for, in bytes.
    loads: BTreeMap<String, u64>,
}

/// What users may have under way to one other realm, and to all of them; bytes. One that answers slowly holds nobody up but those who ask it.
const LOAD: (u64, u64) = (16 << 20, 64 << 20);

/// Whom a command is about.
pub enum Aim {
    /// This realm, by its own name: its DATA without that.
    Here(Vec<u8>),
    /// Another one.
    There(There),
}

/// A command for another realm.
pub struct There {
    realm: String,
    command: &'static str,
    data: Vec<u8>,
    message: Option<MessageId>,
}

/// Commands on one path, which is their first field.
const ON_PATHS: &[&str] = &[
    "CREATEFOLDER",
    "DELETEFOLDER",
    "CREATEFILE",
    "DELETEFILE",
    "WRITEFILE",
    "READFILE",
    "TRUNCATEFILE",
    "LISTFOLDER",
    "GETINFO",
    "SETPERMISSIONS",
];
/// Commands on two, both in one realm.
const ON_TWO_PATHS: &[&str] = &["MOVE", "REPLACE"];
/// Commands on a message that was sent.
const ON_MESSAGES: &[&str] = &["READOFFLINEMESSAGE", "DELETEOFFLINEMESSAGE"];

fn gateway_is(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [realm, patience] = request.data().take()?;
    let (realm, patience) = (realm.text()?.into_owned(), patience.number()?);
    name::check_realm(&realm)?;
    let remote = ctx.info(request.link).is_some_and(|info| info.remote.is_some());
    match ctx.peer_ref(request.link) {
        Some(Peer::Main(server)) if !remote || dm.members.key(RoleName::Realm, server).is_some() => {}
        _ => return Err(Fail::new(Code::Denied, "not a realm server")),
    }
    dm.elsewhere.gateways.insert(request.link, Gateway { realm, patience });
    errands::wake(dm, ctx);
    Ok(Answer::Ok)
}

/// The gate of what only a realm server may say.
pub fn is_gateway(dm: &DataManagement, _: &Ctx<DataManagement>, link: LinkId) -> Result<(), Fail> {
    match dm.elsewhere.gateways.contains_key(&link) {
        true => Ok(()),
        false => Err(Fail::new(Code::SignIn, "not a realm server")),
    }
}

/// The link of a server is gone.
pub fn gone(dm: &mut DataManagement, link: LinkId) {
    dm.elsewhere.gateways.remove(&link);
}

/// The realm's own id, and how long messages to others wait; None: there is no gateway.
pub fn own(dm: &DataManagement) -> Option<(&str, u64)> {
    dm.elsewhere.gateways.values().next().map(|gateway| (gateway.realm.as_str(), gateway.patience))
}

/// Over which server a user asks other realms: that where the user is, if it is one.
///
/// # Errors
/// UNAVAILABLE.
pub fn gateway(dm: &DataManagement, at: At) -> Result<LinkId, Fail> {
    let gateways = &dm.elsewhere.gateways;
    let any = || gateways.keys().next().copied();
    let link = gateways.contains_key(&at.0).then_some(at.0).or_else(any);
    link.ok_or_else(|| Fail::new(Code::Unavailable, "other realms are not reached from here now; retry later"))
}

/// The same, for what nobody waits for.
pub fn any_gateway(dm: &DataManagement) -> Option<LinkId> {
    dm.elsewhere.gateways.keys().next().copied()
}

fn is_own(dm: &DataManagement, realm: &str) -> bool {
    dm.elsewhere.gateways.values().any(|gateway| gateway.realm == realm)
}

/// A user of this realm by its full name is a local user.
pub fn at_home(dm: &DataManagement, subject: SubjectName) -> SubjectName {
    match &subject {
        SubjectName::Remote(full) => match full.rsplit_once("::") {
            Some((realm, user)) if is_own(dm, realm) => SubjectName::User(user.to_owned()),
            _ => subject,
        },
        SubjectName::User(_) | SubjectName::Everybody => subject,
    }
}

/// Whom a command is about; None: what is here, by the names that it has here.
///
/// # Errors
/// BADARGS.
pub fn aim(dm: &DataManagement, command: &[u8], data: Raw<'_>) -> Result<Option<Aim>, Fail> {
    let known = |list: &[&'static str]| list.iter().find(|name| name.as_bytes() == command).copied();
    let (first, rest) = data.split_field();
    let (realm, command, named, message) = if let Some(command) = known(ON_PATHS) {
        let Some((realm, path)) = args::path_elsewhere(first)? else { return Ok(None) };
        (realm, command, path.as_str().to_owned(), None)
    } else if let Some(command) = known(ON_MESSAGES) {
        let Some((realm, id)) = args::message_elsewhere(first)? else { return Ok(None) };
        (realm, command, hex::encode(&id), Some(id))
    } else if let Some(command) = known(ON_TWO_PATHS) {
        let to = rest.map(args::path_elsewhere).transpose()?.flatten();
        match (args::path_elsewhere(first)?, to) {
            (None, None) => return Ok(None),
            (Some((realm, from)), Some((other, to))) if realm == other => {
                (realm, command, format!("{}\n{}", from.as_str(), to.as_str()), None)
            }
            _ => return Err(Fail::bad_args("nothing is moved from one realm to another: copy it")),
        }
    } else {
        return Ok(None);
    };
    let mut all = Vec::with_capacity(named.len() + rest.map_or(0, |rest| rest.0.len()) + 2);
    raw::escape_into(&mut all, named.as_bytes());
    if let Some(rest) = rest.filter(|_| !ON_TWO_PATHS.contains(&command)) {
        all.extend_from_slice(raw::SEPARATOR);
        all.extend_from_slice(rest.0);
    }
    Ok(Some(match is_own(dm, &realm) {
        true => Aim::Here(all),
        false => Aim::There(There { realm, command, data: all, message }),
    }))
}

/// Asks the other realm, and passes its answer on.
pub fn pass_on(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    mut ask: Ask<'_>,
    mut there: There,
) -> Result<(), Fail> {
    // A last field that came apart goes back to where it was.
    match ask.blob.take() {
        Some(Body::Blob(blob)) => raw::escape_into(&mut there.data, &blob),
        Some(Body::Raw(raw)) => there.data.extend_from_slice(raw.0),
        None => {}
    }
    let caller = dm.users.get(ask.at).map(|user| user.caller.clone()).ok_or_else(super::changes::unknown)?;
    let Some(id) = there.message else {
        let later = ask.later;
        let link = gateway(dm, ask.at)?;
        return ask_realm(dm, ctx, link, &caller.name, &there, move |_, ctx, answer| ctx.answer_kept(&later, answer));
    };
    if there.command == "DELETEOFFLINEMESSAGE" {
        // Here it is gone at once; the other realm hears of it when it can.
        return super::operate::change(dm, ctx, ask, Vec::new(), move |db, caller, _, now| {
            abroad::delete(db, caller, &there.realm, &id, now)?;
            Ok(super::changes::Done { errand: Some(there.realm), ..Default::default() })
        });
    }
    let (at, later) = (ask.at, ask.later);
    let (realm, asks) = (there.realm.clone(), caller.clone());
    ctx.query(
        move |db| abroad::check(db, &asks, &realm, &id),
        move |dm, ctx, checked| {
            let link = match checked.and_then(|()| gateway(dm, at)) {
                Ok(link) => link,
                Err(fail) => return ctx.answer(&later, Err(fail)),
            };
            let (realm, account, refused) = (there.realm.clone(), caller.account, later.clone());
            let asked = ask_realm(dm, ctx, link, &caller.name, &there, move |_, ctx, answer| match answer {
                // It has no such message: nobody waits for it any longer.
                Err(fail) if fail.code == Code::NotFound => ctx.store(
                    move |db| abroad::lost(db, account, &realm, &id),
                    move |_, ctx, _| ctx.answer(&later, Err(fail)),
                ),
                answer => ctx.answer_kept(&later, answer),
            });
            if let Err(fail) = asked {
                ctx.answer(&refused, Err(fail));
            }
        },
    );
    Ok(())
}

/// BUSY: too much is under way there. Then `then` is not run.
fn ask_realm(
    dm: &mut DataManagement,
    ctx: &mut Ctx<DataManagement>,
    link: LinkId,
    user: &str,
    there: &There,
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Raw<'_>, Fail>) + Send + 'static,
) -> Result<(), Fail> {
    let weight = OVERHEAD + there.data.len() as u64 + session::asks_for(there.command.as_bytes(), Raw(&there.data));
    let all: u64 = dm.elsewhere.loads.values().sum();
    let load = dm.elsewhere.loads.get(&there.realm).copied().unwrap_or_default();
    if load.saturating_add(weight) > LOAD.0 || all.saturating_add(weight) > LOAD.1 {
        return Err(Fail::new(Code::Busy, "much is under way to other realms; retry later"));
    }
    dm.elsewhere.loads.insert(there.realm.clone(), load + weight);
    let realm = there.realm.clone();
    abroad(ctx, link, (&there.realm, user), there.command, &there.data, move |dm, ctx, answer| {
        if let Some(load) = dm.elsewhere.loads.get_mut(&realm) {
            *load = load.saturating_sub(weight);
            if *load == 0 {
                dm.elsewhere.loads.remove(&realm);
            }
        }
        then(dm, ctx, answer);
    });
    Ok(())
}

/// ABROAD: a command of a user here for another realm. `data` is escaped already.
pub fn abroad(
    ctx: &mut Ctx<DataManagement>,
    link: LinkId,
    (realm, user): (&str, &str),
    command: &str,
    data: &[u8],
    then: impl FnOnce(&mut DataManagement, &mut Ctx<DataManagement>, Result<Raw<'_>, Fail>) + Send + 'static,
) {
    let mut head = Vec::new();
    for field in [realm, user, command] {
        raw::escape_into(&mut head, field.as_bytes());
        head.extend_from_slice(raw::SEPARATOR);
    }
    ctx.request_parts(link, "ABROAD", &[&head, data], then);
}
