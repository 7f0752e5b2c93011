//! What is said: from links, from UDP and from other servers, to all others. It is dropped where it cannot go at once.

use std::ops::Range;

use super::mesh;
use super::Channel;
use super::Counts;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::engine::Request;
use crate::roles::main::signed_on;
use crate::roles::main::Main;
use crate::roles::main::CLIENTS;
use crate::voice::Order;
use crate::voice::DATA;
use crate::voice::DATA_SIGNED;
use crate::voice::PACKET;
use crate::wire::raw;
use crate::wire::Fail;

/// Media is not queued behind more than this on a link, in bytes.
pub const QUEUED: usize = 64 << 10;
/// What one session may say in a second, in datagrams.
const RATE: u32 = 200;
/// What is gathered of one channel in one event, in bytes; the rest is dropped.
const GATHERED: usize = 256 << 10;
/// Where a datagram's data begins, behind the uid.
const UID: usize = 8;
/// Where it says how long the Opus packet in it is, and what stands before that.
const HEAD: usize = 8;

pub const VOICE: Command<Main> =
    Command { name: "VOICE", ports: CLIENTS, args: "channel LF bytes", gate: signed_on, run: say };

/// From a session: one datagram's data. Not answered, as nothing of it is worth sending again.
fn say(main: &mut Main, ctx: &mut Ctx<Main>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [channel, data] = request.data().take()?;
    let now = ctx.now();
    let Some(seat) = main.voice.seats.get_mut(&request.link) else { return Ok(Answer::None) };
    if std::mem::replace(&mut seat.second, now / 1_000) != now / 1_000 {
        seat.said = 0;
    }
    seat.said = seat.said.saturating_add(1);
    if seat.said > RATE {
        main.voice.counts.fast += 1;
        return Ok(Answer::None);
    }
    let channel = channel.text()?;
    let number = channel.parse::<u64>().ok();
    let place = seat.places.iter().find(|(at, _, name)| Some(*at) == number || **name == *channel);
    let Some((channel, uid)) = place.map(|(channel, uid, _)| (*channel, *uid)) else { return Ok(Answer::None) };
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return Ok(Answer::None) };
    let most = if entry.signed { DATA_SIGNED } else { DATA };
    if data.unescaped_len() > most {
        return Err(Fail::bad_args(format!("a datagram of this channel has at most {most} bytes of data")));
    }
    let signed = entry.signed;
    let Some(place) = entry.here.get_mut(&uid).filter(|place| !place.udp) else { return Ok(Answer::None) };
    let mut packet = Vec::with_capacity(PACKET);
    packet.extend_from_slice(&uid.to_le_bytes());
    data.unescape_into(&mut packet);
    packet.resize(PACKET, 0);
    if signed {
        // Others tell by it what comes first. The tag stays zero: nobody but this server could check it.
        place.counter = place.counter.saturating_add(1).max(now.saturating_mul(1_000));
        let at = UID + DATA_SIGNED;
        if let Some(field) = packet.get_mut(at..at + 8) {
            field.copy_from_slice(&place.counter.to_le_bytes());
        }
    }
    to_links(entry, ctx, channel, &packet, &mut main.voice.counts);
    to_udp(entry, &packet);
    to_others(entry, &packet);
    touch(main, channel);
    Ok(Answer::None)
}

/// From members here by UDP: those among them have heard it already.
pub fn heard(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, packets: &[u8]) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    for packet in packets.chunks_exact(PACKET) {
        // One that has gone meanwhile is not heard.
        if uid(packet).is_some_and(|uid| entry.here.get(&uid).is_some_and(|place| place.udp)) {
            to_links(entry, ctx, channel, packet, &mut main.voice.counts);
            to_others(entry, packet);
        }
    }
    touch(main, channel);
}

/// From members at another server.
pub fn came(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    channel: u64,
    packets: &[u8],
    is_good: impl Fn(&Channel, u64) -> bool,
) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    for packet in packets.chunks_exact(PACKET) {
        if uid(packet).is_some_and(|uid| is_good(entry, uid)) {
            to_links(entry, ctx, channel, packet, &mut main.voice.counts);
            to_udp(entry, packet);
        } else {
            main.voice.counts.strangers += 1;
        }
    }
    touch(main, channel);
}

/// Whose datagram it is.
fn uid(packet: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*packet.first_chunk()?))
}

/// What of a datagram links get: without the padding, where it is told how long the rest is and nothing but padding follows.
fn said(packet: &[u8], signed: bool) -> &[u8] {
    let data = UID..UID + if signed { DATA_SIGNED } else { DATA };
    let data = packet.get(Range::clone(&data)).unwrap_or_default();
    let told = data.first_chunk().map_or(usize::MAX, |told| usize::from(u16::from_le_bytes(*told)));
    match data.split_at_checked(told.saturating_add(HEAD)) {
        Some((said, rest)) if rest.iter().all(|byte| *byte == 0) => said,
        _ => data,
    }
}

fn to_links(entry: &Channel, ctx: &mut Ctx<Main>, channel: u64, packet: &[u8], counts: &mut Counts) {
    let Some(uid) = uid(packet).filter(|_| !entry.links.is_empty()) else { return };
    let words = format!("VOICE {channel}|{uid}");
    let mut escaped = Vec::with_capacity(PACKET);
    raw::escape_into(&mut escaped, said(packet, entry.signed));
    for (link, own) in &entry.links {
        if *own != uid && !put(ctx, *link, &[words.as_bytes(), raw::SEPARATOR, &escaped]) {
            counts.late += 1;
        }
    }
}

/// Queues media where little waits before it. False: it was dropped.
pub fn put(ctx: &mut Ctx<Main>, link: LinkId, parts: &[&[u8]]) -> bool {
    ctx.queued_on(link) <= QUEUED && ctx.put_parts(link, parts).is_ok()
}

fn to_udp(entry: &mut Channel, packet: &[u8]) {
    if entry.udp > 0 && entry.play.len() < GATHERED {
        entry.play.extend_from_slice(packet);
    }
}

fn to_others(entry: &mut Channel, packet: &[u8]) {
    if !entry.elsewhere.is_empty() && entry.said.len() < GATHERED {
        entry.said.extend_from_slice(packet);
    }
}

fn touch(main: &mut Main, channel: u64) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    let idle = entry.play.is_empty() && entry.said.is_empty();
    if !idle && !std::mem::replace(&mut entry.dirty, true) {
        main.voice.dirty.push(channel);
    }
}

/// At the end of an event: what was gathered goes to UDP, and to other servers.
pub fn flush(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    entry.dirty = false;
    let (packets, said) = (std::mem::take(&mut entry.play), std::mem::take(&mut entry.said));
    if !packets.is_empty() {
        ctx.voice(Order::Play { channel, packets });
    }
    if !said.is_empty() {
        mesh::send(main, ctx, channel, &said);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_get_what_was_said_without_padding() {
        let mut packet = vec![0; PACKET];
        packet[8..10].copy_from_slice(&3u16.to_le_bytes());
        packet[16..19].copy_from_slice(b"abc");
        for signed in [false, true] {
            assert_eq!(said(&packet, signed), &packet[8..19]);
        }
        // Behind the data of a signed one are its counter and tag.
        packet[488] = 1;
        assert_eq!(said(&packet, true), &packet[8..19]);
        assert_eq!(said(&packet, false), &packet[8..], "what is not understood goes whole");
        packet[8..10].copy_from_slice(&473u16.to_le_bytes());
        assert_eq!(said(&packet, true), &packet[8..488]);
        packet[8..10].copy_from_slice(&472u16.to_le_bytes());
        assert_eq!(said(&packet, true), &packet[8..488]);
        packet[8..10].copy_from_slice(&u16::MAX.to_le_bytes());
        assert_eq!(said(&packet, true), &packet[8..488]);
        assert_eq!(said(&[], true), b"");
    }
}
