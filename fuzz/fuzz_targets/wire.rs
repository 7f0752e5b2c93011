//! Fuzzes the wire: whatever a peer sends and however it is cut, the packets are the same, nothing panics, and what is
//! read can be written and read again.
//!
//! The first bytes of the input say where the rest is cut and when the reader compacts its buffer.

#![no_main]

use wire::blob::Decoder;
use wire::name;
use wire::packet;
use wire::raw;
use wire::Framer;
use wire::Packet;
use wire::Raw;
use wire::Reply;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let (plan, stream) = input.split_at(input.len().min(4));
    let lines = frame(&[stream], 0).0;
    assert_eq!(lines, frame_by_the_book(stream));
    check_split(plan, stream, &lines);
    for line in &lines {
        check_line(line);
    }
    check_bytes(stream);
    check_decoder(plan, stream);
});

fn frame(pieces: &[&[u8]], compact: u8) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut framer = Framer::default();
    let (mut buffer, mut start, mut lines) = (Vec::new(), 0, Vec::new());
    for (n, piece) in pieces.iter().enumerate() {
        buffer.extend_from_slice(piece);
        while let Some(line) = framer.next(&buffer, &mut start) {
            lines.push(line.to_vec());
        }
        if compact >> (n % 8) & 1 == 1 {
            buffer.drain(..start);
            start = 0;
        }
    }
    buffer.drain(..start);
    (lines, buffer)
}

/// The contract read literally, a byte at a time.
fn frame_by_the_book(stream: &[u8]) -> Vec<Vec<u8>> {
    let (mut lines, mut line, mut literal) = (Vec::new(), Vec::new(), false);
    for &byte in stream {
        if !literal && (byte == b'\n' || byte == b'\r') {
            if !line.is_empty() {
                lines.push(std::mem::take(&mut line));
            }
            continue;
        }
        literal = !literal && byte == b'~';
        line.push(byte);
    }
    lines
}

fn check_split(plan: &[u8], stream: &[u8], lines: &[Vec<u8>]) {
    let compact = plan.first().copied().unwrap_or(0);
    let mut pieces = Vec::new();
    let mut rest = stream;
    for step in plan.iter().skip(1).cycle().take(if plan.len() > 1 { 600 } else { 0 }) {
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(*step) % 17));
        pieces.push(piece);
        rest = behind;
    }
    pieces.push(rest);
    assert_eq!(frame(&pieces, compact).0, lines, "a cut changed the packets");
}

/// A last field that is decoded as it comes, up to the end of its packet.
fn check_decoder(plan: &[u8], stream: &[u8]) {
    let end = frame(&[&[&b"x"[..], stream, b"\n"].concat()], 0).0.first().map_or(0, |line| line.len() - 1);
    let stream = [stream, b"\n"].concat();
    let (mut decoder, mut rest, mut seen) = (Decoder::default(), &stream[..], 0);
    for step in plan.iter().chain([&255]).cycle() {
        let (piece, behind) = rest.split_at(rest.len().min(usize::from(*step)));
        if let Some(at) = decoder.feed(piece) {
            assert_eq!(seen + at, end);
            assert_eq!(*decoder.into_blob(), *Raw(&stream[..end]).unescape());
            return;
        }
        (rest, seen) = (behind, seen + piece.len());
        // The LF of an escape at the end belongs to it.
        if rest.is_empty() {
            return;
        }
    }
}

/// A line that the framer found: parsing and writing are inverses.
fn check_line(line: &[u8]) {
    assert!(!line.is_empty());
    let Ok(packet) = Packet::parse(line) else { return };
    assert!((1..=packet::MAX_ID).contains(&packet.id.len()) && !packet.command.is_empty());

    // As it stands on the wire.
    let mut relayed = [packet.id, b" ", packet.command, b" ", packet.data.0].concat();
    relayed.push(b'\n');
    let (again, rest) = frame(&[&relayed], 0);
    assert!(rest.is_empty());
    assert_eq!(again.len(), 1);
    assert_eq!(Packet::parse(&again[0]), Ok(packet));

    // Field by field, unescaped and escaped anew.
    let fields: Vec<_> = packet.data.fields().map(Raw::unescape).collect();
    let borrowed: Vec<&[u8]> = fields.iter().map(|field| &**field).collect();
    let mut written = Vec::new();
    packet::put_packet(&mut written, packet.id, packet.command, &borrowed);
    let (again, rest) = frame(&[&written], 0);
    assert!(rest.is_empty());
    assert_eq!(again.len(), 1);
    let meant = Packet::parse(&again[0]).expect("our own packet");
    assert_eq!((meant.id, meant.command), (packet.id, packet.command));
    assert_eq!(meant.data.unescape(), packet.data.unescape());

    check_reply(packet);
}

fn check_reply(packet: Packet<'_>) {
    let mut written = Vec::new();
    match Reply::parse(packet.data) {
        Ok(Reply::Ok(data)) => packet::put_ok(&mut written, packet.id, packet.command, &data.unescape()),
        Ok(Reply::Fail(code, text)) => {
            let Ok(text) = text.text() else { return };
            let fail = wire::Fail::new(code, text.into_owned());
            packet::put_fail(&mut written, packet.id, packet.command, &fail);
        }
        Err(_) => return,
    }
    let (lines, _) = frame(&[&written], 0);
    let again = Packet::parse(&lines[0]).expect("our own reply");
    match (Reply::parse(packet.data), Reply::parse(again.data)) {
        (Ok(Reply::Ok(one)), Ok(Reply::Ok(other))) => assert_eq!(one.unescape(), other.unescape()),
        (Ok(Reply::Fail(one, a)), Ok(Reply::Fail(other, b))) => {
            assert_eq!((one, a.unescape()), (other, b.unescape()));
        }
        (one, other) => panic!("{one:?} became {other:?}"),
    }
}

/// Any bytes at all.
fn check_bytes(bytes: &[u8]) {
    let mut escaped = Vec::new();
    raw::escape_into(&mut escaped, bytes);
    assert_eq!(&*Raw(&escaped).unescape(), bytes);
    let data = Raw(bytes);
    let _ = (data.number(), data.take::<1>(), data.take::<4>(), Reply::parse(data), Packet::parse(bytes));
    if let Ok(text) = data.text() {
        let folded = name::fold(&text).into_owned();
        assert_eq!(name::fold(&folded), folded);
        if name::check(&text).is_ok() {
            assert_eq!(name::normalise(&text), *text);
        }
    }
}
