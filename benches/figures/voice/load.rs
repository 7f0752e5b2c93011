//! The members of one channel, all in one thread: some speak at a steady rate, all hear, and note how long it took.

use std::net::SocketAddr;
use std::net::UdpSocket;
use std::time::Duration;
use std::time::Instant;

use convergia::voice::packet;
use convergia::voice::packet::Operation;
use convergia::voice::KEY;
use convergia::voice::PACKET;
use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::Timespec;

use super::widen;
use crate::Result;

/// How long what is on its way may take at the end of a round.
const LINGER: Duration = Duration::from_millis(300);

/// How a member shows that it is there.
#[derive(Clone, Copy)]
pub enum Ways {
    /// By a byte, which a bare fan-out takes and does not pass on.
    Bare,
    /// By keepalives of KV.
    Kv,
    /// By those, sealed under a key.
    Signed([u8; KEY]),
}

struct Member {
    socket: UdpSocket,
    uid: u64,
    ways: Ways,
    counter: u64,
}

impl Member {
    fn say(&mut self, data: &[u8]) -> Result<()> {
        self.send(packet::user(self.uid, data))
    }

    fn is_here(&mut self) -> Result<()> {
        match self.ways {
            Ways::Bare => {
                self.socket.send(b"!")?;
                Ok(())
            }
            _ => self.send(packet::system(Operation::Keepalive, self.uid, 0)),
        }
    }

    fn send(&mut self, mut datagram: [u8; PACKET]) -> Result<()> {
        if let Ways::Signed(key) = &self.ways {
            self.counter += 1;
            packet::seal(&mut datagram, key, self.counter);
        }
        self.socket.send(&datagram)?;
        Ok(())
    }
}

/// See the module.
pub struct Load {
    members: Vec<Member>,
    epoll: std::os::fd::OwnedFd,
    began: Instant,
}

/// What a round brought.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    /// Packets that were said, and that should have been heard.
    pub said: u64,
    pub due: u64,
    pub heard: u64,
    /// From saying to hearing, ns, sorted.
    pub delays: Vec<u32>,
}

impl Heard {
    /// Of the sorted delays, in µs.
    pub fn percentile(&self, share: f64) -> f64 {
        let at = (self.delays.len().saturating_sub(1)) as f64 * share;
        self.delays.get(at as usize).map_or(0.0, |delay| f64::from(*delay) / 1_000.0)
    }
}

impl Load {
    /// Nobody.
    pub fn new() -> Result<Load> {
        Ok(Load { members: Vec::new(), epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, began: Instant::now() })
    }

    /// One more, who shows itself at once, so that the server knows the address.
    pub fn add(&mut self, server: SocketAddr, uid: u64, ways: Ways) -> Result<()> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        widen(&socket)?;
        let data = epoll::EventData::new_u64(self.members.len() as u64);
        epoll::add(&self.epoll, &socket, data, epoll::EventFlags::IN)?;
        let mut member = Member { socket, uid, ways, counter: 0 };
        member.is_here()?;
        self.members.push(member);
        Ok(())
    }

    /// `speakers` speak for so long, each so many times a second.
    pub fn talk(&mut self, speakers: usize, rate: u32, time: Duration) -> Result<Heard> {
        self.drain(LINGER, &mut Heard::default())?;
        // Nobody is silent for so long that it is a member no more.
        self.members.iter_mut().try_for_each(Member::is_here)?;
        self.drain(LINGER, &mut Heard::default())?;
        let mut heard = Heard::default();
        let (begun, listeners) = (Instant::now(), self.members.len() as u64 - 1);
        let step = Duration::from_secs(1) / rate / speakers.max(1) as u32;
        let mut turn = 0u32;
        while begun.elapsed() < time {
            while begun.elapsed() >= step * turn {
                let now = u64::try_from(self.began.elapsed().as_nanos())?;
                let speaker = turn as usize % speakers.max(1);
                self.members[speaker].say(&[b"said".as_slice(), &now.to_le_bytes()].concat())?;
                heard.said += 1;
                heard.due += listeners;
                turn += 1;
            }
            self.hear(step.saturating_mul(turn).saturating_sub(begun.elapsed()), &mut heard)?;
        }
        self.drain(LINGER, &mut heard)?;
        heard.delays.sort_unstable();
        Ok(heard)
    }

    fn drain(&mut self, time: Duration, heard: &mut Heard) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.hear(time.saturating_sub(begun.elapsed()), heard)?;
        }
        Ok(())
    }

    fn hear(&mut self, wait: Duration, heard: &mut Heard) -> Result<()> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(128);
        let wait = Timespec { tv_sec: i64::try_from(wait.as_secs())?, tv_nsec: i64::from(wait.subsec_nanos()) };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&wait)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            let member = &self.members[usize::try_from(event.data.u64())?];
            let mut datagram = [0; PACKET];
            while let Ok(PACKET) = member.socket.recv(&mut datagram) {
                let data = packet::data(&datagram);
                if let Some(said) = data.strip_prefix(b"said").and_then(|rest| rest.first_chunk()) {
                    let now = u64::try_from(self.began.elapsed().as_nanos())?;
                    heard.heard += 1;
                    heard.delays.push(u32::try_from(now - u64::from_le_bytes(*said)).unwrap_or(u32::MAX));
                }
            }
        }
        Ok(())
    }
}
