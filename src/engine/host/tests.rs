use super::*;
use crate::engine::command::anyone;
use crate::engine::command::Later;
use crate::engine::ctx::Words;

/// Answers nothing until it is told to, and remembers what it is told of links that are gone.
#[derive(Default)]
struct Slow {
    open: Vec<Later>,
    asked: usize,
    gone: Vec<Vec<u8>>,
}

const SLOW: Command<Slow> = Command {
    name: "SLOW",
    ports: &[PortKey::ClientMain],
    args: "",
    gate: anyone,
    run: |role, _, request| {
        role.asked += 1;
        role.open.push(request.later());
        Ok(Answer::Later)
    },
};

impl Role for Slow {
    type Peer = ();
    const NAME: &'static str = "slow";

    fn commands() -> &'static [Command<Slow>] {
        &[SLOW]
    }

    fn closed(&mut self, _: &mut Ctx<Slow>, _: LinkId, gone: Gone<()>) {
        self.gone.push(gone.undelivered);
    }
}

fn host(limits: Limits) -> Host<Slow> {
    Host::new(Slow::default(), limits, [0; 32], 0)
}

/// A link that has signed on.
fn link(host: &mut Host<Slow>) -> LinkId {
    let link = host.accepted(0, PortKey::ClientMain, Some([10, 0, 0, 1].into()), None).unwrap();
    assert!(host.open(0, link, |_| {}));
    host.with(0, |_, ctx| {
        ctx.trust(link);
        ctx.keep_undelivered(link);
    });
    link
}

fn push(host: &mut Host<Slow>, link: LinkId, bytes: usize) -> Result<(), Fail> {
    let body = vec![b'x'; bytes];
    let result = host.with(0, |_, ctx| ctx.put(link, &Words::new(b"X ".to_vec()), &body));
    host.effects();
    result
}

fn take(host: &mut Host<Slow>, now: u64, link: LinkId, done: Option<Chunk>) -> Chunk {
    match host.exchange(now, link, done, None) {
        Next::Write(chunk) => chunk,
        next => panic!("{next:?}"),
    }
}

#[test]
fn a_chunk_written_while_the_link_is_aborted_is_not_lost() {
    let mut host = host(Limits::default());
    let link = link(&mut host);
    push(&mut host, link, 10).unwrap();
    let chunk = take(&mut host, 0, link, None);
    let sent = chunk.clone();
    host.with(0, |_, ctx| ctx.abort(link, "a test"));
    assert!(matches!(host.exchange(0, link, Some(chunk), None), Next::Finish));
    host.gone(0, link, Chunk::default(), "closed");
    assert_eq!(host.role.gone, [sent.bytes]);
}

#[test]
fn what_waits_behind_stuck_writers_counts() {
    let mut host = host(Limits::default());
    let links: Vec<_> = (0..10).map(|_| link(&mut host)).collect();
    for link in &links {
        push(&mut host, *link, 10).unwrap();
        // Its task holds a chunk that the socket does not take.
        take(&mut host, 0, *link, None);
        push(&mut host, *link, 1 << 20).unwrap();
    }
    host.timers(limits::TICK);
    host.effects();
    assert!(host.ctx.queued() >= 10 << 20, "{} bytes", host.ctx.queued());
    for link in links {
        host.gone(limits::TICK, link, Chunk::default(), "closed");
    }
    assert_eq!(host.ctx.queued(), 0);
}

#[test]
fn those_that_hold_most_go_when_all_together_hold_too_much() {
    let mut host = host(Limits { outbox_total: (5 << 20) + 100, ..Limits::default() });
    let small = link(&mut host);
    push(&mut host, small, 10).unwrap();
    // They read, and never answer a PING: what they were sent is kept for them, within each one's bound.
    let greedy: Vec<_> = (0..3).map(|_| link(&mut host)).collect();
    for link in &greedy {
        for _ in 0..2 {
            push(&mut host, *link, 1 << 20).unwrap();
            let chunk = take(&mut host, 0, *link, None);
            host.exchange(0, *link, Some(chunk), None);
        }
    }
    assert_eq!(push(&mut host, small, 10).unwrap_err().code, Code::Busy);
    host.timers(limits::TICK);
    let gone: Vec<_> = greedy.iter().filter(|link| host.is_aborted(**link)).copied().collect();
    assert!(!host.is_aborted(small));
    assert_eq!(gone.len(), 1, "as many as it takes");
    for link in gone {
        host.gone(limits::TICK, link, Chunk::default(), "closed");
    }
    push(&mut host, small, 10).unwrap();
}

#[test]
fn half_packets_count() {
    let mut host = host(Limits { outbox_total: 1 << 20, ..Limits::default() });
    let links: Vec<_> = (0..4).map(|_| link(&mut host)).collect();
    for link in &links {
        host.received(0, *link, b"1 SENDMESSAGE bob~\n", true);
        host.received(0, *link, &vec![b'x'; 400 << 10], true);
    }
    host.timers(limits::TICK);
    assert!(host.ctx.queued() >= 4 * (400 << 10), "{} bytes", host.ctx.queued());
    let gone: Vec<_> = links.iter().filter(|link| host.is_aborted(**link)).copied().collect();
    assert!((1..4).contains(&gone.len()), "{}", gone.len());
    for link in gone {
        host.gone(limits::TICK, link, Chunk::default(), "closed");
    }
    assert!(host.ctx.queued() <= 1 << 20);
    for link in links {
        host.gone(limits::TICK, link, Chunk::default(), "closed");
    }
    assert_eq!(host.ctx.queued(), 0);
}

#[test]
fn requests_that_wait_for_their_answers_hold_up_those_behind_them() {
    let mut host = host(Limits::default());
    let link = link(&mut host);
    let batch = "1 SLOW\n".repeat(1_000);
    host.received(0, link, batch.as_bytes(), true);
    let first = host.role.asked;
    assert!(first <= limits::UNANSWERED, "{first} at once");
    assert!(host.is_blocked(link));
    // As they are answered, the others come to their turn; an answer that is not wanted frees a place too.
    while !host.role.open.is_empty() {
        host.with(0, |role, ctx| {
            for later in std::mem::take(&mut role.open) {
                ctx.answer(&later, Ok(Vec::new()));
            }
        });
        let chunk = take(&mut host, 0, link, None);
        assert!(host.role.open.len() <= limits::UNANSWERED);
        host.exchange(0, link, Some(chunk), None);
    }
    assert_eq!(host.role.asked, 1_000);
    assert!(!host.is_blocked(link));
    host.received(0, link, "0 SLOW\n".repeat(limits::UNANSWERED + 1).as_bytes(), false);
    assert!(host.is_blocked(link));
    host.effects();
    host.with(0, |role, ctx| {
        for later in std::mem::take(&mut role.open) {
            ctx.answer(&later, Ok(Vec::new()));
        }
    });
    assert_eq!(host.effects().dirty, [link], "its task is told though there is nothing to write");
    assert!(matches!(host.exchange(0, link, None, None), Next::Idle { read: true }));
    assert_eq!(host.role.asked, 1_000 + limits::UNANSWERED + 1);
}

#[test]
fn of_those_that_wait_the_longest_silent_go_and_the_bound_holds() {
    let mut host = host(Limits { waiting_links: 128, ..Limits::default() });
    let signed_on = link(&mut host);
    let mut links = Vec::new();
    for n in 0..1_000 {
        let link = host.accepted(n, PortKey::ClientMain, Some([10, 0, 0, 1].into()), None).unwrap();
        assert!(host.open(n, link, |_| {}));
        links.push(link);
        assert!(links.iter().filter(|link| !host.is_aborted(**link)).count() <= 128);
        // Their tasks are slow to notice.
        if n % 10 == 0 {
            for link in links.extract_if(.., |link| host.is_aborted(*link)).collect::<Vec<_>>() {
                host.gone(n, link, Chunk::default(), "closed");
            }
        }
    }
    assert!(!host.is_aborted(signed_on));
    let left = links.iter().filter(|link| !host.is_aborted(**link)).count();
    assert!(left > 120, "no more go than have to: {left}");
    assert!(!host.is_aborted(*links.last().unwrap()));
}

#[test]
fn the_task_of_a_local_link_that_is_gone_is_told() {
    let mut host = host(Limits::default());
    let link = host.accepted(0, PortKey::ClientMain, None, None).unwrap();
    assert!(host.open(0, link, |_| {}));
    host.exchange(0, link, None, Some(Waker::noop()));
    host.effects();
    host.gone(0, link, Chunk::default(), "closed by the other role");
    assert_eq!(host.effects().wake.len(), 1);
}

#[test]
fn a_paused_link_is_not_silent() {
    let mut host = host(Limits::default());
    let (paused, other) = (link(&mut host), link(&mut host));
    host.with(0, |_, ctx| ctx.pause(paused, true));
    host.timers(limits::SILENCE_GONE + limits::TICK);
    assert!(!host.is_aborted(paused) && host.is_aborted(other));
}

#[test]
fn a_link_that_comes_on_step_by_step_has_time_for_each() {
    let mut host = host(Limits::default());
    let accept =
        |host: &mut Host<Slow>| host.accepted(0, PortKey::ClientMain, Some([10, 0, 0, 1].into()), None).unwrap();
    let (slow, steady) = (accept(&mut host), accept(&mut host));
    host.extend(limits::HANDSHAKE - 1, steady, limits::HTTP_IDLE);
    host.timers(limits::HANDSHAKE);
    assert!(host.is_aborted(slow) && !host.is_aborted(steady));
    let later = limits::HANDSHAKE + limits::SIGN_ON;
    host.extend(later, steady, limits::HANDSHAKE);
    assert!(host.open(later, steady, |_| {}));
    host.extend(later, steady, 1);
    host.timers(later + limits::SIGN_ON - 1);
    assert!(!host.is_aborted(steady), "the time for the sign-on counts from the last step");
    host.timers(later + limits::SIGN_ON + limits::TICK);
    assert!(host.is_aborted(steady));
}
