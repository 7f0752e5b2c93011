//! Items of a stream that are no messages: the steps of redirects and standbys between two servers, and kept messages.
//!
//! `kind|id|…` says what an item is; docs/protocol.md has the list.

use super::complain;
use super::Who;
use crate::engine::Ctx;
use crate::relay::Incoming;
use crate::relay::Outcome;
use crate::roles::main::fetch;
use crate::roles::main::handover;
use crate::roles::main::kept;
use crate::roles::main::leave;
use crate::roles::main::redirect;
use crate::roles::main::settle;
use crate::roles::main::standby;
use crate::roles::main::Main;
use crate::route::ServerNo;
use crate::wire::raw;
use crate::wire::Code;
use crate::wire::Fail;
use crate::wire::Raw;

/// Adds an item for `server`. `item` is escaped already. It is sent however full the stream is: there are few of these.
pub fn push(main: &mut Main, server: ServerNo, columns: &[&str], item: &[u8]) {
    let version = main.version;
    let mut what = Vec::new();
    raw::escape_into(&mut what, columns.join("|").as_bytes());
    if let Some(entry) = main.mesh.get_mut(server) {
        entry.out.push(version, &what, Who::Control, b"", item);
        main.mesh.touch(server);
    }
}

/// The same, for what is of no use if the other end has not even read what came before: without a bound, it could make this
/// server hold as many answers as it likes.
pub fn reply(main: &mut Main, server: ServerNo, columns: &[&str]) {
    if main.mesh.get(server).is_some_and(|entry| !entry.out.is_full()) {
        push(main, server, columns, b"");
    }
}

/// The same, for every server that is known.
pub fn push_all(main: &mut Main, columns: &[&str]) {
    let known = |server: &ServerNo| main.mesh.get(*server).is_some_and(|server| server.facts.boot != 0);
    for server in main.mesh.numbers().filter(known).filter(|server| *server != main.own).collect::<Vec<_>>() {
        push(main, server, columns, b"");
    }
}

/// Takes items of one kind from another server.
///
/// # Errors
/// BADARGS: there is no such kind. Nothing was taken then.
pub fn take<'a>(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    origin: ServerNo,
    what: &str,
    items: impl Iterator<Item = &'a [u8]>,
    inc: &mut Incoming,
) -> Result<(), Fail> {
    let columns: Vec<&str> = what.split('|').collect();
    for item in items {
        let result = match *columns {
            ["offer", id, user, account, left, secret, flags, receipt] => {
                let offer = handover::Offer { id, user, account, left, secret, flags, receipt };
                handover::offered(main, ctx, origin, &offer, item)
            }
            ["cancel", id] => handover::cancelled(main, ctx, origin, id),
            ["late", id, _, _] => handover::late(main, ctx, origin, id, item),
            ["done", id, how] => handover::done(main, ctx, origin, id, how),
            ["went", user, to] => redirect::went(main, origin, user, to),
            ["arrived", id] => redirect::arrived(main, ctx, origin, id),
            ["passed", id, user, from, below] => settle::passed(main, ctx, origin, [id, user, from, below]),
            ["since", id, user, version] => redirect::since(main, ctx, origin, id, user, version),
            ["left", id] => redirect::target_left(main, ctx, origin, id),
            ["fetch", user, account] => kept::asked(main, origin, user, account),
            ["kept", user, account] => fetch::kept(main, ctx, origin, user, account, item),
            ["keptend", _, account] => fetch::end(main, ctx, origin, account),
            ["attached", id] => standby::attached(main, ctx, origin, id),
            ["copy", id, number] => standby::copy(main, ctx, origin, id, number, item),
            ["copied", id, number] => standby::copied(main, origin, id, number),
            ["seen", id, number] => standby::seen(main, origin, id, number),
            ["ended", id] => standby::ended(main, ctx, origin, id),
            ["taken", id] => standby::taken(main, ctx, origin, id),
            ["stop"] => {
                leave::stops(main, origin);
                Ok(())
            }
            ["stopend"] => {
                leave::ended(main, origin);
                Ok(())
            }
            _ => Err(Fail::bad_args("there is no such kind of item")),
        };
        if let Err(fail) = &result {
            let what = what.escape_debug();
            match fail.code {
                // What else may be refused happens when two servers do not know the same at the same time.
                Code::BadArgs => complain(main, origin, format_args!("sends an item that is refused: {fail}: {what}")),
                _ => log::debug!("{}: {what}: {fail}", main.table.server_id(origin)),
            }
        }
        inc.take(result.err().map(|fail| Outcome::Fail(fail.code, fail.text.into_owned())));
    }
    Ok(())
}

/// An item of this server's has a result.
pub fn done(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    server: ServerNo,
    what: &[u8],
    item: &[u8],
    outcome: Option<Outcome>,
) {
    let what = Raw(what).text().unwrap_or_default().into_owned();
    let fail = match outcome {
        None => None,
        Some(Outcome::Fail(code, text)) => Some(Fail::new(code, text)),
        Some(Outcome::Moved { .. }) => Some(Fail::new(Code::Internal, "moved")),
    };
    let columns: Vec<&str> = what.split('|').collect();
    match *columns {
        ["offer", id, .., flags, _] => match flags.contains('s') {
            true => standby::offered(main, ctx, server, id, fail),
            false => redirect::offered(main, ctx, server, id, fail),
        },
        ["arrived", id] => handover::source_knows(main, ctx, server, id, fail),
        ["copy", id, number] => standby::sent(main, ctx, server, id, number, fail.as_ref()),
        // Nobody there who could be given it: it is kept for the user.
        ["late", _, user, account] if fail.is_some() => kept::come_back(main, ctx, user, account, item),
        ["kept", user, account] => kept::given(main, ctx, (user, account), item, fail),
        ["stop"] if fail.is_some() => leave::ended(main, server),
        ["fetch", _, account] => fetch::answered(main, ctx, server, account, fail),
        _ => {}
    }
}
