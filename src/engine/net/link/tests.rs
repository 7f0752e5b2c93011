use std::sync::Arc;
use std::task::Waker;

use super::*;
use crate::config::PortKey;
use crate::engine::command::anyone;
use crate::engine::limits::Limits;
use crate::engine::net::Registry;
use crate::engine::Answer;
use crate::engine::Command;
use crate::engine::Ctx;
use crate::engine::Gone;

/// Counts what comes, and wants a pause after each that it counts while `picky`.
#[derive(Default)]
struct Counter {
    seen: usize,
    picky: bool,
    gone: bool,
}

const NOTE: Command<Counter> = Command {
    name: "NOTE",
    ports: &[PortKey::ClientMain],
    args: "",
    gate: anyone,
    run: |role, ctx, request| {
        assert!(!role.gone);
        role.seen += 1;
        ctx.pause(request.link, role.picky);
        Ok(Answer::None)
    },
};

impl Role for Counter {
    type Peer = ();
    const NAME: &'static str = "counter";

    fn commands() -> &'static [Command<Counter>] {
        &[NOTE]
    }

    fn closed(&mut self, _: &mut Ctx<Counter>, _: LinkId, _: Gone<()>) {
        self.gone = true;
    }
}

/// Gives what it has, then its end; takes nothing, or fails.
struct Stream {
    input: Vec<u8>,
    at: usize,
    ends: bool,
    fails: bool,
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = buffer.len().min(self.input.len() - self.at);
        buffer[..n].copy_from_slice(&self.input[self.at..self.at + n]);
        self.at += n;
        match n == 0 && !self.ends {
            true => Poll::Pending,
            false => Poll::Ready(Ok(n)),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.fails {
            true => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
            false => Poll::Pending,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A task on a stream with so many packets, whose host wants to write something if `says`.
fn task(packets: usize, picky: bool, says: bool, ends: bool, fails: bool) -> LinkTask<Counter, Stream> {
    let role = Counter { picky, ..Counter::default() };
    let handle = Handle::new(role, Limits::default(), 1, None, &Arc::new(Registry::default())).unwrap();
    let link = handle.enter(|host, now| host.accepted(now, PortKey::ClientMain, None, None)).unwrap();
    assert!(handle.enter(|host, now| host.open(now, link, |_| {})));
    if says {
        handle.with(|_, ctx| ctx.push(link, "HELLO", &[b"x"])).unwrap();
    }
    LinkTask::new(handle, link, Stream { input: b"1 NOTE\n".repeat(packets), at: 0, ends, fails })
}

fn seen(task: &LinkTask<Counter, Stream>) -> (usize, bool) {
    task.handle.with(|role, _| (role.seen, role.gone))
}

fn poll(task: &mut LinkTask<Counter, Stream>) -> Poll<()> {
    task.run(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn what_came_before_a_write_failed_is_read() {
    let mut task = task(100_000, false, true, true, true);
    let done = (0..100).any(|_| poll(&mut task).is_ready());
    assert!(done);
    assert_eq!(seen(&task), (100_000, true));
}

#[test]
fn a_link_that_can_write_nothing_reads_on_after_a_pause() {
    let mut task = task(5, true, true, false, false);
    assert!(poll(&mut task).is_pending());
    assert_eq!(seen(&task), (1, false));
    let link = task.link;
    task.handle.with(|role, ctx| {
        role.picky = false;
        ctx.pause(link, false);
    });
    assert!(poll(&mut task).is_pending());
    assert_eq!(seen(&task), (5, false));
}

#[test]
fn the_end_is_told_after_what_a_pause_held_up() {
    let mut task = task(5, true, false, true, false);
    for n in 1..=5 {
        assert!(poll(&mut task).is_pending());
        assert_eq!(seen(&task), (n, false), "one at a time");
        let link = task.link;
        task.handle.with(|_, ctx| ctx.pause(link, false));
    }
    assert!(poll(&mut task).is_ready());
    assert_eq!(seen(&task), (5, true));
}
