//! The last steps of a server that stops. Its clients are elsewhere by then, but what others have sent to them here may still be
//! on its way, and would fail: so each other server says when nothing of that is open any more.
//!
//! ```text
//! the server that stops                 each other server
//! all clients have moved away
//! stop ───────────────────────────────► its table says so too: the item waits for that
//!                                       waits until all that it has sent so far is acknowledged
//!      ◄─────────────────────── stopend
//! ends
//! ```

use std::collections::BTreeSet;

use super::mesh::control;
use super::mesh::links;
use super::Main;
use crate::engine::Ctx;
use crate::route::ServerNo;

/// How long others may take; milliseconds. As long as they try to reach a server.
const PATIENCE: u64 = 5_000;

/// Another server that stops, and what has to be acknowledged before.
#[derive(Debug)]
struct Stopping {
    server: ServerNo,
    /// Streams, with their numbers, and the last items.
    until: Vec<(ServerNo, u64, u64)>,
    /// Of the streams to others as well: an item that came too late there may be sent on to that server. Then once more.
    again: bool,
}

/// Both sides.
#[derive(Debug, Default)]
pub struct Leaving {
    /// Links of clients that have moved and read what is left: what they do not read goes after them.
    pub reading: usize,
    /// The servers that have not said that this one may end, and how long they are waited for. None: not asked so far.
    asked: Option<(BTreeSet<ServerNo>, u64)>,
    /// Others: each once.
    stopping: Vec<Stopping>,
}

/// Whether this server, whose clients have all moved away, may end.
pub fn may_end(main: &mut Main, ctx: &mut Ctx<Main>) -> bool {
    if main.leaving.reading > 0 {
        return false;
    }
    if let Some((asked, until)) = &main.leaving.asked {
        return asked.is_empty() || ctx.now() >= *until;
    }
    let others = main.mesh.numbers().filter(|server| *server != main.own && links::is_reached(main, ctx, *server));
    let others: BTreeSet<ServerNo> = others.collect();
    for server in &others {
        control::push(main, *server, &["stop"], b"");
    }
    let nobody = others.is_empty();
    main.leaving.asked = Some((others, ctx.now().saturating_add(PATIENCE)));
    nobody
}

/// That server has nothing here any more, or cannot be asked.
pub fn ended(main: &mut Main, server: ServerNo) {
    if let Some((asked, _)) = &mut main.leaving.asked {
        asked.remove(&server);
    }
}

/// Another server stops. By this server's table nobody is there any more, so what comes now goes elsewhere.
pub fn stops(main: &mut Main, server: ServerNo) {
    let open = |at: ServerNo| {
        let out = &main.mesh.get(at)?.out;
        (!out.is_idle()).then(|| (at, out.number(), out.last()))
    };
    let until = main.mesh.numbers().filter_map(open).collect();
    main.leaving.stopping.retain(|known| known.server != server);
    main.leaving.stopping.push(Stopping { server, until, again: true });
    look(main);
}

/// Something was acknowledged, or given up: servers that waited for it may end.
pub fn look(main: &mut Main) {
    let Main { leaving, mesh, .. } = main;
    let mut over = Vec::new();
    leaving.stopping.retain_mut(|one| {
        if !one.until.iter().all(|(server, stream, item)| mesh.is_done(*server, *stream, *item)) {
            return true;
        }
        let out = mesh.get(one.server).map(|entry| &entry.out).filter(|out| one.again && !out.is_idle());
        one.until = out.map(|out| (one.server, out.number(), out.last())).into_iter().collect();
        one.again = false;
        if one.until.is_empty() {
            over.push(one.server);
        }
        !one.until.is_empty()
    });
    for server in over {
        control::reply(main, server, &["stopend"]);
    }
}
