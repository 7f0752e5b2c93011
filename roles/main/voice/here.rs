//! Members that are here: their places, and the end of these.

use super::Channel;
use super::Member;
use super::Place;
use super::Seat;
use super::Why;
use crate::engine::Ctx;
use crate::engine::LinkId;
use crate::roles::main::Main;
use crate::route::ServerNo;
use crate::voice::Order;

/// Channels that one session can be in.
pub const CHANNELS: usize = 16;

/// What one packet of VOICEHERE or VOICEGONE has at least, in bytes, if another follows: half of what one may have.
pub const PIECE: usize = 512 << 10;

/// What management has granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant {
    pub channel: u64,
    pub uid: u64,
    pub join: u64,
    pub signed: bool,
}

/// A member is here from now on; one with its uid is replaced. `user`: its name, if it is known otherwise than from management's list. `link`:
/// its session, and what that calls the channel. One that comes by UDP is no member of the thread's channel before `Order::Join`.
pub fn place(
    main: &mut Main,
    ctx: &mut Ctx<Main>,
    grant: Grant,
    user: Option<&str>,
    link: Option<(LinkId, &str)>,
    udp: bool,
) {
    let Grant { channel, uid, join, signed } = grant;
    let own = main.own;
    let entry = main.voice.channels.entry(channel).or_default();
    entry.signed = signed;
    main.voice.unlisted |= !entry.listed;
    let session = link.map(|(link, _)| link);
    let old = entry.take_place(uid);
    entry.put_place(uid, Place { join, link: session, udp, counter: 0 });
    if let Some(old) = old {
        if old.udp {
            ctx.voice(Order::Leave { channel, uid });
        }
        if let Some(link) = old.link {
            leave_seat(main, link, channel);
            if old.link != session {
                tell_ended(main, ctx, link, channel, Why::Elsewhere);
            }
        }
    }
    if let Some((link, name)) = link {
        let seat = main.voice.seats.entry(link).or_default();
        seat.places.push((channel, uid, Box::from(name)));
    }
    let told = main.voice.channels.get(&channel).and_then(|entry| entry.members.get(&uid));
    let user = user.or(told.map(|member| &*member.user)).unwrap_or_default();
    let member = Member { server: own, join, user: Box::from(user) };
    came(main, ctx, channel, uid, member);
    refresh(main, ctx, channel);
}

fn leave_seat(main: &mut Main, link: LinkId, channel: u64) {
    if let Some(seat) = main.voice.seats.get_mut(&link) {
        seat.places.retain(|(at, ..)| *at != channel);
    }
}

/// A seat of which nothing is left goes.
pub fn drop_seat(main: &mut Main, link: LinkId) {
    let idle = |seat: &Seat| seat.places.is_empty() && seat.joining == 0 && seat.leaving == 0;
    if main.voice.seats.get(&link).is_some_and(idle) {
        main.voice.seats.remove(&link);
    }
}

/// A session hears that it is a member no more.
fn tell_ended(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, channel: u64, why: Why) {
    match main.voice.seats.get_mut(&link) {
        Some(seat) if seat.joining > 0 => seat.ended.push((channel, why)),
        Some(seat) if seat.leaving > 0 && why == Why::Left => {}
        // Whose queue is full is told no more than others.
        Some(_) | None => push_ended(ctx, link, channel, why),
    }
}

fn push_ended(ctx: &mut Ctx<Main>, link: LinkId, channel: u64, why: Why) {
    let _ = ctx.push(link, "VOICEENDED", &[channel.to_string().as_bytes(), why.word().as_bytes()]);
}

/// One of a session's joins is answered; by `joined` it is in that channel.
pub fn join_answered(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId, joined: Option<u64>) {
    let Some(seat) = main.voice.seats.get_mut(&link) else { return };
    seat.joining = seat.joining.saturating_sub(1);
    seat.ended.retain(|(channel, _)| Some(*channel) != joined);
    if seat.joining > 0 {
        return;
    }
    let ended = std::mem::take(&mut seat.ended);
    drop_seat(main, link);
    for (channel, why) in ended {
        push_ended(ctx, link, channel, why);
    }
}

/// Somebody is in the channel, by management's word or the place that it has here: sessions here hear of it, unless they know.
pub fn came(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, uid: u64, member: Member) {
    let own = main.own;
    let entry = main.voice.channels.entry(channel).or_default();
    let user = member.user.clone();
    if entry.put_member(own, uid, member) {
        let words = format!("VOICECAME {channel}|{uid}|");
        let mut name = Vec::new();
        crate::wire::raw::escape_into(&mut name, user.as_bytes());
        tell(entry, ctx, uid, &[words.as_bytes(), &name]);
    }
}

/// Somebody is in the channel no more.
pub fn left(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, uid: u64, join: u64) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    if entry.members.get(&uid).is_some_and(|member| member.join == join) {
        entry.take_member(uid);
        tell(entry, ctx, uid, &[format!("VOICELEFT {channel}|{uid}").as_bytes()]);
    }
}

/// Tells all sessions that have a place in the channel, but for that of the one it is about.
fn tell(entry: &Channel, ctx: &mut Ctx<Main>, about: u64, parts: &[&[u8]]) {
    for (_, place) in entry.here.iter().filter(|(uid, _)| **uid != about) {
        if let Some(link) = place.link {
            // Who misses it can ask for the list.
            let _ = ctx.put_parts(link, parts);
        }
    }
}

/// The place of that uid here is no more; `why`: what its session is told.
pub fn end(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, uid: u64, why: Option<Why>) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    let Some(place) = entry.take_place(uid) else { return };
    if place.udp {
        ctx.voice(Order::Leave { channel, uid });
    }
    if let Some(link) = place.link {
        leave_seat(main, link, channel);
        if let Some(why) = why {
            tell_ended(main, ctx, link, channel, why);
        }
        drop_seat(main, link);
    }
    refresh(main, ctx, channel);
}

/// A member that is here has gone by itself: management is told.
pub fn gone(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64, uid: u64, why: Option<Why>) {
    let place = main.voice.channels.get(&channel).and_then(|entry| entry.here.get(&uid));
    let Some(join) = place.map(|place| place.join) else { return };
    main.voice.gone.push(format!("{channel}|{uid}|{join}"));
    end(main, ctx, channel, uid, why);
    left(main, ctx, channel, uid, join);
    refresh(main, ctx, channel);
}

/// The session on this link is over.
pub fn session_over(main: &mut Main, ctx: &mut Ctx<Main>, link: LinkId) {
    let Some(seat) = main.voice.seats.remove(&link) else { return };
    for (channel, uid, _) in seat.places {
        gone(main, ctx, channel, uid, None);
    }
}

/// Tells management who has gone, as far as its link has room; the rest later. What it is not told while it is away it sees by VOICEHERE.
pub fn tell_gone(main: &mut Main, ctx: &mut Ctx<Main>) {
    let Some(link) = main.management.link() else { return main.voice.gone.clear() };
    while !main.voice.gone.is_empty() {
        let (mut count, mut lines) = (0, String::new());
        for line in &main.voice.gone {
            if lines.len() >= PIECE {
                break;
            }
            lines.extend([if count == 0 { "" } else { "\n" }, line]);
            count += 1;
        }
        if ctx.push(link, "VOICEGONE", &[lines.as_bytes()]).is_err() {
            return;
        }
        main.voice.gone.drain(..count);
    }
}

/// What depends on who is there is kept up with each change: channels are large.
impl Channel {
    /// `own`: this server. Whether it is new.
    fn put_member(&mut self, own: ServerNo, uid: u64, member: Member) -> bool {
        let server = member.server;
        let old = self.take_member(uid);
        self.members.insert(uid, member);
        if server != own {
            *self.elsewhere.entry(server).or_default() += 1;
        }
        !old
    }

    /// Whether it was there.
    fn take_member(&mut self, uid: u64) -> bool {
        let Some(member) = self.members.remove(&uid) else { return false };
        if let Some(count) = self.elsewhere.get_mut(&member.server) {
            *count -= 1;
            if *count == 0 {
                self.elsewhere.remove(&member.server);
            }
        }
        true
    }

    fn put_place(&mut self, uid: u64, place: Place) {
        match place.link.filter(|_| !place.udp) {
            Some(link) => {
                let at = self.links.partition_point(|known| *known < (link, uid));
                self.links.insert(at, (link, uid));
            }
            None => self.udp += 1,
        }
        self.here.insert(uid, place);
    }

    fn take_place(&mut self, uid: u64) -> Option<Place> {
        let place = self.here.remove(&uid)?;
        match place.link.filter(|_| !place.udp) {
            Some(link) => {
                if let Ok(at) = self.links.binary_search(&(link, uid)) {
                    self.links.remove(at);
                }
            }
            None => self.udp = self.udp.saturating_sub(1),
        }
        Some(place)
    }
}

/// Somebody has come or gone: whether what UDP members say is wanted here.
pub fn refresh(main: &mut Main, ctx: &mut Ctx<Main>, channel: u64) {
    let Some(entry) = main.voice.channels.get_mut(&channel) else { return };
    let on = entry.udp > 0 && !(entry.links.is_empty() && entry.elsewhere.is_empty());
    if std::mem::replace(&mut entry.listening, on) != on {
        ctx.voice(Order::Listen { channel, on });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Table;

    #[test]
    fn what_depends_on_who_is_there_is_kept_up() {
        let mut table = Table::<u8>::default();
        let [own, other, third] = ["a", "b", "c"].map(|id| table.server(id).unwrap());
        let member = |server, join| Member { server, join, user: "somebody".into() };
        let mut channel = Channel::default();
        for (uid, server) in [(1, own), (2, other), (3, other), (4, third)] {
            assert!(channel.put_member(own, uid, member(server, uid)));
        }
        assert_eq!(channel.elsewhere, [(other, 2), (third, 1)].into());
        assert!(!channel.put_member(own, 2, member(third, 5)), "it has moved");
        assert_eq!(channel.elsewhere, [(other, 1), (third, 2)].into());
        assert!(channel.take_member(3) && !channel.take_member(3));
        assert!(!channel.put_member(own, 4, member(own, 6)));
        assert_eq!(channel.elsewhere, [(third, 1)].into());
        channel.put_place(3, Place { join: 1, link: None, udp: true, counter: 0 });
        assert_eq!(channel.udp, 1);
        assert!(channel.take_place(3).is_some() && channel.take_place(3).is_none());
        assert_eq!(channel.udp, 0);
    }
}
