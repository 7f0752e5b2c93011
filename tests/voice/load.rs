//! Members who talk at a steady pace, all on one thread, while losses are counted; and what the server's process costs.

use std::os::fd::OwnedFd;
use std::time::Duration;
use std::time::Instant;

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::event::Timespec;

use crate::support::Server;
use crate::udp;
use crate::udp::Member;

/// 50 packets a second.
pub const PACE: Duration = Duration::from_millis(20);
/// What is still under way may take so long.
const GRACE: Duration = Duration::from_millis(500);

/// What came of what was said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Loss {
    /// Packets that members should have heard, and that they did.
    pub expected: u64,
    pub heard: u64,
    /// Of those that came: behind one that was said later, or twice.
    pub disordered: u64,
}

impl Loss {
    /// Lost, as a part of all.
    pub fn part(&self) -> f64 {
        (self.expected - self.heard) as f64 / self.expected as f64
    }
}

/// A group of members, all of one channel; the first `speakers` of them speak.
pub struct Group {
    pub members: Vec<Member>,
    pub speakers: usize,
}

/// Who has heard what: by listener and speaker, the last number.
struct Ears<'a> {
    groups: &'a mut [Group],
    /// By the datum of epoll.
    places: Vec<(usize, usize)>,
    last: Vec<Vec<u32>>,
    epoll: OwnedFd,
    loss: Loss,
}

/// Everybody who speaks says `count` things, at the pace of speech. Nothing else may come meanwhile. Returns what was heard.
pub fn talk(groups: &mut [Group], count: u32) -> Loss {
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).expect("epoll");
    let mut places = Vec::new();
    for (group, one) in groups.iter().enumerate() {
        for (index, member) in one.members.iter().enumerate() {
            member.socket.set_nonblocking(true).expect("does not wait");
            let data = epoll::EventData::new_u64(places.len() as u64);
            epoll::add(&epoll, &member.socket, data, epoll::EventFlags::IN).expect("epoll takes a socket");
            places.push((group, index));
        }
    }
    let last = places.iter().map(|(group, _)| vec![0; groups[*group].speakers]).collect();
    let mut ears = Ears { groups, places, last, epoll, loss: Loss::default() };
    let began = Instant::now();
    for n in 1..=count {
        for group in ears.groups.iter_mut() {
            for index in 0..group.speakers {
                group.members[index].say(&n.to_be_bytes());
            }
            ears.loss.expected += (group.speakers * (group.members.len() - 1)) as u64;
        }
        ears.until(began + PACE * n);
    }
    let grace = Instant::now() + GRACE;
    while ears.loss.heard < ears.loss.expected && Instant::now() < grace {
        ears.until((Instant::now() + PACE).min(grace));
    }
    let loss = ears.loss;
    for member in groups.iter().flat_map(|group| &group.members) {
        member.socket.set_nonblocking(false).expect("waits");
    }
    loss
}

impl Ears<'_> {
    /// Hears all that comes until then.
    fn until(&mut self, then: Instant) {
        let mut ready: Vec<epoll::Event> = Vec::with_capacity(256);
        loop {
            let left = then.saturating_duration_since(Instant::now());
            let wait = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            ready.clear();
            epoll::wait(&self.epoll, spare_capacity(&mut ready), Some(&wait)).expect("epoll waits");
            for event in &ready {
                self.hear(usize::try_from(event.data.u64()).expect("an index"));
            }
            if left.is_zero() {
                return;
            }
        }
    }

    fn hear(&mut self, ear: usize) {
        let (group, index) = self.places[ear];
        let group = &self.groups[group];
        let mut packet = [0; udp::LENGTH];
        while let Ok(length) = group.members[index].socket.recv(&mut packet) {
            assert_eq!(length, udp::LENGTH);
            let uid = udp::eight(&packet, 0);
            let speaker = group.members[..group.speakers].iter().position(|member| member.uid == uid);
            let speaker = speaker.unwrap_or_else(|| panic!("what nobody said: {:?}", &packet[..40]));
            assert_ne!(speaker, index, "a member hears itself");
            let number = u32::from_be_bytes(packet[8..12].try_into().expect("four bytes"));
            let last = &mut self.last[ear][speaker];
            if number <= *last {
                self.loss.disordered += 1;
            } else {
                *last = number;
                self.loss.heard += 1;
            }
        }
    }
}

/// CPU time of the server's process, and of its thread of voice, so far.
pub fn cpu(server: &Server) -> (Duration, Duration) {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", server.pid())).expect("its threads");
    let (mut all, mut voice) = (Duration::ZERO, Duration::ZERO);
    for task in tasks.flatten() {
        let read = |name: &str| std::fs::read_to_string(task.path().join(name)).unwrap_or_default();
        // On-CPU time in ns comes first.
        let nanoseconds = read("schedstat").split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0);
        all += Duration::from_nanos(nanoseconds);
        if read("comm").trim() == "voice" {
            voice += Duration::from_nanos(nanoseconds);
        }
    }
    (all, voice)
}
