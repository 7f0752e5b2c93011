//! The load: all clients of a scenario on one thread with epoll, sending to each other through the server.

use std::io;
use std::io::ErrorKind;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use convergia::wire::packet::put_ok;
use convergia::wire::Framer;
use memchr::memchr;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::epoll::EventData;
use rustix::event::epoll::EventFlags;
use rustix::event::Timespec;
use rustix::time::timerfd_create;
use rustix::time::timerfd_settime;
use rustix::time::Itimerspec;
use rustix::time::TimerfdClockId;
use rustix::time::TimerfdFlags;
use rustix::time::TimerfdTimerFlags;

use crate::channel::Channel;
use crate::channel::Received;
use crate::pattern::incoming;
use crate::pattern::Incoming;
use crate::pattern::Pattern;
use crate::pattern::Shape;
use crate::pattern::Wire;
use crate::tally::Outcome;
use crate::tally::Run;
use crate::Result;

/// What one read takes from a socket, in bytes.
const READ: usize = 256 * 1024;
const TIMER: u64 = u64::MAX;

struct Link {
    channel: Channel,
    /// What was decrypted and not read yet.
    inbox: Vec<u8>,
    framer: Framer,
    /// Encrypted bytes, and how many of them the socket took. Gathered, so that many records leave in one system call.
    outgoing: Vec<u8>,
    written: usize,
    watched: bool,
    /// Links 2k and 2k+1 are sender and receiver of pair k.
    name: String,
}

/// Connected clients.
pub struct Load {
    wire: Wire,
    epoll: OwnedFd,
    links: Vec<Link>,
    scratch: Vec<u8>,
    events: Vec<epoll::Event>,
    epoch: Instant,
}

impl Load {
    /// Without clients.
    pub fn new(wire: Wire) -> Result<Load> {
        Ok(Load {
            wire,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            links: Vec::new(),
            scratch: vec![0; READ],
            events: Vec::with_capacity(64),
            epoch: Instant::now(),
        })
    }

    /// Adds a client that is signed on as `name`, with what was read behind the answer to its sign-on.
    pub fn add(&mut self, channel: Channel, inbox: Vec<u8>, name: &str) -> Result<()> {
        let data = EventData::new_u64(self.links.len() as u64);
        epoll::add(&self.epoll, &channel.socket, data, EventFlags::IN)?;
        self.links.push(Link {
            channel,
            inbox,
            framer: Framer::default(),
            outgoing: Vec::new(),
            written: 0,
            watched: false,
            name: name.to_owned(),
        });
        Ok(())
    }

    /// How many clients there are.
    pub fn clients(&self) -> usize {
        self.links.len()
    }

    /// Sends as fast as the windows allow for `time`, and until all has arrived.
    pub fn flood(&mut self, shape: Shape, time: Duration) -> Result<Outcome> {
        let mut run = self.run(shape, false);
        let start = Instant::now();
        loop {
            let sending = start.elapsed() < time;
            if !sending && run.done() {
                return run.outcome(start.elapsed());
            }
            if sending {
                for pair in 0..run.pairs.len() {
                    self.fill(&mut run, pair)?;
                }
            }
            self.step(&mut run, Some(Duration::from_millis(100)))?;
            run.watchdog()?;
        }
    }

    /// Sends `rate` messages per second in total for `time`, the pairs in turn, whatever the server does about it,
    /// and waits until all has arrived. Measures each one's delay.
    pub fn pace(&mut self, shape: Shape, rate: u32, time: Duration) -> Result<Outcome> {
        let mut run = self.run(shape, true);
        let interval = Duration::from_secs(1) / rate.max(1);
        let total = (time.as_nanos() / interval.as_nanos().max(1)) as u64;
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        let tick = timespec(interval);
        let setting = Itimerspec { it_interval: tick, it_value: tick };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &setting)?;
        epoll::add(&self.epoll, &timer, EventData::new_u64(TIMER), EventFlags::IN)?;
        let (start, mut sent) = (Instant::now(), 0);
        while sent < total || !run.done() {
            if self.step(&mut run, Some(Duration::from_millis(100)))? {
                let mut expired = [0; 8];
                rustix::io::read(&timer, &mut expired)?;
                for _ in 0..u64::from_ne_bytes(expired).min(total - sent) {
                    let pair = (sent % run.pairs.len() as u64) as usize;
                    self.send(&mut run, pair, 1)?;
                    self.flush(2 * pair)?;
                    sent += 1;
                }
            }
            run.watchdog()?;
        }
        epoll::delete(&self.epoll, &timer)?;
        run.outcome(start.elapsed())
    }

    /// Answers what the server asks for `time`; messages are not expected.
    pub fn rest(&mut self, time: Duration) -> Result<()> {
        let mut run = Run::new(self.wire, Shape { body: 64, packed: true, answered: false }, Vec::new(), false);
        let start = Instant::now();
        loop {
            let left = time.saturating_sub(start.elapsed());
            self.step(&mut run, Some(left))?;
            if left.is_zero() {
                return Ok(());
            }
        }
    }

    fn run(&self, shape: Shape, delays: bool) -> Run {
        let receivers = self.links.iter().skip(1).step_by(2);
        let patterns = receivers.map(|link| Pattern::new(self.wire, shape, &link.name)).collect();
        Run::new(self.wire, shape, patterns, delays)
    }

    /// Fills the window of a pair, unless its socket is still full.
    fn fill(&mut self, run: &mut Run, pair: usize) -> Result<()> {
        if self.links[2 * pair].backlog() {
            return Ok(());
        }
        let (window, batch) = (run.shape.window(), run.patterns[pair].batch());
        let mut filled = false;
        while window - run.pairs[pair].under_way(run.answers) >= batch {
            self.send(run, pair, batch)?;
            filled = true;
        }
        if filled {
            self.flush(2 * pair)?;
        }
        Ok(())
    }

    /// Encrypts the next `count` messages of a pair.
    fn send(&mut self, run: &mut Run, pair: usize, count: u64) -> Result<()> {
        let now = self.epoch.elapsed().as_nanos() as u64;
        let first = run.pairs[pair].sent;
        let mut writer = self.links[2 * pair].channel.tls.writer();
        for piece in run.patterns[pair].packets(self.wire, first, count, now) {
            writer.write_all(piece)?;
        }
        run.pairs[pair].sent += count;
        Ok(())
    }

    fn flush(&mut self, at: usize) -> Result<()> {
        let link = &mut self.links[at];
        let watch = !link.flush()?;
        if watch != link.watched {
            link.watched = watch;
            let flags = if watch { EventFlags::IN | EventFlags::OUT } else { EventFlags::IN };
            epoll::modify(&self.epoll, &link.channel.socket, EventData::new_u64(at as u64), flags)?;
        }
        Ok(())
    }

    /// Waits for events once and handles them. True: the timer was among them.
    fn step(&mut self, run: &mut Run, timeout: Option<Duration>) -> Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut events), timeout.map(timespec).as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut ticked = false;
        for event in &events {
            let (data, flags) = (event.data, event.flags);
            if data.u64() == TIMER {
                ticked = true;
                continue;
            }
            let at = data.u64() as usize;
            if flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
                self.read(run, at)?;
            }
            if flags.contains(EventFlags::OUT) {
                self.flush(at)?;
            }
        }
        self.events = events;
        Ok(ticked)
    }

    fn read(&mut self, run: &mut Run, at: usize) -> Result<()> {
        let link = &mut self.links[at];
        let Link { channel, inbox, .. } = link;
        let received = channel.receive(&mut self.scratch, |piece| inbox.extend_from_slice(piece))?;
        if received == Received::Closed {
            return Err(format!("the server has closed the connection of {}", link.name).into());
        }
        let inbox = std::mem::take(&mut link.inbox);
        let arrived = if run.delays.is_some() { self.epoch.elapsed().as_nanos() as u64 } else { 0 };
        let (mut start, mut pong) = (0, false);
        while let Some(line) = self.links[at].line(self.wire, &inbox, &mut start) {
            match incoming(self.wire, &run.shape, line)? {
                Incoming::Message(number, sent) => run.message(at, number, arrived.saturating_sub(sent))?,
                Incoming::Accepted(number) => run.pair(at)?.accept(number),
                Incoming::Refused => run.pair(at)?.refused += 1,
                Incoming::Ping(id) => {
                    let mut answer = Vec::new();
                    put_ok(&mut answer, id, b"PING", b"");
                    self.links[at].channel.tls.writer().write_all(&answer)?;
                    pong = true;
                }
                Incoming::Other => {}
            }
        }
        let link = &mut self.links[at];
        link.inbox = inbox;
        link.inbox.drain(..start);
        run.progress = Instant::now();
        if pong {
            self.flush(at)?;
        }
        Ok(())
    }
}

impl Link {
    fn line<'a>(&mut self, wire: Wire, inbox: &'a [u8], start: &mut usize) -> Option<&'a [u8]> {
        match wire {
            Wire::Convergia => self.framer.next(inbox, start),
            Wire::Bare => {
                let rest = &inbox[*start..];
                let end = memchr(b'\n', rest)?;
                *start += end + 1;
                Some(&rest[..end])
            }
        }
    }

    fn backlog(&self) -> bool {
        self.written < self.outgoing.len()
    }

    /// True: all is written.
    fn flush(&mut self) -> io::Result<bool> {
        while self.channel.tls.wants_write() {
            self.channel.tls.write_tls(&mut self.outgoing)?;
        }
        while self.backlog() {
            match self.channel.socket.write(&self.outgoing[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing.clear();
        self.written = 0;
        Ok(true)
    }
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) }
}
