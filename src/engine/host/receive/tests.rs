use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prelude::prop_assert_eq;
use proptest::prelude::ProptestConfig;
use proptest::proptest;

use super::*;
use crate::config::PortKey;
use crate::engine::chunk::Chunk;
use crate::engine::command::anyone;
use crate::engine::command::Answer;
use crate::engine::command::Later;
use crate::engine::ctx::Ctx;
use crate::engine::host::Next;
use crate::engine::limits;
use crate::engine::limits::Limits;
use crate::wire::packet;
use crate::wire::Fail;

/// Remembers what it was sent.
#[derive(Default)]
struct Reader {
    /// Fields, and whether the last was a blob.
    got: Vec<(Vec<Vec<u8>>, bool)>,
    open: Vec<Later>,
    weigh: u64,
}

fn note(reader: &mut Reader, ctx: &mut Ctx<Reader>, request: &Request<'_>) -> Result<Answer, Fail> {
    let [name, bytes] = request.data().take()?;
    let body = request.body(bytes);
    let is_blob = matches!(body, Body::Blob(_));
    reader.got.push((vec![name.unescape().into_owned(), body.into_blob().into_vec()], is_blob));
    if reader.weigh == 0 {
        return Ok(Answer::None);
    }
    let mut later = request.later();
    ctx.weigh(&mut later, reader.weigh);
    reader.open.push(later);
    Ok(Answer::Later)
}

const fn row(name: &'static str) -> Command<Reader> {
    Command { name, ports: &[PortKey::ClientMain], args: "name LF bytes", gate: anyone, run: note }
}

impl Role for Reader {
    type Peer = ();
    const NAME: &'static str = "reader";

    fn commands() -> &'static [Command<Reader>] {
        const ROWS: &[Command<Reader>] = &[row("WRITE"), row("NOTE")];
        ROWS
    }

    fn blob_behind(command: &[u8], _: Raw<'_>) -> Option<usize> {
        (command == b"WRITE").then_some(1)
    }
}

fn host() -> (Host<Reader>, LinkId) {
    let mut host = Host::new(Reader::default(), Limits::default(), [0; 32], 0);
    let link = host.accepted(0, PortKey::ClientMain, Some([10, 0, 0, 1].into()), None).unwrap();
    assert!(host.open(0, link, |_| {}));
    host.with(0, |_, ctx| ctx.trust(link));
    (host, link)
}

/// Bytes with much that is escaped, the same for the same seed.
fn bytes(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let byte = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        b"~\n\rab\x00\xff "[(state >> 61) as usize]
    };
    std::iter::repeat_with(byte).take(length).collect()
}

fn stream(packets: &[(bool, usize, u64)]) -> (Vec<u8>, Vec<Vec<Vec<u8>>>) {
    let (mut stream, mut wanted) = (Vec::new(), Vec::new());
    for (n, (write, length, seed)) in packets.iter().enumerate() {
        let fields = [format!("name {n}~").into_bytes(), bytes(*length, *seed)];
        let command: &[u8] = if *write { b"WRITE" } else { b"NOTE" };
        packet::put_packet(&mut stream, b"0", command, &[&fields[0], &fields[1]]);
        if seed % 3 == 0 {
            stream.extend_from_slice(b"\r\n\n");
        }
        wanted.push(fields.to_vec());
    }
    (stream, wanted)
}

fn fields(host: &Host<Reader>) -> Vec<Vec<Vec<u8>>> {
    host.role.got.iter().map(|(fields, _)| fields.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_gives_the_same_packets(
        packets in vec((any::<bool>(), 0usize..3 * LARGE, any::<u64>()), 1..6),
        places in vec(any::<usize>(), 0..12),
        weigh in any::<bool>(),
    ) {
        let (stream, wanted) = stream(&packets);
        let (mut host, link) = host();
        host.role.weigh = if weigh { limits::WEIGHT } else { 0 };
        let mut places: Vec<usize> = places.iter().map(|place| place % (stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        for cut in places.windows(2) {
            host.received(0, link, &stream[cut[0]..cut[1]], false);
            // One at a time is answered, and the next may come in between.
            if let Some(later) = host.role.open.pop() {
                host.with(0, |_, ctx| ctx.answer(&later, Ok(Vec::new())));
                host.resume(link);
            }
        }
        while let Some(later) = host.role.open.pop() {
            host.with(0, |_, ctx| ctx.answer(&later, Ok(Vec::new())));
            host.resume(link);
        }
        prop_assert_eq!(fields(&host), wanted);
        host.timers(limits::TICK);
        prop_assert_eq!(host.ctx.slot(link).map(|entry| entry.incoming.is_empty()), Some(true));
    }
}

#[test]
fn a_large_field_is_a_blob_where_it_is_wanted() {
    let (stream, wanted) = stream(&[(true, 100_000, 1), (false, 100_000, 2), (true, 10, 3)]);
    let (mut host, link) = host();
    for piece in stream.chunks(20_000) {
        host.received(0, link, piece, false);
    }
    assert_eq!(fields(&host), wanted);
    let blobs: Vec<bool> = host.role.got.iter().map(|(_, is_blob)| *is_blob).collect();
    assert_eq!(blobs, [true, false, false]);
}

#[test]
fn a_large_field_is_bounded_like_any_other() {
    let most = Limits::default().packet;
    let head = "1 WRITE a~\n";
    // The path before it does not count.
    for (length, fits) in [(most, true), (most + 1, false), (3 * most, false)] {
        let (mut host, link) = host();
        host.received(0, link, head.as_bytes(), false);
        for piece in vec![b'x'; length].chunks(50_000) {
            host.received(0, link, piece, false);
        }
        host.received(0, link, b"\n", false);
        assert_eq!(host.role.got.len(), usize::from(fits), "{length}");
        host.timers(limits::TICK);
        assert!(host.ctx.queued() < 4 * most, "{length}: {} bytes", host.ctx.queued());
        let told = match host.exchange(0, link, None, None) {
            Next::Write(chunk) => chunk.bytes,
            _ => Vec::new(),
        };
        assert_eq!(told.windows(7).any(|word| word == b"TOOLONG"), !fits, "{length}");
    }
    // What is escaped more than it must be is bounded on the wire.
    let (mut host, link) = host();
    host.received(0, link, head.as_bytes(), false);
    for _ in 0..most / 10_000 + 1 {
        host.received(0, link, &b"~x".repeat(10_000), false);
    }
    host.received(0, link, b"\n", false);
    assert!(host.role.got.is_empty());
}

#[test]
fn what_grows_counts_and_goes_with_its_link() {
    let (mut host, link) = host();
    host.received(0, link, b"1 WRITE a~\n", false);
    host.received(0, link, &vec![b'x'; 500_000], false);
    host.timers(limits::TICK);
    assert!(host.ctx.queued() >= 500_000 && host.ctx.is_cut(link));
    host.gone(0, link, Chunk::default(), "closed");
    assert_eq!(host.ctx.queued(), 0);
}

#[test]
fn packets_of_a_local_link_keep_their_order_when_they_wait() {
    let (mut host, link) = host();
    let blob = Blob::from(bytes(2 * LARGE, 5));
    host.with(0, |_, ctx| ctx.pause(link, true));
    host.received(0, link, b"0 NOTE a~\none\n", false);
    host.received_blob(0, link, b"0 WRITE b~\n", blob.clone());
    host.received(0, link, b"0 NOTE c~\nthree\n", false);
    // Nobody wants this one as a blob.
    host.received_blob(0, link, b"0 NOTE d~\n", blob.clone());
    assert!(host.role.got.is_empty() && host.is_blocked(link));
    host.timers(limits::TICK);
    assert!(host.ctx.queued() >= 2 * blob.len());
    host.with(0, |_, ctx| ctx.pause(link, false));
    host.resume(link);
    let names: Vec<u8> = host.role.got.iter().map(|(fields, _)| fields[0][0]).collect();
    assert_eq!(names, b"abcd");
    assert_eq!((&host.role.got[1].0[1], &host.role.got[3].0[1]), (&blob.to_vec(), &blob.to_vec()));
    assert_eq!((host.role.got[1].1, host.role.got[3].1), (true, false));
    host.received_blob(0, link, b"0 WRITE e~\n", blob.clone());
    assert_eq!(host.role.got.len(), 5);
    assert!(!host.is_blocked(link));
}

#[test]
fn answers_are_blobs_for_those_who_want_them() {
    let (mut host, link) = host();
    let big = bytes(4 * LARGE, 9);
    let took = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    host.with(0, |_, ctx| {
        for wants in [true, false, true] {
            let took = std::sync::Arc::clone(&took);
            let note = move |bytes: Result<Blob, Fail>, is_blob: bool| took.lock().unwrap().push((bytes, is_blob));
            match wants {
                true => ctx.request_body(link, "ASK", &[], Body::Raw(Raw(b"")), move |_, _, answer| {
                    let is_blob = matches!(answer, Ok(Body::Blob(_)));
                    note(answer.map(Body::into_blob), is_blob);
                }),
                false => ctx.request(link, "ASK", &[], move |_, _, answer| {
                    note(answer.map(|raw| Body::Raw(raw).into_blob()), false);
                }),
            }
        }
    });
    let mut stream = Vec::new();
    for id in [&b"-1"[..], b"-2"] {
        packet::put_ok(&mut stream, id, b"ASK", &big);
    }
    let fail = Fail::new(Code::Busy, "x".repeat(2 * LARGE));
    packet::put_fail(&mut stream, b"-3", b"ASK", &fail);
    for piece in stream.chunks(LARGE + 1) {
        host.received(0, link, piece, false);
    }
    let took = took.lock().unwrap();
    let blob = Blob::from(big);
    assert_eq!(took[..2], [(Ok(blob.clone()), true), (Ok(blob), false)]);
    assert_eq!(took[2].0.as_ref().unwrap_err().code, Code::Busy);
}

#[test]
fn a_large_answer_is_written_as_it_was_before() {
    let (mut host, link) = host();
    host.role.weigh = 1;
    host.received(0, link, b"7 NOTE a~\nb\n8 NOTE a~\nb\n", false);
    let big = bytes(LARGE, 11);
    let laters = std::mem::take(&mut host.role.open);
    host.with(0, |_, ctx| {
        ctx.answer(&laters[0], Ok(big.clone()));
        ctx.answer(&laters[1], Ok(b"small".to_vec()));
    });
    let (mut got, mut done) = (Vec::new(), None);
    while let Next::Write(chunk) = host.exchange(0, link, done.take(), None) {
        chunk.write(&mut got);
        done = Some(chunk);
    }
    let mut wanted = b"7 NOTE OK ".to_vec();
    raw::escape_into(&mut wanted, &big);
    wanted.extend_from_slice(b"\n8 NOTE OK small\n");
    assert!(got == wanted);
}
