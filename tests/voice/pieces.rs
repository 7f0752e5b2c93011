//! Requests in pieces, with too much behind them, and with too little.

use std::io::Read;
use std::io::Write;
use std::net::Shutdown;
use std::time::Duration;
use std::time::Instant;

use crate::beside;
use crate::kv;
use crate::kv::answer;
use crate::kv::channels;
use crate::kv::connect;
use crate::kv::failure;
use crate::kv::number;
use crate::kv::padded;
use crate::kv::send;
use crate::kv::send_and_end;
use crate::kv::user;
use crate::kv::Key;
use crate::kv::CREATE;
use crate::kv::DELETE;
use crate::kv::GET_PORT;
use crate::kv::JOIN;
use crate::kv::LEAVE;
use crate::kv::REGISTER;
use crate::kv::TOO_FEW;
use crate::kv::UNREGISTER;
use crate::server;

/// The same bytes, cut before each of these places.
#[track_caller]
fn in_pieces(at: &str, bytes: &[u8], cuts: &[usize]) -> Vec<u8> {
    let mut tcp = connect(at);
    let mut sent = 0;
    for cut in cuts.iter().copied().filter(|cut| (1..bytes.len()).contains(cut)).chain([bytes.len()]) {
        tcp.write_all(&bytes[sent..cut]).expect("sent");
        sent = cut;
    }
    answer(tcp)
}

#[test]
fn cut_at_every_byte() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let mut every: Vec<Vec<usize>> = (1..36).map(|cut| vec![cut]).collect();
    every.push((1..36).collect());
    every.push((1..36).step_by(3).collect());
    for cuts in &every {
        // As the original client does, and without a byte too much.
        for length in [Some(36), None] {
            let ask = |kind: u32, fields: &[u64]| {
                let mut bytes = kv::request(kind, fields);
                bytes.resize(length.unwrap_or(bytes.len()), 0);
                in_pieces(at, &bytes, cuts)
            };
            let uid = number(&ask(REGISTER, &[0, 0]));
            let chid = number(&ask(CREATE, &[uid]));
            assert_eq!(ask(kv::GET_CHANNELS, &[]), [1, chid, 0].map(u64::to_be_bytes).concat());
            let port = number(&ask(GET_PORT, &[chid]));
            assert_eq!(number(&ask(JOIN, &[uid, uid, chid])), port);
            assert_eq!(number(&ask(LEAVE, &[uid, uid, chid])), 1);
            assert_eq!(number(&ask(DELETE, &[uid, chid])), chid);
            assert_eq!(number(&ask(UNREGISTER, &[uid, uid])), uid);
        }
    }
}

#[test]
fn signed_and_cut_at_every_byte() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let mut key = Key::of(&server, "alice");
    let uid = key.register(at);
    let chid = number(&send(at, &key.sign(CREATE, &[uid])));
    for cut in 1..4 + 24 + 8 + 64 {
        let joined = in_pieces(at, &key.sign(JOIN, &[uid, uid, chid]), &[cut]);
        assert_eq!(joined.len(), 40, "{cut}: {joined:?}");
    }
    for cut in 1..4 + 16 + 32 + 8 + 64 {
        assert_eq!(number(&in_pieces(at, &key.sign(REGISTER, &[0, 0]), &[cut])), uid, "{cut}");
    }
    let all: Vec<usize> = (1..100).collect();
    assert_eq!(number(&in_pieces(at, &key.sign(LEAVE, &[uid, uid, chid]), &all)), 1);
    assert_eq!(number(&in_pieces(at, &key.sign(DELETE, &[uid, chid]), &all)), chid);
}

#[test]
fn too_few_bytes_are_an_error_and_change_nothing() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let mut key = Key::of(&server, "alice");
    let uid = key.register(at);
    let chid = number(&send(at, &key.sign(CREATE, &[uid])));
    let fields = [uid, chid, chid];
    for (kind, count) in (0..8).zip(kv::FIELDS) {
        let mut fields = fields[..count].to_vec();
        if kind == JOIN || kind == LEAVE {
            fields[1] = uid;
        }
        let (plain, signed) = (kv::request(kind, &fields), key.sign(kind, &fields));
        for whole in [plain, signed] {
            for length in 0..whole.len() {
                assert_eq!(send_and_end(at, &whole[..length]), failure(TOO_FEW), "{kind}: {length} of {}", whole.len());
            }
        }
    }
    assert_eq!(channels(at), [chid]);
    assert_eq!(number(&send_and_end(at, &padded(GET_PORT, &[chid]))), kv::done(at, GET_PORT, &[chid]));
}

#[test]
fn who_says_too_little_for_too_long_is_told_so() {
    // Nearly all of it is a wait, which is in nobody's way.
    let server = server();
    let at = &server.addr("voice_control");
    let began = Instant::now();
    let beginnings: Vec<_> = [0, 1, 4, 11]
        .iter()
        .map(|length| {
            let mut tcp = connect(at);
            tcp.write_all(&kv::request(CREATE, &[1])[..*length]).expect("sent");
            tcp
        })
        .collect();
    for tcp in beginnings {
        assert_eq!(answer(tcp), failure(TOO_FEW));
    }
    assert!(began.elapsed() > Duration::from_secs(8), "{:?}: a slow client had no time", began.elapsed());
}

#[test]
fn too_much_is_nothing_to_anybody() {
    let _beside = beside();
    let server = server();
    let at = &server.addr("voice_control");
    let uid = user(at);
    for more in [1, 20, 500, 2_000, 4_000] {
        let mut bytes = kv::request(CREATE, &[uid]);
        bytes.resize(12 + more, 0xA5);
        let chid = number(&send(at, &bytes));
        assert_eq!(channels(at), [chid], "one request, one answer");
        // A whole second request behind the first is not read as one.
        let twice = [kv::request(DELETE, &[uid, chid]), kv::request(CREATE, &[uid])].concat();
        assert_eq!(number(&send_and_end(at, &twice)), chid);
        assert!(channels(at).is_empty());
    }
    // Without end: the server does not read it all, and closes.
    let mut tcp = connect(at);
    tcp.write_all(&kv::request(kv::GET_CHANNELS, &[])).expect("sent");
    let chunk = vec![0x5A; 64 << 10];
    let mut sent = 0;
    while sent < 256 << 20 && tcp.write_all(&chunk).is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 << 20, "{sent} bytes were taken");
    let _ = tcp.shutdown(Shutdown::Both);
    // Who does not wait for the answer harms nobody.
    for _ in 0..50 {
        let mut tcp = connect(at);
        tcp.write_all(&padded(GET_PORT, &[1])).expect("sent");
        drop(tcp);
    }
    let mut tcp = connect(at);
    tcp.write_all(&padded(kv::GET_CHANNELS, &[])).expect("sent");
    let mut first = [0; 3];
    tcp.read_exact(&mut first).expect("some of the answer");
    assert_eq!(user(at) >> 32, (uid >> 32) + 1);
}
