use std::collections::VecDeque;
use std::task::Waker;

use proptest::prelude::*;

use super::*;

/// A stream that gives and takes in pieces of any size, and is not ready in between.
#[derive(Default)]
struct Pieces {
    input: VecDeque<u8>,
    output: Vec<u8>,
    sizes: Vec<usize>,
    turn: usize,
    ends: bool,
    shut: bool,
}

impl Pieces {
    /// How much fits now; 0: not ready.
    fn size(&mut self) -> usize {
        self.turn += 1;
        self.sizes[self.turn % self.sizes.len()]
    }
}

impl AsyncRead for Pieces {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let n = self.size().min(buffer.len()).min(self.input.len());
        if n == 0 && !(self.ends && self.input.is_empty()) {
            return Poll::Pending;
        }
        for (to, from) in buffer.iter_mut().zip(self.input.drain(..n)) {
            *to = from;
        }
        Poll::Ready(Ok(n))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = self.size().min(bytes.len());
        if n == 0 {
            return Poll::Pending;
        }
        assert!(!self.shut);
        self.output.extend_from_slice(&bytes[..n]);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shut = true;
        Poll::Ready(Ok(()))
    }
}

fn socket(input: &[u8], sizes: &[usize], ends: bool) -> WebSocket<Pieces> {
    let pieces = Pieces { input: input.iter().copied().collect(), sizes: sizes.to_vec(), ends, ..Pieces::default() };
    WebSocket::new(pieces, Vec::new())
}

/// Polls until it is ready; a stream of the tests is, after a few turns.
fn until<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    for _ in 0..100_000 {
        if let Poll::Ready(result) = poll(&mut Context::from_waker(Waker::noop())) {
            return result;
        }
    }
    panic!("never ready");
}

fn read(socket: &mut WebSocket<Pieces>, room: usize) -> io::Result<Vec<u8>> {
    let mut buffer = vec![0; room];
    let n = until(|cx| Pin::new(&mut *socket).poll_read(cx, &mut buffer))?;
    buffer.truncate(n);
    Ok(buffer)
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[test]
fn what_came_with_the_request_is_read_first() {
    let later = frame(0x82, b"2 B");
    let early = frame(0x82, b"1 A");
    for room in [1, 2, 5, 100] {
        let mut socket = socket(&later, &[1, 0, 3], true);
        socket.early = early.clone();
        let mut packets = Vec::new();
        loop {
            match read(&mut socket, room).unwrap() {
                some if some.is_empty() => break,
                some => packets.extend(some),
            }
        }
        assert_eq!(packets, b"1 A\n2 B\n");
    }
}

#[test]
fn a_ping_is_answered_without_a_packet() {
    let mut socket = socket(&frame(0x89, b"hi"), &[100], false);
    let mut buffer = [0; 100];
    assert!(Pin::new(&mut socket).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer).is_pending());
    assert_eq!(socket.stream.output, [0x8A, 2, b'h', b'i']);
}

#[test]
fn pings_without_end_leave_others_their_turn() {
    let mut socket = socket(&frame(0x89, b"hi").repeat(100_000), &[8], false);
    let mut buffer = [0; 100];
    let poll = Pin::new(&mut socket).poll_read(&mut Context::from_waker(Waker::noop()), &mut buffer);
    assert!(poll.is_pending());
    assert!(socket.stream.input.len() > 700_000);
}

fn close(socket: &mut WebSocket<Pieces>) {
    until(|cx| Pin::new(&mut *socket).poll_close(cx)).unwrap();
}

#[test]
fn the_end_is_said_and_answered() {
    let mut ours = socket(&[], &[1, 0], false);
    close(&mut ours);
    assert_eq!(ours.stream.output, [0x88, 2, 0x0F, 0xA0]);
    assert!(!ours.stream.shut, "the answer is to be read");
    ours.stream.input.extend(frame(0x88, &[0x0F, 0xA0]));
    assert!(read(&mut ours, 10).unwrap().is_empty());
    // It had closed by itself, without having read all.
    let mut crossed = socket(&[], &[9], false);
    close(&mut crossed);
    crossed.stream.input.extend(frame(0x88, &[0x03, 0xE8]));
    assert!(read(&mut crossed, 10).is_err());
    // Ours is the answer.
    let mut theirs = socket(&frame(0x88, &[0x03, 0xE8]), &[9], false);
    assert!(read(&mut theirs, 10).unwrap().is_empty());
    close(&mut theirs);
    assert_eq!(theirs.stream.output, [0x88, 2, 0x03, 0xE8]);
    assert!(theirs.stream.shut);
}

#[test]
fn who_breaks_the_rules_is_told_so() {
    let mut bytes = frame(0x82, b"1 A");
    bytes.extend([0x82, 3]);
    bytes.extend([0; 5_000]);
    let mut socket = socket(&bytes, &[700], true);
    assert_eq!(read(&mut socket, 2_000).unwrap(), b"1 A\n");
    assert!(read(&mut socket, 2_000).unwrap().is_empty());
    close(&mut socket);
    let output = &socket.stream.output;
    assert_eq!((output[0], &output[2..4]), (0x88, &1_002_u16.to_be_bytes()[..]));
    assert!(socket.stream.shut && socket.stream.input.is_empty());
}

#[test]
fn a_socket_at_rest_holds_no_buffer() {
    let mut socket = socket(&frame(0x82, &[b'x'; 100]), &[1, 50, 0], false);
    while socket.stream.input.len() > 10 {
        read(&mut socket, 40).unwrap();
    }
    let packet = [vec![b'y'; 100_000], b"\n".to_vec()].concat();
    let mut at = 0;
    while at < packet.len() {
        at += until(|cx| Pin::new(&mut socket).poll_write(cx, &packet[at..])).unwrap();
    }
    assert!(socket.pending.capacity() <= PIECE + 100);
    until(|cx| Pin::new(&mut socket).poll_flush(cx)).unwrap();
    assert_eq!((socket.pending.capacity(), socket.early.capacity()), (0, 0));
    assert!(size_of::<WebSocket<()>>() < 300, "{}", size_of::<WebSocket<()>>());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any bytes, in any pieces, into a reader of any size: no panic, and no reading without end.
    #[test]
    fn any_bytes_are_read_to_their_end(
        bytes in proptest::collection::vec(prop_oneof![Just(0x82_u8), Just(0x89), Just(0x80), any::<u8>()], 0..500),
        sizes in proptest::collection::vec(0..50_usize, 1..10),
        rooms in proptest::collection::vec(1..60_usize, 1..10),
        early in 0..100_usize,
    ) {
        let sizes: Vec<usize> = sizes.into_iter().chain([3]).collect();
        let early = early.min(bytes.len());
        let mut socket = socket(&bytes[early..], &sizes, true);
        socket.early = bytes[..early].to_vec();
        let mut got = 0;
        for room in rooms.iter().cycle() {
            match read(&mut socket, *room) {
                Ok(some) if !some.is_empty() => got += some.len(),
                _ => break,
            }
        }
        prop_assert!(got <= bytes.len());
        close(&mut socket);
    }
}
