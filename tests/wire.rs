//! Properties of the wire: what holds for any bytes, cut anywhere.

use convergia::wire::blob::Decoder;
use convergia::wire::fail::Fail;
use convergia::wire::name;
use convergia::wire::packet;
use convergia::wire::raw;
use convergia::wire::Code;
use convergia::wire::Framer;
use convergia::wire::Packet;
use convergia::wire::Raw;
use convergia::wire::Reply;
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::prelude::prop_assert;
use proptest::prelude::prop_assert_eq;
use proptest::prelude::prop_assume;
use proptest::prelude::prop_oneof;
use proptest::prelude::Just;
use proptest::prelude::ProptestConfig;
use proptest::prelude::Strategy;
use proptest::proptest;
use unicode_normalization::UnicodeNormalization;

/// Any bytes, with those that mean something far more often than by chance.
fn bytes(max: usize) -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        3 => any::<u8>(),
        2 => prop_oneof![Just(b'~'), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'-'), Just(0)],
        2 => b'a'..=b'z',
    ];
    vec(byte, 0..max)
}

fn id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9_.-]{1,32}"
}

fn command() -> impl Strategy<Value = String> {
    "[A-Z]{1,32}"
}

/// A reader's buffer: what came is appended, whole packets are taken, what is done with is drained at the caller's
/// whim (`compact`), as a link does between two reads.
fn frame(pieces: &[&[u8]], compact: &[bool]) -> (Vec<Vec<u8>>, Vec<u8>) {
    let mut framer = Framer::default();
    let (mut buffer, mut start, mut lines) = (Vec::new(), 0, Vec::new());
    for (n, piece) in pieces.iter().enumerate() {
        buffer.extend_from_slice(piece);
        while let Some(line) = framer.next(&buffer, &mut start) {
            lines.push(line.to_vec());
            // A link may also stop in the middle of a batch, and drain then.
            if compact.get(lines.len() % compact.len().max(1)) == Some(&true) {
                buffer.drain(..start);
                start = 0;
            }
        }
        if compact.get(n % compact.len().max(1)) == Some(&true) {
            buffer.drain(..start);
            start = 0;
        }
    }
    buffer.drain(..start);
    (lines, buffer)
}

/// Cuts `stream` at the given places, in any order, repeated ones too.
fn cut<'a>(stream: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (stream.len() + 1)).collect();
    places.sort_unstable();
    places.push(stream.len());
    let mut from = 0;
    let mut pieces = Vec::new();
    for to in places {
        pieces.push(&stream[from..to]);
        from = to;
    }
    pieces
}

/// The contract read literally, a byte at a time: the oracle for the framer.
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

/// The same for the escapes.
fn unescape_by_the_book(raw: &[u8]) -> Vec<u8> {
    let (mut out, mut bytes) = (Vec::new(), raw.iter());
    while let Some(&byte) = bytes.next() {
        match byte {
            b'~' => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    out
}

/// Escapes as a peer may that escapes more than it must.
fn escape_at_will(bytes: &[u8], will: &[bool]) -> Vec<u8> {
    let mut out = Vec::new();
    for (n, &byte) in bytes.iter().enumerate() {
        let may = will.get(n % will.len().max(1)) == Some(&true);
        if may || matches!(byte, b'~' | b'\n' | b'\r') {
            out.push(b'~');
        }
        out.push(byte);
    }
    out
}

fn fields_of(data: Raw<'_>) -> Vec<Vec<u8>> {
    data.fields().map(|field| field.unescape().into_owned()).collect()
}

proptest! {
    // Long fields take long to make.
    #![proptest_config(ProptestConfig { cases: 30, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn long_fields_are_escaped_as_short_ones_are(field in bytes(20_000)) {
        let (mut long, mut short) = (Vec::new(), Vec::new());
        raw::escape_into(&mut long, &field);
        field.chunks(100).for_each(|piece| raw::escape_into(&mut short, piece));
        prop_assert!(long == short);
        prop_assert!(*Raw(&long).unescape() == field[..]);
        prop_assert!(*Raw(&field).unescape() == unescape_by_the_book(&field)[..]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_survive_escaping(bytes in bytes(300)) {
        let mut escaped = Vec::new();
        raw::escape_into(&mut escaped, &bytes);
        prop_assert_eq!(Raw(&escaped).unescape().into_owned(), bytes.clone());
        let mut appended = b"before".to_vec();
        Raw(&escaped).unescape_into(&mut appended);
        prop_assert_eq!(&appended[6..], &bytes[..]);
        // An escaped text never ends a packet, whatever stands behind it.
        escaped.push(b'\n');
        let (lines, rest) = frame(&[&escaped], &[]);
        prop_assert_eq!(lines.len(), usize::from(!bytes.is_empty()));
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn anything_may_be_escaped(bytes in bytes(200), will in vec(any::<bool>(), 1..20)) {
        let escaped = escape_at_will(&bytes, &will);
        prop_assert_eq!(Raw(&escaped).unescape().into_owned(), bytes);
    }

    #[test]
    fn unescaping_is_by_the_book(bytes in bytes(200)) {
        prop_assert_eq!(Raw(&bytes).unescape().into_owned(), unescape_by_the_book(&bytes));
    }

    #[test]
    fn a_packet_survives_the_wire(id in id(), command in command(), fields in vec(bytes(60), 1..6)) {
        // One empty field and no DATA look the same on the wire.
        let alone_and_empty = fields.len() == 1 && fields[0].is_empty();
        // A LF inside a field but the last is a separator: that is the grammar, so such fields are not sent.
        let sent: Vec<Vec<u8>> = fields.iter().map(|f| f.iter().copied().filter(|&b| b != b'\n').collect()).collect();
        let borrowed: Vec<&[u8]> = sent.iter().map(Vec::as_slice).collect();
        let mut out = Vec::new();
        packet::put_packet(&mut out, id.as_bytes(), command.as_bytes(), &borrowed);
        let (lines, rest) = frame(&[&out], &[]);
        prop_assert_eq!(lines.len(), 1);
        prop_assert!(rest.is_empty());
        let packet = Packet::parse(&lines[0]).unwrap();
        prop_assert_eq!(packet.id, id.as_bytes());
        prop_assert_eq!(packet.command, command.as_bytes());
        if alone_and_empty || sent == [Vec::<u8>::new()] {
            prop_assert!(packet.data.is_empty());
        } else {
            prop_assert_eq!(fields_of(packet.data), sent);
        }
    }

    #[test]
    fn the_last_field_takes_what_follows(to in "[a-z]{1,20}", body in bytes(200)) {
        let mut out = Vec::new();
        packet::put_packet(&mut out, b"1", b"SENDMESSAGE", &[to.as_bytes(), &body]);
        let (lines, _) = frame(&[&out], &[]);
        let [got_to, got_body] = Packet::parse(&lines[0]).unwrap().data.take::<2>().unwrap();
        prop_assert_eq!(got_to.unescape().into_owned(), to.as_bytes());
        prop_assert_eq!(got_body.unescape().into_owned(), body);
    }

    #[test]
    fn a_relayed_body_is_what_was_meant(to in "[a-z]{1,20}", body in bytes(200), will in vec(any::<bool>(), 1..20)) {
        // As the main server relays: split at the first escaped LF, pass the rest on as it stands on the wire.
        let mut wire = b"7 SENDMESSAGE ".to_vec();
        wire.extend_from_slice(to.as_bytes());
        wire.extend_from_slice(raw::SEPARATOR);
        wire.extend_from_slice(&escape_at_will(&body, &will));
        wire.push(b'\n');
        let (lines, _) = frame(&[&wire], &[]);
        let [_, passed_on] = Packet::parse(&lines[0]).unwrap().data.take::<2>().unwrap();
        let mut out = Vec::new();
        packet::put_packet(&mut out, b"-9", b"RECEIVEMESSAGE", &[b"alice", b"1700000000000"]);
        out.pop();
        out.extend_from_slice(raw::SEPARATOR);
        out.extend_from_slice(passed_on.0);
        out.push(b'\n');
        let (lines, rest) = frame(&[&out], &[]);
        prop_assert_eq!(lines.len(), 1);
        prop_assert!(rest.is_empty());
        let [from, _, got] = Packet::parse(&lines[0]).unwrap().data.take::<3>().unwrap();
        prop_assert_eq!(from.unescape().into_owned(), b"alice");
        prop_assert_eq!(got.unescape().into_owned(), body);
    }

    #[test]
    fn any_split_gives_the_same_packets(
        stream in bytes(400),
        places in vec(any::<usize>(), 0..30),
        compact in vec(any::<bool>(), 1..8),
    ) {
        let whole = frame(&[&stream], &[]);
        prop_assert_eq!(&whole.0, &frame_by_the_book(&stream));
        let split = frame(&cut(&stream, &places), &compact);
        prop_assert_eq!(&split.0, &whole.0);
        let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
        let split = frame(&bytewise, &compact);
        prop_assert_eq!(&split.0, &whole.0);
        prop_assert_eq!(&split.1, &whole.1);
    }

    #[test]
    fn a_field_that_is_decoded_in_pieces_is_the_same(
        field in bytes(700),
        behind in bytes(100),
        will in vec(any::<bool>(), 1..20),
        places in vec(any::<usize>(), 0..30),
    ) {
        let mut stream = escape_at_will(&field, &will);
        let end = stream.len();
        stream.push(b'\r');
        stream.extend_from_slice(&behind);
        let (mut decoder, mut seen, mut found) = (Decoder::default(), 0, None);
        for piece in cut(&stream, &places) {
            if let Some(at) = decoder.feed(piece) {
                found = Some(seen + at);
                break;
            }
            seen += piece.len();
        }
        prop_assert_eq!(found, Some(end));
        let blob = decoder.into_blob();
        prop_assert_eq!(&blob[..], &field[..]);
    }

    #[test]
    fn three_newline_forms_mixed_and_cut(
        packets in vec((command(), bytes(40), prop_oneof![Just("\n"), Just("\r"), Just("\r\n"), Just("\r\n\n\r")]), 1..12),
        places in vec(any::<usize>(), 0..30),
        compact in vec(any::<bool>(), 1..8),
    ) {
        let mut stream = Vec::new();
        let mut expected = Vec::new();
        for (n, (command, body, eol)) in packets.iter().enumerate() {
            let mut line = Vec::new();
            packet::put_packet(&mut line, n.to_string().as_bytes(), command.as_bytes(), &[body]);
            line.pop();
            stream.extend_from_slice(&line);
            stream.extend_from_slice(eol.as_bytes());
            expected.push(line);
        }
        let (lines, rest) = frame(&cut(&stream, &places), &compact);
        prop_assert_eq!(lines, expected);
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn nothing_panics_on_any_bytes(bytes in bytes(300)) {
        for line in frame_by_the_book(&bytes).iter().chain([&bytes]) {
            if let Ok(packet) = Packet::parse(line) {
                prop_assert!((1..=packet::MAX_ID).contains(&packet.id.len()));
                prop_assert!(!packet.command.is_empty());
                let _ = Reply::parse(packet.data);
            }
            let data = Raw(line);
            let _ = (Reply::parse(data), data.number(), data.text(), data.take::<1>(), data.take::<5>());
            // Fields and what they were split from hold the same bytes.
            let parts: Vec<&[u8]> = data.fields().map(|field| field.0).collect();
            prop_assert_eq!(parts.join(raw::SEPARATOR), &line[..]);
        }
        let text = String::from_utf8_lossy(&bytes);
        let _ = (name::check(&text), name::check_user(&text), name::fold(&text), name::normalise(&text));
        let _ = Code::parse(&bytes);
    }

    #[test]
    fn replies_survive_the_wire(id in id(), command in command(), data in bytes(100), text in "\\PC{0,40}", code in 0usize..17) {
        let code = Code::ALL[code];
        let mut out = Vec::new();
        packet::put_ok(&mut out, id.as_bytes(), command.as_bytes(), &data);
        packet::put_fail(&mut out, id.as_bytes(), command.as_bytes(), &Fail::new(code, text.clone()));
        let (lines, rest) = frame(&[&out], &[]);
        prop_assert_eq!(lines.len(), 2);
        prop_assert!(rest.is_empty());
        match Reply::parse(Packet::parse(&lines[0]).unwrap().data) {
            Ok(Reply::Ok(got)) => prop_assert_eq!(got.unescape().into_owned(), data),
            other => prop_assert!(false, "{:?}", other),
        }
        match Reply::parse(Packet::parse(&lines[1]).unwrap().data) {
            Ok(Reply::Fail(got, words)) => {
                prop_assert_eq!(got, code);
                prop_assert_eq!(words.text().unwrap().into_owned(), text);
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn a_reply_may_be_escaped_like_any_data(data in bytes(60), will in vec(any::<bool>(), 1..9)) {
        let ok = escape_at_will(&[b"OK ", &data[..]].concat(), &will);
        match Reply::parse(Raw(&ok)) {
            Ok(Reply::Ok(got)) => prop_assert_eq!(got.unescape().into_owned(), data),
            other => prop_assert!(false, "{:?}", other),
        }
        let fail = escape_at_will(b"FAIL WRONG no", &will);
        match Reply::parse(Raw(&fail)) {
            Ok(Reply::Fail(code, words)) => {
                prop_assert_eq!(code, Code::Wrong);
                prop_assert_eq!(words.unescape().into_owned(), b"no");
            }
            other => prop_assert!(false, "{:?}", other),
        }
    }

    #[test]
    fn numbers_read_as_written(number in any::<u64>(), bytes in bytes(25)) {
        prop_assert_eq!(Raw(number.to_string().as_bytes()).number(), Ok(number));
        if let Ok(read) = Raw(&bytes).number() {
            let meant = unescape_by_the_book(&bytes);
            prop_assert!(meant.iter().all(u8::is_ascii_digit));
            let digits = String::from_utf8(meant).unwrap();
            let plain = digits.trim_start_matches('0');
            prop_assert_eq!(read.to_string(), if plain.is_empty() { "0" } else { plain });
        }
    }

    #[test]
    fn names_that_pass_are_names(name in prop_oneof!["\\PC{0,70}", "[a-zA-Z0-9 .:|/~\\n\u{7f}]{0,70}", any::<String>()]) {
        if name::check(&name).is_ok() {
            prop_assert!((1..=name::MAX_NAME).contains(&name.len()));
            prop_assert_eq!(&name::normalise(&name), &name);
            prop_assert!(!name.chars().any(|c| c.is_control() || matches!(c, '|' | '/' | ':')));
            prop_assert!(name != "." && name != "..");
        }
        if name::check_user(&name).is_ok() {
            prop_assert!(name::check(&name).is_ok());
            prop_assert!(!name.contains(char::is_whitespace));
        }
    }

    #[test]
    fn folding_is_blind_to_case_and_final(name in prop_oneof!["\\PC{0,30}", "[A-Za-zÅåΣσςİıſKßẞ]{0,20}", any::<String>()]) {
        let name = name::normalise(&name);
        let folded = name::fold(&name).into_owned();
        prop_assert_eq!(name::fold(&folded).into_owned(), folded.clone());
        // The iota subscript is a mark below in small letters and a letter of its own in capitals: with further marks on
        // the same letter, capitals and small letters differ in their order too. Nobody's name is written so.
        prop_assume!(!name.nfd().any(|c| c == '\u{345}'));
        prop_assert_eq!(&name::fold(&name.to_uppercase()).into_owned(), &folded);
        prop_assert_eq!(&name::fold(&name.to_lowercase()).into_owned(), &folded);
        prop_assert_eq!(&name::normalise(&folded), &folded);
    }
}

#[test]
fn folding_holds_for_every_character_that_has_case() {
    let cased = |c: &char| c.to_lowercase().ne([*c]) || c.to_uppercase().ne([*c]);
    for character in (0..=u32::from(char::MAX)).filter_map(char::from_u32).filter(cased) {
        let name = name::normalise(&format!("a{character}b"));
        let folded = name::fold(&name).into_owned();
        let same = [name.to_uppercase(), name.to_lowercase(), folded.clone()];
        for other in same {
            assert_eq!(name::fold(&other), folded, "{character:?} U+{:04X} as {other:?}", u32::from(character));
        }
    }
}

#[test]
fn two_spellings_by_case_are_one_user() {
    for (one, other) in [("ΝΊΚΟΣ", "νίκος"), ("STRASSE", "straße"), ("Ǆ", "ǆ"), ("ǅ", "ǆ"), ("ÅSA", "åsa")]
    {
        assert_eq!(name::fold(one), name::fold(other), "{one} {other}");
    }
    assert_ne!(name::fold("anna"), name::fold("änna"));
}

#[test]
fn a_name_cannot_turn_the_line_it_stands_in() {
    for bad in ["a\u{202e}b", "a\u{2066}b", "a\u{2028}b", "a\u{2029}b", "a\u{85}b", "a\u{7f}b", "a\0b"] {
        assert!(name::check(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn an_unknown_command_of_any_length_is_a_packet() {
    let line = [b"7 ".as_slice(), &[b'X'; 200], b" data"].concat();
    let packet = Packet::parse(&line).unwrap();
    assert_eq!((packet.command.len(), packet.data), (200, Raw(b"data")));
}

#[test]
fn a_long_packet_in_small_pieces_is_scanned_once() {
    // One pass over 8 MiB takes milliseconds; a pass for each of its 8,192 pieces would look at 32 GiB.
    let piece = [b"~~".as_slice(), &[b'x'; 1022]].concat();
    let mut framer = Framer::default();
    let (mut buffer, mut start) = (Vec::new(), 0);
    let began = std::time::Instant::now();
    for _ in 0..8_192 {
        buffer.extend_from_slice(&piece);
        assert_eq!(framer.next(&buffer, &mut start), None);
    }
    buffer.push(b'\n');
    assert_eq!(framer.next(&buffer, &mut start).map(<[u8]>::len), Some(8 << 20));
    assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}", began.elapsed());
}
