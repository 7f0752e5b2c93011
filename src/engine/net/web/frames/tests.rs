use proptest::prelude::*;
use tungstenite::protocol::frame::Frame;

use super::*;
use crate::wire::Framer;

/// A frame as a browser sends it.
fn frame(opcode: OpCode, is_final: bool, payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let header = FrameHeader { is_final, opcode, mask: Some(mask), ..FrameHeader::default() };
    let mut bytes = Vec::new();
    header.format(payload.len() as u64, &mut bytes).unwrap();
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

fn binary(payload: &[u8]) -> Vec<u8> {
    frame(OpCode::Data(Data::Binary), true, payload, [7, 0, 255, 9])
}

/// Decodes in pieces of these sizes, in turn.
fn decode(decoder: &mut Decoder, mut bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut packets = Vec::new();
    for cut in cuts.iter().cycle() {
        let (piece, rest) = bytes.split_at(bytes.len().min(*cut));
        let mut buffer = vec![0xEE];
        buffer.extend_from_slice(piece);
        let n = decoder.decode(&mut buffer, 1);
        packets.extend_from_slice(&buffer[..n]);
        bytes = rest;
        if bytes.is_empty() {
            break;
        }
    }
    packets
}

fn broken(frames: &[Vec<u8>]) -> Over {
    let mut decoder = Decoder::default();
    decode(&mut decoder, &frames.concat(), &[3]);
    decoder.over().expect("the rules are broken").clone()
}

#[test]
fn what_breaks_the_rules() {
    let text = OpCode::Data(Data::Text);
    let mut unmasked = binary(b"x");
    unmasked[1] &= 0x7F;
    let mut reserved = binary(b"x");
    reserved[0] |= 0x40;
    let mut unknown = binary(b"x");
    unknown[0] = 0x83;
    let mut endless = binary(&[0; 70_000]);
    endless[2] = 0x80;
    let cases = [
        vec![unmasked],
        vec![reserved],
        vec![unknown],
        vec![endless],
        vec![frame(OpCode::Data(Data::Continue), true, b"x", [1; 4])],
        vec![frame(text, false, b"x", [1; 4]), frame(text, true, b"x", [1; 4])],
        vec![frame(OpCode::Control(Control::Ping), false, b"x", [1; 4])],
        vec![frame(OpCode::Control(Control::Ping), true, &[b'x'; 126], [1; 4])],
        vec![frame(OpCode::Control(Control::Close), true, b"x", [1; 4])],
    ];
    for (n, case) in cases.iter().enumerate() {
        assert!(matches!(broken(case), Over::Broken(CloseCode::Protocol, _)), "case {n}");
    }
    assert!(matches!(broken(&[binary(b"1 X ~")]), Over::Broken(CloseCode::Invalid, _)));
    assert!(matches!(broken(&[binary(b"1 X ~~~")]), Over::Broken(CloseCode::Invalid, _)));
}

#[test]
fn nothing_is_read_behind_a_close() {
    let close = |payload: &[u8]| frame(OpCode::Control(Control::Close), true, payload, [3; 4]);
    for (payload, code) in [(&b""[..], None), (&[3, 232], Some(1_000)), (&[0x0F, 0xA0], Some(4_000)), (&[0, 1], None)] {
        let mut decoder = Decoder::default();
        let bytes = [binary(b"1 PING"), close(payload), binary(b"2 PING")].concat();
        assert_eq!(decode(&mut decoder, &bytes, &[5]), b"1 PING\n");
        assert_eq!(decoder.over(), Some(&Over::Closed(code)));
    }
}

#[test]
fn a_message_in_parts_with_a_ping_between_them() {
    let mut decoder = Decoder::default();
    let bytes = [
        frame(OpCode::Data(Data::Text), false, b"1 SAY a~", [1, 2, 3, 4]),
        frame(OpCode::Control(Control::Ping), true, b"here?", [5, 6, 7, 8]),
        frame(OpCode::Data(Data::Continue), false, b"", [9; 4]),
        frame(OpCode::Data(Data::Continue), true, b"\nb~~", [1; 4]),
        binary(b""),
        binary(b"2 PING\n"),
        frame(OpCode::Control(Control::Pong), true, b"x", [1; 4]),
    ];
    for cut in [1, 2, 7, 1_000] {
        let packets = decode(&mut decoder, &bytes.concat(), &[cut]);
        assert_eq!(packets, b"1 SAY a~\nb~~\n\n2 PING\n\n");
        assert_eq!(decoder.pong().as_deref(), Some(&b"here?"[..]));
        assert_eq!((decoder.pong(), decoder.over()), (None, None));
    }
}

/// Messages in `bytes`, as another implementation reads them.
fn messages(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut socket = tungstenite::protocol::frame::FrameSocket::new(Cursor::new(bytes.to_vec()));
    let (mut messages, mut begun) = (Vec::new(), Vec::new());
    while let Some(frame) = socket.read(None).unwrap() {
        let header = Frame::header(&frame);
        let first = begun.is_empty() && header.opcode == OpCode::Data(Data::Binary);
        assert!(first || header.opcode == OpCode::Data(Data::Continue));
        begun.extend_from_slice(frame.payload());
        if frame.header().is_final {
            messages.push(std::mem::take(&mut begun));
        }
    }
    assert!(begun.is_empty());
    messages
}

#[test]
fn each_packet_is_a_frame() {
    let mut frames = Vec::new();
    let mut encoder = Encoder::default();
    let packets = b"1 A\n\n2 B x~\ny~~\n3 C ~\r\n";
    assert_eq!(encoder.encode(packets, &mut frames, usize::MAX), packets.len());
    assert_eq!(messages(&frames), [&b"1 A"[..], b"2 B x~\ny~~", b"3 C ~\r"]);
    assert!(encoder.is_between());
    assert_eq!(frames[0], 0x82);
}

fn cuts() -> impl Strategy<Value = Vec<usize>> {
    proptest::collection::vec(1..40_usize, 1..20)
}

/// Bytes of a packet: many of those that mean something.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(vec![b'~', b'~']), Just(vec![b'~', b'\n']), Just(vec![b'~', b'\r']), Just(vec![b'x'])];
    proptest::collection::vec(byte, 1..200).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Packets become messages, however the chunks are cut and however little room there is; and messages packets.
    #[test]
    fn packets_come_through(
        lines in proptest::collection::vec(line(), 0..20),
        chunks in cuts(),
        rooms in cuts(),
        mask in any::<[u8; 4]>(),
    ) {
        let packets: Vec<u8> = lines.iter().flat_map(|line| [line.as_slice(), b"\n"].concat()).collect();
        let (mut encoder, mut frames, mut chunks, mut rooms) =
            (Encoder::default(), Vec::new(), chunks.iter().cycle(), rooms.iter().cycle());
        let mut rest = packets.as_slice();
        while !rest.is_empty() {
            let (mut chunk, behind) = rest.split_at(rest.len().min(*chunks.next().unwrap()));
            while !chunk.is_empty() {
                let mut piece = Vec::new();
                let used = encoder.encode(chunk, &mut piece, *rooms.next().unwrap());
                prop_assert!(used > 0);
                frames.extend_from_slice(&piece);
                chunk = &chunk[used..];
            }
            rest = behind;
        }
        prop_assert!(encoder.is_between());
        prop_assert_eq!(&messages(&frames), &lines);
        let masked: Vec<Vec<u8>> =
            lines.iter().map(|line| frame(OpCode::Data(Data::Binary), true, line, mask)).collect();
        let mut decoder = Decoder::default();
        prop_assert_eq!(decode(&mut decoder, &masked.concat(), &[7, 1, 300, 13]), packets);
        prop_assert_eq!(decoder.over(), None);
    }

    /// Any bytes, however they are cut, say the same and do no harm.
    #[test]
    fn any_bytes_mean_the_same_in_any_pieces(
        bytes in proptest::collection::vec(prop_oneof![Just(0x82_u8), Just(0x80), Just(0x02), Just(0x89), Just(b'~'), any::<u8>()], 0..400),
        cuts in cuts(),
    ) {
        let (mut whole, mut cut) = (Decoder::default(), Decoder::default());
        let together = decode(&mut whole, &bytes, &[usize::MAX]);
        prop_assert_eq!(&decode(&mut cut, &bytes, &cuts), &together);
        prop_assert_eq!(whole.over(), cut.over());
        prop_assert_eq!(whole.pong(), cut.pong());
        prop_assert!(together.len() <= bytes.len());
    }

    /// The same with frames that are well formed, whatever is in them: each message ends where a packet ends.
    #[test]
    fn any_payload_is_packets(
        parts in proptest::collection::vec((any::<bool>(), proptest::collection::vec(prop_oneof![Just(b'~'), Just(b'\n'), any::<u8>()], 0..150)), 0..20),
        mask in any::<[u8; 4]>(),
        cuts in cuts(),
    ) {
        let (mut bytes, mut begun, mut message, mut expected, mut stopped) = (Vec::new(), false, Vec::new(), Vec::new(), false);
        for (last, payload) in &parts {
            let kind = if begun { Data::Continue } else { Data::Text };
            bytes.extend(frame(OpCode::Data(kind), *last, payload, mask));
            begun = !last;
            if stopped {
                continue;
            }
            message.extend_from_slice(payload);
            expected.extend_from_slice(payload);
            if *last {
                let line: Vec<u8> = std::mem::take(&mut message);
                let mut escape = false;
                for byte in line {
                    escape = byte == b'~' && !escape;
                }
                stopped = escape;
                if !stopped {
                    expected.push(b'\n');
                }
            }
        }
        let mut decoder = Decoder::default();
        let packets = decode(&mut decoder, &bytes, &cuts);
        prop_assert_eq!(&packets, &expected);
        prop_assert_eq!(decoder.over().is_some(), stopped);
        let (mut framer, mut start) = (Framer::default(), 0);
        while framer.next(&packets, &mut start).is_some() {}
    }
}
