//! The directory of realms, at a management server (63747): this realm tells it of itself, and asks it for the keys of others.

use std::collections::BTreeMap;

use rand::RngExt;

use super::links;
use crate::config::PortKey;
use crate::engine::ctx::Fingerprint;
use crate::engine::handshake;
use crate::engine::identity::PublicKey;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Target;
use crate::roles::main::management;
use crate::roles::main::Main;
use crate::roles::main::Peer;
use crate::wire::hex;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// How long to wait before the next try, at first and at most; milliseconds.
const BACK_OFF: (u64, u64) = (100, 10_000);
/// A realm is asked about at most so often, one that is known here and one that is not; milliseconds.
const AGAIN: (u64, u64) = (60_000, 5_000);
/// Realms that were asked about in that time, at most: anybody may claim to be one.
const ASKED: usize = 1_000;
/// Who waits for one answer, at most.
const WAITING: usize = 1_000;
/// How often what changes by itself is told; milliseconds.
const TELL: u64 = 10_000;

/// Where the directory is.
#[derive(Clone, Debug)]
pub struct Where {
    /// Where its ports are asked for (GETPORTS) before every connection, as they may move. None: `management` says it.
    pub public: Option<Target>,
    /// Its port 63747. With `public`, only the host counts.
    pub management: Target,
}

/// What a link is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// GETPORTS.
    Ports,
    /// 63747.
    Ask,
}

type Then = Box<dyn FnOnce(&mut Main, &mut Ctx<Main>, Result<(), Fail>) + Send>;

/// A realm that the directory was asked about.
struct Asked {
    at: u64,
    /// Who waits for the answer; None: it has come.
    waiting: Option<Vec<Then>>,
}

/// What is known of the directory.
pub struct Directory {
    target: Option<Where>,
    link: Option<LinkId>,
    tries: u32,
    /// What it was told last, and when.
    told: (Vec<String>, u64),
    asked: BTreeMap<String, Asked>,
}

impl Directory {
    /// Not connected. None: there is no directory.
    pub fn new(target: Option<Where>) -> Directory {
        Directory { target, link: None, tries: 0, told: (Vec::new(), 0), asked: BTreeMap::new() }
    }
}

/// Opens the link, if there is a directory.
pub fn connect(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(target) = main.realm.as_ref().and_then(|realm| realm.directory.target.clone()) else { return };
    if ctx.is_stopping() {
        return;
    }
    match target {
        Where { public: Some(public), .. } => {
            ctx.connect(PortKey::PublicManagement, public, Peer::Directory(Step::Ports))
        }
        Where { management, .. } => ctx.connect(PortKey::RealmManagement, management, Peer::Directory(Step::Ask)),
    };
}

/// A link is open.
pub fn opened(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, step: Step) {
    match step {
        Step::Ports => ask_ports(ctx, link),
        Step::Ask => {
            // Of a management that this realm did not join, the certificate was checked.
            let expected = main.members.management_key;
            handshake::open(main, ctx, link, "the directory of realms", expected);
        }
    }
}

fn ask_ports(ctx: &mut Ctx<Main>, link: LinkId) {
    ctx.request(link, "GETPORTS", &[], move |main, ctx, answer| {
        let text = answer.and_then(|data| Ok(data.text()?.into_owned())).unwrap_or_default();
        let name = PortKey::RealmManagement.name();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('|'));
        let Some(port) = line.and_then(|port| port.parse::<u16>().ok()) else {
            return ctx.close(link, "management does not tell its port for realms: is it of this version?");
        };
        let target = main.realm.as_mut().and_then(|realm| realm.directory.target.as_mut());
        let Some(Where { management: Target::Net(address, verify), .. }) = target else { return };
        let host = address.rsplit_once(':').map_or(address.as_str(), |(host, _)| host);
        *address = format!("{host}:{port}");
        let target = Target::Net(address.clone(), *verify);
        if let Some(peer) = ctx.peer(link) {
            *peer = Peer::Stranger;
        }
        ctx.close(link, "done");
        ctx.connect(PortKey::RealmManagement, target, Peer::Directory(Step::Ask));
    });
}

/// The handshake is done.
pub fn proven(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    let Some(realm) = &mut main.realm else { return };
    let directory = &mut realm.directory;
    (directory.link, directory.tries, directory.told) = (Some(link), 0, (Vec::new(), 0));
    tell(main, ctx);
}

/// The handshake has failed.
pub fn refused(main: &Main, why: &Fail) {
    if why.code == Code::Denied {
        log::error!(
            "the directory of realms does not know this realm. On its management: convergia admin add-server {} realm {}",
            main.settings.server_id,
            main.settings.key.public()
        );
    }
}

/// A link is gone, or could not be made: it is tried again, later and later.
pub fn closed(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, _: Step, why: &str) {
    let Some(realm) = &mut main.realm else { return };
    let directory = &mut realm.directory;
    if directory.link == Some(link) {
        directory.link = None;
        log::warn!("the directory of realms is not reachable: {why}");
    }
    if ctx.is_stopping() {
        return;
    }
    log::debug!("the directory of realms is not reachable: {why}");
    directory.tries = directory.tries.saturating_add(1);
    let (first, most) = BACK_OFF;
    let wait = first.saturating_mul(1 << directory.tries.min(16)).min(most);
    let wait = wait / 2 + ctx.rng().random_range(0..=wait / 2);
    ctx.after(wait, connect);
}

/// Tells the directory what it does not know yet of this realm.
fn tell(main: &mut Main, ctx: &mut Ctx<Main>) {
    let print = hex::encode(&main.settings.fingerprint);
    let Some(realm) = &mut main.realm else { return };
    let Some(link) = realm.directory.link else { return };
    let settings = &realm.settings;
    let local = realm.directory.target.as_ref().is_some_and(|target| target.public.is_none());
    if local && settings.address.starts_with(':') {
        if realm.directory.told.0.is_empty() {
            realm.directory.told.0.push(String::new());
            log::warn!(
                "this realm listens on all addresses of its host, so it has no name for other realms: set advertise.realm to \
                 HOST:PORT as they reach it"
            );
        }
        return;
    }
    let (users, cap) = (realm.users.to_string(), settings.user_cap.unwrap_or(0).to_string());
    let (quota, registration) = (settings.quota.to_string(), settings.registration.name());
    let fields: Vec<String> =
        [&settings.address, &settings.name, &settings.description, registration, &users, &cap, &quota, &print]
            .map(str::to_owned)
            .to_vec();
    let (told, at) = &realm.directory.told;
    if *told == fields || (!told.is_empty() && ctx.now() < at.saturating_add(TELL)) {
        return;
    }
    let bytes: Vec<&[u8]> = fields.iter().map(String::as_bytes).collect();
    ctx.request(link, "REALM", &bytes, move |main, ctx, answer| {
        let own = match answer.and_then(|id| Ok(id.text()?.into_owned())) {
            Ok(own) => own,
            Err(fail) if fail.code == Code::Unavailable => return,
            Err(fail) => {
                log::error!("this realm is not taken into the directory: {fail}");
                return ctx.close(link, "refused");
            }
        };
        let Some(realm) = &mut main.realm else { return };
        // It listens on all addresses of its host, and the directory says by which one it is known.
        if realm.settings.address.starts_with(':') && name::check_realm(&own).is_ok() {
            realm.settings.address.clone_from(&own);
            management::introduce(main, ctx);
        }
        log::debug!("the directory knows this realm as {own}");
    });
    realm.directory.told = (fields, ctx.now());
}

/// Once a second.
pub fn tick(main: &mut Main, ctx: &mut Ctx<Main>) {
    tell(main, ctx);
    let Some(realm) = &mut main.realm else { return };
    let now = ctx.now();
    realm.directory.asked.retain(|_, asked| asked.waiting.is_some() || now < asked.at.saturating_add(AGAIN.0));
}

/// Something does not fit the key or the certificate by which a realm is known here, or it is not known: the directory is asked, so that the next
/// try works.
pub fn doubt(main: &mut Main, ctx: &mut Ctx<Main>, realm: &str) {
    if name::check_realm(realm).is_ok() && realm != links::own(main) {
        find(main, ctx, realm, |_, _, _| {});
    }
}

/// Asks for the key of a realm. What is answered is known to [`links`] before `then` runs.
pub fn find(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    realm: &str,
    then: impl FnOnce(&mut Main, &mut Ctx<Main>, Result<(), Fail>) + Send + 'static,
) {
    let known = links::find(main, realm).is_some();
    let again = if known { AGAIN.0 } else { AGAIN.1 };
    let refuse = |ctx: &mut Ctx<Main>, then: Then, fail| ctx.after(0, move |main, ctx| then(main, ctx, Err(fail)));
    let then: Then = Box::new(then);
    let Some(directory) = main.realm.as_mut().map(|realm| &mut realm.directory) else { return };
    let now = ctx.now();
    let away = || Fail::new(Code::Unavailable, "the directory of realms is not reachable; retry later");
    if directory.target.is_none() {
        return refuse(ctx, then, Fail::new(Code::NotFound, "this realm knows no other realms"));
    }
    let full = directory.asked.len() >= ASKED;
    match directory.asked.get_mut(realm) {
        Some(Asked { waiting: Some(waiting), .. }) if waiting.len() < WAITING => return waiting.push(then),
        Some(Asked { waiting: Some(_), .. }) => {
            return refuse(ctx, then, Fail::new(Code::Busy, "too many wait for that realm; retry later"));
        }
        Some(Asked { at, .. }) if now < at.saturating_add(again) => {
            let none = || Fail::new(Code::NotFound, "no such realm is in the directory");
            let result = if known { Ok(()) } else { Err(none()) };
            return ctx.after(0, move |main, ctx| then(main, ctx, result));
        }
        Some(_) => {}
        None if full => {
            return refuse(ctx, then, Fail::new(Code::Busy, "too many realms are being looked up; retry later"));
        }
        None => {}
    }
    let Some(link) = directory.link else { return refuse(ctx, then, away()) };
    directory.asked.insert(realm.to_owned(), Asked { at: now, waiting: Some(vec![then]) });
    let id = realm.to_owned();
    ctx.request(link, "FINDREALM", &[realm.as_bytes()], move |main, ctx, answer| {
        let found = answer.and_then(|data| parse(data));
        let result = match found {
            Ok((key, print)) => links::learn(main, ctx, &id, key, print),
            Err(fail) => Err(fail),
        };
        let Some(directory) = main.realm.as_mut().map(|realm| &mut realm.directory) else { return };
        let waiting = match &result {
            // It did not answer: it may be asked again.
            Err(fail) if fail.code != Code::NotFound => directory.asked.remove(&id).and_then(|asked| asked.waiting),
            _ => directory.asked.get_mut(&id).and_then(|asked| asked.waiting.take()),
        };
        for then in waiting.unwrap_or_default() {
            then(main, ctx, result.clone());
        }
    });
}

fn parse(data: Raw<'_>) -> Result<(PublicKey, Fingerprint), Fail> {
    let [key, print] = data.take()?;
    let key = PublicKey::parse(&key.text()?).ok_or_else(|| Fail::bad_args("a public key is 32 bytes in Base64"))?;
    let print = hex::decode_32(&print.text()?);
    Ok((key, print.ok_or_else(|| Fail::bad_args("a fingerprint is 64 hexadecimal digits"))?))
}
