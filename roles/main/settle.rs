//! Sessions that have come from another server while management, or that server, could not say so: since which version of the table they
//! are here.

use super::management;
use super::marks;
use super::mesh::control;
use super::redirect;
use super::Main;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::route::ServerNo;
use crate::wire::name;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Sessions of a user of which the table has not said so far that they are here.
pub fn unsettled(main: &Main, links: &[LinkId]) -> Vec<LinkId> {
    let open = |link: &&LinkId| {
        let came = main.session_at(**link).and_then(|session| session.came.as_ref());
        came.is_some_and(|came| came.version == u64::MAX && !came.claimed)
    };
    links.iter().filter(open).copied().collect()
}

/// They are here since that version of the table.
pub fn since(main: &mut Main, links: &[LinkId], version: u64) {
    for link in links {
        let index = main.by_link.get(link).copied();
        let Some(Some(session)) = index.and_then(|index| main.sessions.get_mut(index)) else { continue };
        let user = session.user;
        let Some(came) = session.came.as_mut().filter(|came| came.version == u64::MAX) else { continue };
        came.version = version;
        let id = came.id.clone();
        log::debug!("{id}: settled with version {version}");
        tell(main, &id, version);
        let name = main.table.get(user).map(|user| user.name.to_string()).unwrap_or_default();
        marks::renew(main, &name);
    }
    if !links.is_empty() {
        let came = main.sessions.iter().flatten().filter_map(|session| session.came.as_ref());
        main.last_came = came.map(|came| came.version).max().unwrap_or_default();
    }
}

/// Tells the server that a session came from since which version it is here: so long, that one has sent everything on.
pub fn tell(main: &mut Main, id: &str, version: u64) {
    let Some(session) = main.session_of_move(id) else { return };
    let (user, from) = (session.user, session.came.as_ref().map(|came| came.from));
    let (Some(user), Some(from)) = (main.table.get(user), from) else { return };
    let name = user.name.to_string();
    control::push(main, from, &["since", id, &name, &version.to_string()], b"");
}

/// The table, of `version`, has all users.
pub fn all_told(main: &mut Main, version: u64) {
    let links: Vec<LinkId> = main.table.users_here().flat_map(|user| user.here.iter().copied()).collect();
    let links = unsettled(main, &links);
    since(main, &links, version);
}

/// Management does not believe that a user has so many sessions here: it has not heard from the server that they came from.
/// So it is asked for these one by one, in the name of that server. False: there are none of which it does not know that.
pub fn claim(main: &mut Main, ctx: &mut Ctx<Main>, name: &str) -> bool {
    let here = main.table.find(name).and_then(|user| main.table.get(user)).map(|user| user.here.to_vec());
    let links = unsettled(main, &here.unwrap_or_default());
    for link in &links {
        let index = main.by_link.get(link).copied();
        let Some(Some(session)) = index.and_then(|index| main.sessions.get_mut(index)) else { continue };
        let account = session.account;
        let Some(came) = session.came.as_mut() else { continue };
        came.claimed = true;
        let (id, from) = (came.id.clone(), main.table.server_id(came.from).to_owned());
        let receipt = main.receipts.where_from(account).to_owned();
        let Some(management) = main.management.link() else { return false };
        let fields = [name.as_bytes(), from.as_bytes(), id.as_bytes(), b"taken", receipt.as_bytes()];
        let (name, link) = (name.to_owned(), *link);
        ctx.request(management, "MOVE", &fields, move |main, ctx, answer| {
            match answer {
                // The line that says so comes before; but not to one that waits for its portion.
                Ok(_) => {
                    let version = main.version;
                    since(main, &[link], version);
                    management::presence(main, ctx, &name);
                }
                Err(fail) if fail.code == Code::Unavailable => unclaim(main, link),
                Err(fail) => {
                    log::warn!("management does not note that {name} is here: {fail}");
                    ctx.close(link, "management does not know of it");
                }
            }
        });
    }
    if !links.is_empty() {
        management::presence(main, ctx, name);
    }
    !links.is_empty()
}

/// Management was not asked after all.
fn unclaim(main: &mut Main, link: LinkId) {
    let index = main.by_link.get(&link).copied();
    let session = index.and_then(|index| main.sessions.get_mut(index)).and_then(Option::as_mut);
    if let Some(came) = session.and_then(|session| session.came.as_mut()) {
        came.claimed = false;
    }
}

/// A session goes on here, though the server that it came from may have messages of it that are on their way: nobody takes these any
/// more.
pub fn source_lost(main: &mut Main, ctx: &Ctx<Main>, id: &str, user: &str, from: ServerNo) {
    let known = main.session_of_move(id).and_then(|session| session.came.as_ref()).map(|came| came.version);
    let next = main.version.saturating_add(1);
    let below = known.map_or(next, |version| version.min(next));
    log::info!("{user} goes on here, and {} is not heard", main.table.server_id(from));
    main.moved.pass(user, from, below, ctx.now());
    let from = main.table.server_id(from).to_owned();
    control::push_all(main, &["passed", id, user, &from, &below.to_string()]);
}

/// A session of `user` goes on at `origin`, which has not heard the end of what it sent at `from`. What comes from there, and was accepted
/// under a table below that version, comes too late.
///
/// # Errors
/// DENIED: the user is not at the origin. NOTFOUND: there is no such server. BADARGS.
pub fn passed(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    origin: ServerNo,
    [id, user, from, below]: [&str; 4],
) -> Result<(), Fail> {
    name::check_user(user)?;
    let from = main.table.server_no(from).ok_or_else(|| Fail::new(Code::NotFound, "no such server"))?;
    let below = Raw(below.as_bytes()).number()?.min(main.version.saturating_add(1));
    let there = main.table.find(user).and_then(|user| main.table.get(user));
    if !there.is_some_and(|user| user.at.contains(&origin)) && !main.moved.had(user, origin) {
        return Err(Fail::new(Code::Denied, "not signed on there"));
    }
    main.moved.pass(user, from, below, ctx.now());
    if from == main.own {
        redirect::passed(main, ctx, origin, id);
    }
    Ok(())
}
