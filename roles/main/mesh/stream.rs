//! What streams between main servers and those between realms have in common: how they are written to a link, and read from a packet.

use rand::Rng;

use super::Who;
use crate::engine::tag;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::relay::packet::Items;
use crate::relay::Batch;
use crate::relay::Incoming;
use crate::relay::Outgoing;
use crate::relay::Relay;
use crate::relay::Relayed;
use crate::relay::HOPS;
use crate::relay::ITEMS;
use crate::roles::main::Main;
use crate::wire::raw;
use crate::wire::Fail;

/// Both streams to another server, and what is to be said of them.
pub struct Ends<'a> {
    /// What this server sends there.
    pub out: &'a mut Outgoing<Who>,
    /// What comes from there.
    pub inc: &'a mut Incoming,
    /// The stream it sends on is of another start of this server: it is told so.
    pub unknown: Option<u64>,
    /// The first packet that is not acknowledged is sent once more, to hear how far the other end has come.
    pub ask: bool,
    /// The other end.
    pub dest: &'a str,
    /// Its start.
    pub dest_boot: u64,
    /// This end.
    pub own: &'a str,
    /// Its start.
    pub own_boot: u64,
    /// For the tags of packets that others pass on; None: they go straight there.
    pub key: Option<[u8; 32]>,
}

/// Sends what is new, and reports what was taken. False: the report waits for what is on its way, and is to be looked at again when the next event
/// is over.
pub fn flush(ctx: &mut Ctx<Main>, link: LinkId, ends: Ends<'_>) -> bool {
    let Ends { out, inc, unknown, ask, dest, dest_boot, own, own_boot, key } = ends;
    let waits = inc.waits(ctx.now(), ctx.is_cut(link));
    let report = if waits { None } else { inc.report(HOPS, dest, own, own_boot) };
    let unknown = unknown.map(|stream| Relayed {
        ttl: HOPS,
        dest: dest.to_owned(),
        from: own.to_owned(),
        boot: own_boot,
        stream,
        upto: 0,
        unknown: true,
        gap: false,
    });
    let mut told = true;
    for (head, results) in report.into_iter().chain(unknown.map(|head| (head, Vec::new()))) {
        let (mut bytes, mut lines, mut body) = (Vec::new(), String::new(), Vec::new());
        head.put(&mut bytes);
        for (number, outcome) in results {
            crate::relay::packet::put_result(&mut lines, *number, outcome);
        }
        raw::escape_into(&mut body, lines.as_bytes());
        told &= write(ctx, link, "RELAYED", &bytes, &body, &[], key.as_ref());
    }
    if !told {
        inc.report_again();
    }
    let (number, acked) = (out.number(), out.acked());
    let now = ctx.now();
    let mut send = |batch: &Batch<Who>| {
        let head = Relay {
            ttl: HOPS,
            dest: dest.to_owned(),
            boot: dest_boot,
            origin: own.to_owned(),
            stream: number,
            first: batch.first,
            acked,
            version: batch.version,
        };
        let mut bytes = Vec::with_capacity(160);
        head.put(&mut bytes);
        write(ctx, link, "RELAY", &bytes, &batch.what, &batch.items, key.as_ref())
    };
    if let Some(first) = out.first_sent().filter(|_| ask) {
        send(first);
    }
    out.send(now, send);
    !waits
}

/// Queues a packet; the tag covers all behind the hops. False: there is no room.
fn write(
    ctx: &mut Ctx<Main>,
    link: LinkId,
    kind: &str,
    head: &[u8],
    what: &[u8],
    items: &[u8],
    key: Option<&[u8; 32]>,
) -> bool {
    let relay = kind == "RELAY";
    let tag = key.map(|key| {
        let mut salt = [0; tag::SALT];
        ctx.rng().fill_bytes(&mut salt);
        let covered = head.iter().position(|byte| *byte == b'|').map_or(head, |bar| &head[bar + 1..]);
        match relay {
            true => tag::make(key, &salt, &[kind.as_bytes(), covered, raw::SEPARATOR, what, raw::SEPARATOR], items),
            false => tag::make(key, &salt, &[kind.as_bytes(), covered, raw::SEPARATOR], what),
        }
    });
    let tag = tag.unwrap_or_default();
    let end: [&[u8]; 2] = if relay { [raw::SEPARATOR, items] } else { [b"", b""] };
    ctx.put_parts(link, &[kind.as_bytes(), b" ", head, b"|", tag.as_bytes(), raw::SEPARATOR, what, end[0], end[1]])
        .is_ok()
}

/// How many items there are. All of a packet is looked at before any of it is taken.
///
/// # Errors
/// BADARGS: they are no items, or too many.
pub fn count(items: &[u8]) -> Result<u64, Fail> {
    let mut count = 0;
    for item in Items(items) {
        item?;
        count += 1;
        if count > ITEMS as u64 {
            return Err(Fail::bad_args("too many items in one packet"));
        }
    }
    Ok(count)
}
