//! The thread itself: sockets and orders in, datagrams and events out.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::Arc;
use std::sync::PoisonError;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

use rand::rngs::StdRng;
use rand::Rng;
use rand::SeedableRng;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::event::Timespec;
use rustix::net::SocketAddrAny;

use super::calls;
use super::calls::Came;
use super::calls::Receiver;
use super::ports::Ports;
use super::Inbox;
use crate::engine::clock;
use crate::voice::channel::Channel;
use crate::voice::channel::Reason;
use crate::voice::channel::Verdict;
use crate::voice::packet;
use crate::voice::packet::Operation;
use crate::voice::packet::Signer;
use crate::voice::Event;
use crate::voice::Order;
use crate::voice::PACKET;

/// Sockets looked at before orders get their turn.
const SOCKETS: usize = 64;
/// The epoll datum of the eventfd.
const WAKE: u64 = u64::MAX;
/// Members of all channels together.
const MEMBERS: usize = 65_536;
/// What was heard is told at the latest when it is so much, in bytes.
const HEARD: usize = 128 << 10;
/// Datagrams that orders may send before sockets get their turn.
const SENT: usize = 4_096;
/// What others said is not played any more when it has waited for so long. Milliseconds.
const LATE: u64 = 1_000;
/// Signatures made within a second: one takes some 20 µs.
const SIGNED: u32 = 10_000;
/// How often silence is looked for, and how often counters are told. Milliseconds.
const TICK: u64 = 1_000;
const REPORT: u64 = 60_000;

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counters {
    received: u64,
    sent: u64,
    /// Of those to be sent, or to be played, because there was no room or no time.
    lost: u64,
    dropped: [u64; Reason::ALL.len()],
}

/// A channel that has a socket.
struct Port {
    socket: UdpSocket,
    number: u16,
    id: u64,
    channel: Channel<SocketAddrAny>,
    listen: bool,
    heard: Vec<u8>,
}

struct Thread {
    inbox: Arc<Inbox>,
    ports: Ports,
    everywhere: bool,
    signer: Signer,
    tell: Box<dyn Fn(Vec<Event>) + Send>,
    epoll: OwnedFd,
    slots: Vec<Option<Port>>,
    /// Where in `slots` a channel is.
    found: HashMap<u64, usize>,
    orders: VecDeque<(u64, Order)>,
    /// Addresses that a packet goes to besides those that lie ready.
    more: Vec<SocketAddrAny>,
    events: Vec<Event>,
    /// Slots in which something was heard, and how much in all.
    heard: Vec<usize>,
    heard_bytes: usize,
    rng: StdRng,
    /// The counter of the last packet of the server.
    told: u64,
    /// A second, and how often was signed in it.
    signed: (u64, u32),
    counters: Counters,
    reported: Counters,
    next_tick: u64,
    next_report: u64,
}

/// Starts the thread. `tell` brings events to the role.
pub fn start(
    inbox: Arc<Inbox>,
    ports: Ports,
    everywhere: bool,
    signer: Signer,
    tell: Box<dyn Fn(Vec<Event>) + Send>,
) -> io::Result<()> {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &inbox.wake, EventData::new_u64(WAKE), EventFlags::IN | EventFlags::ET)?;
    let mut seed = [0; 32];
    rand::rand_core::TryRng::try_fill_bytes(&mut rand::rngs::SysRng, &mut seed).map_err(io::Error::other)?;
    let mut thread = Thread {
        inbox,
        ports,
        everywhere,
        signer,
        tell,
        epoll,
        slots: Vec::new(),
        found: HashMap::new(),
        orders: VecDeque::new(),
        more: Vec::new(),
        events: Vec::new(),
        heard: Vec::new(),
        heard_bytes: 0,
        rng: StdRng::from_seed(seed),
        told: 0,
        signed: (0, 0),
        counters: Counters::default(),
        reported: Counters::default(),
        next_tick: 0,
        next_report: 0,
    };
    std::thread::Builder::new().name("voice".to_owned()).spawn(move || thread.run(&mut Receiver::new()))?;
    Ok(())
}

impl Thread {
    fn run(&mut self, receiver: &mut Receiver) {
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(SOCKETS);
        while !self.inbox.ended.load(Ordering::Acquire) {
            let wait = match (self.orders.is_empty(), self.found.is_empty()) {
                (false, _) => Some(0),
                (true, false) => Some(self.next_tick.saturating_sub(clock::now()).clamp(1, TICK)),
                (true, true) => None,
            };
            let wait =
                wait.map(|wait| Timespec { tv_sec: (wait / 1_000) as i64, tv_nsec: (wait % 1_000) as i64 * 1_000_000 });
            ready.clear();
            // Interrupted: there are no events, and everything is looked at again.
            let _ = epoll::wait(&self.epoll, spare_capacity(&mut ready), wait.as_ref());
            let now = clock::now();
            for event in &ready {
                if event.data.u64() != WAKE {
                    self.receive(now, event.data.u64() as usize, receiver);
                }
            }
            self.carry_out(now);
            if now >= self.next_tick {
                self.next_tick = now + TICK;
                self.tick(now);
            }
            self.tell();
        }
    }

    /// Takes what has come on a socket, up to a batch, and passes it on.
    fn receive(&mut self, now: u64, slot: usize, receiver: &mut Receiver) {
        let Some(port) = self.slots.get(slot).and_then(Option::as_ref) else { return };
        let (id, came) = (port.id, receiver.receive(&port.socket));
        // A member is told that it has joined when the order is given, and may send at once: orders that are older than these packets come first.
        self.carry_out(now);
        let Thread { slots, more, heard, heard_bytes, rng, counters, .. } = self;
        let port = slots.get_mut(slot).and_then(Option::as_mut).filter(|port| port.id == id);
        let Some(port) = port else { return };
        let mut answers = Vec::new();
        for at in 0..came {
            let Some((from, came)) = receiver.get(at) else { break };
            counters.received += 1;
            let verdict = match came {
                Came::Packet(packet) => port.channel.received(now, from, packet, || rng.next_u32()),
                Came::Other => Verdict::Drop(Reason::NoPacket),
            };
            match (verdict, came) {
                (Verdict::Drop(reason), _) => counters.dropped[reason as usize] += 1,
                (Verdict::Good { uid, forward, acknowledge, challenge }, came) => {
                    if let (true, Came::Packet(packet)) = (forward, came) {
                        fan_out(port, uid, packet, more, counters);
                        if port.listen {
                            if port.heard.is_empty() {
                                heard.push(slot);
                            }
                            port.heard.extend_from_slice(packet);
                            *heard_bytes += PACKET;
                        }
                    }
                    let of = |operation: Operation| move |ackid| (operation, uid, ackid, SocketAddrAny::from(from));
                    answers.extend(acknowledge.map(of(Operation::Acknowledge)));
                    answers.extend(challenge.map(of(Operation::Keepalive)));
                }
            }
        }
        for (operation, uid, ackid, to) in answers {
            self.say(now, slot, operation, uid, ackid, &[to]);
        }
        if self.heard_bytes >= HEARD {
            self.tell();
        }
    }

    /// Sends a packet of the server.
    fn say(&mut self, now: u64, slot: usize, operation: Operation, uid: u64, ackid: u32, to: &[SocketAddrAny]) {
        let Some(port) = self.slots.get(slot).and_then(Option::as_ref).filter(|_| !to.is_empty()) else { return };
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.told = u64::try_from(since.as_micros()).unwrap_or(0).max(self.told.saturating_add(1));
        let mut packet = packet::told(operation, uid, ackid, port.id, self.told);
        if port.channel.is_signed() {
            if self.signed.0 != now / 1_000 {
                self.signed = (now / 1_000, 0);
            }
            if self.signed.1 >= SIGNED {
                self.counters.lost += to.len() as u64;
                return;
            }
            self.signed.1 += 1;
            self.signer.sign(&mut packet);
        }
        count(&mut self.counters, to.len(), calls::send(&port.socket, &packet, to));
    }

    /// Carries orders out, as many as may be at once.
    fn carry_out(&mut self, now: u64) {
        if self.orders.is_empty() && self.inbox.fresh.swap(false, Ordering::AcqRel) {
            std::mem::swap(&mut self.orders, &mut self.inbox.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        }
        let until = self.counters.sent + SENT as u64;
        while self.counters.sent < until {
            let Some((given, order)) = self.orders.pop_front() else {
                if self.orders.capacity() > SENT {
                    self.orders = VecDeque::new();
                }
                return;
            };
            self.order(now, given, order);
        }
    }

    fn order(&mut self, now: u64, given: u64, order: Order) {
        match order {
            Order::Open { channel, signed } => {
                let port = self.open(now, channel, signed);
                self.events.push(Event::Opened { channel, port });
            }
            Order::Close { channel } => {
                if let Some(slot) = self.found.get(&channel).copied() {
                    self.close(now, slot);
                }
            }
            Order::Join { channel, uid, join, terms, proven } => {
                let members: usize = self.slots.iter().flatten().map(|port| port.channel.members()).sum();
                let joined = match self.port(channel) {
                    None => Err("the channel has no port"),
                    Some(_) if members >= MEMBERS => Err("there are too many members"),
                    Some((_, port)) => port.channel.join(now, uid, join, terms, proven),
                };
                match joined {
                    Ok(before) => self.say_left(now, channel, uid, before),
                    Err(why) => {
                        log::debug!("voice: {uid} does not join {channel}: {why}");
                        self.events.push(Event::Silent { channel, uid, join });
                    }
                }
            }
            Order::Leave { channel, uid } => {
                let before = self.port(channel).and_then(|(_, port)| port.channel.leave(now, uid));
                self.say_left(now, channel, uid, before);
            }
            Order::Listen { channel, on } => {
                if let Some((_, port)) = self.port(channel) {
                    port.listen = on;
                }
            }
            Order::Play { channel, packets } => {
                self.inbox.playing.fetch_sub(packets.len(), Ordering::Relaxed);
                if now.saturating_sub(given) > LATE {
                    self.counters.lost += (packets.len() / PACKET) as u64;
                    return;
                }
                let Thread { slots, found, more, counters, .. } = self;
                let port = found.get(&channel).and_then(|slot| slots.get_mut(*slot)).and_then(Option::as_mut);
                let Some(port) = port else { return };
                for packet in packets.chunks_exact(PACKET) {
                    fan_out(port, packet::uid(packet), packet, more, counters);
                }
            }
        }
    }

    fn say_left(&mut self, now: u64, channel: u64, uid: u64, to: Option<SocketAddrAny>) {
        if let (Some(to), Some(slot)) = (to, self.found.get(&channel).copied()) {
            self.say(now, slot, Operation::Leave, uid, 0, &[to]);
        }
    }

    fn port(&mut self, channel: u64) -> Option<(usize, &mut Port)> {
        let slot = *self.found.get(&channel)?;
        Some((slot, self.slots.get_mut(slot)?.as_mut()?))
    }

    /// The channel's port; a new one if it has none.
    fn open(&mut self, now: u64, channel: u64, signed: bool) -> Result<u16, String> {
        if let Some((slot, port)) = self.port(channel) {
            if port.channel.is_signed() == signed {
                return Ok(port.number);
            }
            self.close(now, slot);
        }
        if self.found.len() >= self.ports.count() {
            // The one that nobody has used for longest.
            let idle = self.slots.iter().enumerate().filter_map(|(slot, port)| {
                let since = port.as_ref()?.channel.idle_since()?;
                Some((since, slot))
            });
            let Some((_, slot)) = idle.min() else {
                return Err(format!("all {} UDP ports of voice are in use", self.ports.count()));
            };
            self.close(now, slot);
        }
        let Thread { ports, slots, .. } = self;
        let is_used = |number| slots.iter().flatten().any(|port| port.number == number);
        let (socket, number) = ports.open(is_used).ok_or("no UDP port of voice is free")?;
        let slot = slots.iter().position(Option::is_none).unwrap_or(slots.len());
        epoll::add(&self.epoll, &socket, EventData::new_u64(slot as u64), EventFlags::IN)
            .map_err(|error| format!("epoll: {error}"))?;
        let state = Channel::new(now, signed, self.everywhere);
        let port = Port { socket, number, id: channel, channel: state, listen: false, heard: Vec::new() };
        match slots.get_mut(slot) {
            Some(place) => *place = Some(port),
            None => slots.push(Some(port)),
        }
        self.found.insert(channel, slot);
        Ok(number)
    }

    /// Ends a channel: its members are told, and its port is free.
    fn close(&mut self, now: u64, slot: usize) {
        let Some(port) = self.slots.get_mut(slot).and_then(Option::as_mut) else { return };
        let id = port.id;
        // Nobody is uid 0: all hear this.
        let mut all = Vec::new();
        let ready = port.channel.audience(0, &mut all).to_vec();
        all.extend(ready);
        self.say(now, slot, Operation::End, 0, 0, &all);
        self.tell();
        self.found.remove(&id);
        if let Some(place) = self.slots.get_mut(slot) {
            // With the socket it leaves epoll too.
            *place = None;
        }
    }

    fn tick(&mut self, now: u64) {
        for slot in 0..self.slots.len() {
            let Some(port) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
            let channel = port.id;
            for (uid, join, to) in port.channel.silent(now) {
                self.events.push(Event::Silent { channel, uid, join });
                self.say_left(now, channel, uid, to);
            }
        }
        if now >= self.next_report {
            self.next_report = now + REPORT;
            if self.counters != self.reported {
                log::debug!("voice: {:?}; dropped are {:?}", self.counters, Reason::ALL);
                self.reported = self.counters.clone();
            }
        }
    }

    /// Brings what was heard, and all else, to the role.
    fn tell(&mut self) {
        for slot in self.heard.drain(..) {
            if let Some(port) = self.slots.get_mut(slot).and_then(Option::as_mut) {
                let packets = std::mem::take(&mut port.heard);
                self.events.push(Event::Heard { channel: port.id, packets });
            }
        }
        self.heard_bytes = 0;
        if !self.events.is_empty() {
            (self.tell)(std::mem::take(&mut self.events));
        }
    }
}

/// Sends a member's packet to all others.
fn fan_out(port: &mut Port, uid: u64, packet: &[u8], more: &mut Vec<SocketAddrAny>, counters: &mut Counters) {
    let ready = port.channel.audience(uid, more);
    count(counters, ready.len(), calls::send(&port.socket, packet, ready));
    count(counters, more.len(), calls::send(&port.socket, packet, more));
}

fn count(counters: &mut Counters, wanted: usize, lost: usize) {
    counters.sent += wanted.saturating_sub(lost) as u64;
    counters.lost += lost as u64;
}
