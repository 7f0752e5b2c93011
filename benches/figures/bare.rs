//! The bare relay: what TLS and the kernel alone cost when lines are passed on between pairs of clients.
//!
//! One thread, epoll, no accounts, no routing, no answers. A client's first line is its number; 2k and 2k+1 are a
//! pair, and every further line of one goes to the other. All that one wake-up brings is decrypted, cut at its line
//! ends, and written once.

use std::collections::HashMap;
use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::net::Ipv4Addr;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use memchr::memchr;
use memchr::memchr_iter;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustls::ServerConfig;
use rustls::ServerConnection;

use crate::channel::Channel;
use crate::channel::Received;
use crate::tls;
use crate::Result;

/// What one read takes from a socket, in bytes.
const READ: usize = 64 * 1024;
/// From here on, in bytes that wait for one client, its partner is not read any more.
const HIGH_WATER: usize = 1024 * 1024;
/// The longest line, in bytes.
const LINE: usize = 1024 * 1024;

const LISTENER: u64 = u64::MAX;
const PARENT: u64 = u64::MAX - 1;

struct Client {
    channel: Channel,
    number: Option<u64>,
    partner: Option<usize>,
    /// The beginning of a line whose end has not come.
    partial: Vec<u8>,
    /// Whole lines for this client, not encrypted yet.
    out: Vec<u8>,
    /// Is in the list of those to be written to.
    dirty: bool,
    /// Is not read from, as its partner is behind.
    paused: bool,
    interest: EventFlags,
}

struct Relay {
    epoll: OwnedFd,
    config: Arc<ServerConfig>,
    clients: Vec<Option<Box<Client>>>,
    free: Vec<usize>,
    numbers: HashMap<u64, usize>,
    dirty: Vec<usize>,
    closed: Vec<usize>,
    lines: u64,
}

/// Serves until standard input ends, so that it never outlives the bench. Its port is printed on a line.
pub fn serve() -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    epoll::add(&epoll, io::stdin().as_fd(), EventData::new_u64(PARENT), EventFlags::IN)?;
    let mut relay = Relay {
        epoll,
        config: tls::server()?,
        clients: Vec::new(),
        free: Vec::new(),
        numbers: HashMap::new(),
        dirty: Vec::new(),
        closed: Vec::new(),
        lines: 0,
    };
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()?;
    let mut scratch = vec![0; READ];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        match epoll::wait(&relay.epoll, spare_capacity(&mut events), None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            match data.u64() {
                LISTENER => relay.accept(&listener)?,
                PARENT => {
                    // How much it has passed on; nobody may be there any more to read it.
                    let _ = writeln!(io::stdout(), "{}", relay.lines);
                    return Ok(());
                }
                slot => relay.event(slot as usize, flags, &mut scratch),
            }
        }
        relay.write();
    }
}

impl Relay {
    fn accept(&mut self, listener: &TcpListener) -> Result<()> {
        loop {
            let socket = match listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let channel = Channel::new(socket, ServerConnection::new(self.config.clone())?.into())?;
            let slot = self.free.pop().unwrap_or(self.clients.len());
            epoll::add(&self.epoll, &channel.socket, EventData::new_u64(slot as u64), EventFlags::IN)?;
            let client = Some(Box::new(Client {
                channel,
                number: None,
                partner: None,
                partial: Vec::new(),
                out: Vec::new(),
                dirty: false,
                paused: false,
                interest: EventFlags::IN,
            }));
            match self.clients.get_mut(slot) {
                Some(place) => *place = client,
                None => self.clients.push(client),
            }
        }
    }

    fn event(&mut self, slot: usize, flags: EventFlags, scratch: &mut [u8]) {
        if flags.contains(EventFlags::OUT) {
            self.mark(slot);
        }
        if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) && !self.read(slot, scratch) {
            self.close(slot);
        }
    }

    /// One read of one client. False: it is gone.
    fn read(&mut self, slot: usize, scratch: &mut [u8]) -> bool {
        // Taken out for a moment, so that its partner can be reached.
        let Some(mut client) = self.clients.get_mut(slot).and_then(Option::take) else { return true };
        let mut partner = client.partner.and_then(|slot| self.clients.get_mut(slot)?.take());
        let Client { channel, number, partner: partner_slot, partial, out, .. } = &mut *client;
        let mut lines = 0;
        let received = channel.receive(scratch, |mut piece| {
            if number.is_none() {
                piece = hello(piece, partial, number);
                if number.is_some() {
                    out.extend_from_slice(b"ok\n");
                }
            }
            // Line by line, as a relay must that has something to decide about each.
            let mut start = 0;
            for at in memchr_iter(b'\n', piece) {
                if let Some(partner) = partner.as_mut() {
                    partner.out.extend_from_slice(partial);
                    partner.out.extend_from_slice(&piece[start..=at]);
                }
                partial.clear();
                start = at + 1;
                lines += 1;
            }
            partial.extend_from_slice(&piece[start..]);
        });
        self.lines += lines;
        let sane = partial.len() <= LINE;
        let answer = !out.is_empty() || channel.tls.wants_write();
        let behind = partner.as_ref().is_some_and(|partner| partner.out.len() > HIGH_WATER);
        if let (Some(partner_slot), Some(partner)) = (*partner_slot, partner) {
            let waits = !partner.out.is_empty();
            if let Some(place) = self.clients.get_mut(partner_slot) {
                *place = Some(partner);
            }
            if waits {
                self.mark(partner_slot);
            }
        }
        if partner_slot.is_none() {
            if let Some(number) = *number {
                self.numbers.insert(number, slot);
                *partner_slot = self.numbers.get(&(number ^ 1)).copied();
            }
        }
        let partner_slot = *partner_slot;
        client.paused = behind;
        if let Some(place) = self.clients.get_mut(slot) {
            *place = Some(client);
        }
        if let Some(Some(partner)) = partner_slot.and_then(|at| self.clients.get_mut(at)) {
            partner.partner = Some(slot);
        }
        if answer {
            self.mark(slot);
        }
        if behind {
            self.watch(slot);
        }
        sane && matches!(received, Ok(Received::Some | Received::Nothing))
    }

    fn mark(&mut self, slot: usize) {
        if let Some(Some(client)) = self.clients.get_mut(slot) {
            if !client.dirty {
                client.dirty = true;
                self.dirty.push(slot);
            }
        }
    }

    /// The end of a wake-up: everyone who is owed something is written to, once.
    fn write(&mut self) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for slot in dirty.drain(..) {
            let Some(Some(client)) = self.clients.get_mut(slot) else { continue };
            client.dirty = false;
            match client.write() {
                Ok(true) => self.resume(slot),
                Ok(false) => {}
                Err(_) => {
                    self.close(slot);
                    continue;
                }
            }
            self.watch(slot);
        }
        self.dirty = dirty;
        // Only now, as an event of this wake-up may still have named them.
        self.free.append(&mut self.closed);
    }

    /// `slot` has caught up: its partner is read again.
    fn resume(&mut self, slot: usize) {
        let Some(partner) = self.clients.get(slot).and_then(|c| c.as_ref()?.partner) else { return };
        if let Some(Some(client)) = self.clients.get_mut(partner) {
            if client.paused {
                client.paused = false;
                self.watch(partner);
            }
        }
    }

    /// Tells epoll what this client waits for, if that has changed.
    fn watch(&mut self, slot: usize) {
        let Some(Some(client)) = self.clients.get_mut(slot) else { return };
        let mut wanted = EventFlags::empty();
        wanted.set(EventFlags::IN, !client.paused);
        wanted.set(EventFlags::OUT, client.channel.tls.wants_write());
        if wanted != client.interest {
            client.interest = wanted;
            let data = EventData::new_u64(slot as u64);
            if epoll::modify(&self.epoll, &client.channel.socket, data, wanted).is_err() {
                self.close(slot);
            }
        }
    }

    fn close(&mut self, slot: usize) {
        let Some(client) = self.clients.get_mut(slot).and_then(Option::take) else { return };
        if let Some(number) = client.number {
            self.numbers.remove(&number);
        }
        self.closed.push(slot);
        let Some(partner_slot) = client.partner else { return };
        if let Some(Some(partner)) = self.clients.get_mut(partner_slot) {
            partner.partner = None;
            partner.paused = false;
            self.watch(partner_slot);
        }
    }
}

impl Client {
    /// Encrypts what waits, as soon as the socket took what was encrypted before. True: nothing waits any more.
    fn write(&mut self) -> io::Result<bool> {
        if !self.channel.flush()? {
            return Ok(false);
        }
        if self.out.is_empty() {
            return Ok(true);
        }
        self.channel.tls.writer().write_all(&self.out)?;
        self.out.clear();
        self.channel.flush()
    }
}

/// Takes the first line, a decimal number, off `piece`; what is behind it remains.
fn hello<'a>(piece: &'a [u8], partial: &mut Vec<u8>, number: &mut Option<u64>) -> &'a [u8] {
    let end = memchr(b'\n', piece).unwrap_or(piece.len());
    partial.extend_from_slice(&piece[..end]);
    if end == piece.len() {
        return &[];
    }
    *number = Some(std::str::from_utf8(partial).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX));
    partial.clear();
    &piece[end + 1..]
}
