use proptest::prelude::*;

use super::packet::Items;
use super::packet::Results;
use super::packet::Routed;
use super::*;
use crate::wire::Code;
use crate::wire::Raw;

fn wire(relay: &Relay, what: &[u8], items: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    relay.put(&mut out);
    out.extend_from_slice(b"|tag~\n");
    out.extend_from_slice(what);
    out.extend_from_slice(b"~\n");
    out.extend_from_slice(items);
    out
}

#[test]
fn a_relay_reads_back_and_its_tag_covers_all_but_the_hops() {
    let relay = Relay {
        ttl: 16,
        dest: "c~1".into(),
        boot: 5,
        origin: "a b".into(),
        stream: 9,
        first: 1,
        acked: 0,
        version: u64::MAX,
    };
    let bytes = wire(&relay, b"m|alice|bob", b"5 he~\nlo2 xy");
    let routed = Routed::parse(Raw(&bytes)).unwrap();
    assert_eq!((routed.ttl, &*routed.dest), (16, "c~1"));
    let (read, what, items, signed) = Relay::parse(&routed).unwrap();
    assert_eq!(read, relay);
    assert_eq!((what.0, signed.tag), (&b"m|alice|bob"[..], &b"tag"[..]));
    let hops = Relay { ttl: 3, ..relay };
    let other = wire(&hops, b"m|alice|bob", b"5 he~\nlo2 xy");
    let other = Routed::parse(Raw(&other)).unwrap();
    assert_eq!(Relay::parse(&other).unwrap().3.head, signed.head);
    assert_eq!(items.0, b"5 he~\nlo2 xy");
}

#[test]
fn items_are_whole_or_refused() {
    let all: Result<Vec<_>, _> = Items(b"0 3 a b2 ~~").collect();
    assert_eq!(all.unwrap(), [&b""[..], b"a b", b"~~"]);
    for bad in [&b"3 ab"[..], b"x", b"1", b"99999999999999999999999 a", b"2 a~", b"1 ~1 \n", b" a", b"-1 a"] {
        let all: Result<Vec<_>, _> = Items(bad).collect();
        assert!(all.is_err(), "{}", bad.escape_ascii());
    }
}

#[test]
fn no_results_of_a_stream_that_was_given_up() {
    let mut out: Outgoing<u8> = Outgoing::new(1);
    out.push(0, b"m", 1, b"7", b"x");
    out.send(0, |_| true);
    let mut lost = 0;
    out.give_up(2, |item| lost += item.id.len());
    assert_eq!((lost, out.number(), out.is_idle()), (1, 2, true));
    out.done(0, 1, &[], |_| panic!("of the old stream"));
    let mut inc = Incoming::default();
    assert_eq!(inc.offer(2, 1, 1, 0), Taken::Items { skip: 0 });
    inc.take(None);
    assert_eq!(inc.offer(1, 1, 1, 0), Taken::Nothing, "it is over");
    assert_eq!(inc.offer(3, 2, 1, 1), Taken::Nothing);
    assert!(inc.report(1, "a", "b", 0).unwrap().0.gap, "its beginning is still on the way");
}

#[test]
fn what_is_open_is_not_acknowledged() {
    let mut inc = Incoming::default();
    assert_eq!(inc.offer(1, 1, 3, 0), Taken::Items { skip: 0 });
    inc.take(None);
    let second = inc.take(Some(Outcome::Fail(Code::Busy, "full".into())));
    inc.open(second);
    inc.take(None);
    let (head, results) = inc.report(1, "a", "b", 0).unwrap();
    assert_eq!((head.upto, results.len()), (1, 0));
    assert!(inc.report(1, "a", "b", 0).is_none(), "nothing new");
    assert!(inc.close(second, None) && !inc.close(second, None));
    let (head, results) = inc.report(1, "a", "b", 0).unwrap();
    assert_eq!((head.upto, results.len()), (3, 1));
    let fail = |text: &str| Some(Outcome::Fail(Code::Offline, text.into()));
    assert_eq!(inc.offer(1, 4, 3, 1), Taken::Items { skip: 0 });
    inc.take(None);
    inc.open(4);
    inc.take(fail("five"));
    inc.take(None);
    inc.open(6);
    inc.close(6, fail("six"));
    inc.close(4, fail("four"));
    let (head, results) = inc.report(1, "a", "b", 0).unwrap();
    let numbers: Vec<u64> = results.iter().map(|(number, _)| *number).collect();
    assert_eq!((head.upto, numbers), (6, vec![2, 4, 5, 6]), "in the order of numbers, whenever they came");
}

/// A packet on the way: number, first, count, acked, items.
type Sent = (u64, u64, u64, u64, Vec<u8>);

proptest! {
    /// Whatever is lost, doubled or overtaken on the way, every item comes out once and in order, and its result goes to who asked.
    #[test]
    fn nothing_is_lost_doubled_or_reordered(steps in proptest::collection::vec(0u8..10, 1..400)) {
        let mut out: Outgoing<u8> = Outgoing::new(1);
        let mut inc = Incoming::default();
        let (mut there, mut back): (Vec<Sent>, Vec<(u64, Results, bool)>) = (Vec::new(), Vec::new());
        let (mut pushed, mut got, mut answered, mut now) = (0u32, Vec::new(), Vec::new(), 0u64);
        let deliver = |inc: &mut Incoming, sent: Sent, got: &mut Vec<u32>| {
            let (number, first, count, acked, items) = sent;
            let Taken::Items { skip } = inc.offer(number, first, count, acked) else { return };
            for item in Items(&items).skip(skip as usize) {
                let value: u32 = std::str::from_utf8(item.unwrap()).unwrap().parse().unwrap();
                got.push(value);
                inc.take(value.is_multiple_of(3).then(|| Outcome::Fail(Code::Busy, "full".into())));
            }
        };
        let read = |out: &mut Outgoing<u8>, now, (upto, results, gap): (u64, Vec<(u64, Outcome)>, bool), answered: &mut Vec<(u32, bool)>| {
            // Those of one asker are told all at once where all of a batch succeeded.
            out.succeeded(now, upto, &results, |who, count, ids| {
                let (mut rest, mut told) = (ids, 0);
                while let Some((length, more)) = rest.split_first().filter(|_| *who == 0) {
                    let (id, more) = more.split_at(usize::from(*length));
                    answered.push((std::str::from_utf8(id).unwrap().parse::<u32>().unwrap(), true));
                    (rest, told) = (more, told + 1);
                }
                assert!(*who != 0 || told == count);
                *who == 0
            });
            out.done(now, upto, &results, |item| {
                let value = std::str::from_utf8(item.item).unwrap().parse::<u32>().unwrap();
                answered.push((value, item.outcome.is_none()));
            });
            if gap { out.gap(now); }
        };
        for step in steps.into_iter().chain(std::iter::repeat_n(10, 200)) {
            now += 60;
            match step {
                0..=3 => {
                    out.push(0, if pushed % 7 == 0 { b"a" } else { b"b" }, (pushed / 5 % 2) as u8, pushed.to_string().as_bytes(), pushed.to_string().as_bytes());
                    pushed += 1;
                }
                4 => { there.pop(); }
                5 => { back.pop(); }
                6 => there.reverse(),
                7 => { let copy = there.clone(); there.extend(copy); there.truncate(100); }
                8 => { if let Some(sent) = there.first().cloned() { deliver(&mut inc, sent, &mut got); } }
                9 => out.rewind(),
                _ => {
                    if out.is_stuck(now) {
                        out.rewind();
                    }
                    for sent in there.drain(..) { deliver(&mut inc, sent, &mut got); }
                    if let Some((head, results)) = inc.report(1, "a", "b", 0) {
                        back.push((head.upto, results.into_iter().cloned().collect(), head.gap));
                    }
                    for report in back.drain(..) { read(&mut out, now, report, &mut answered); }
                }
            }
            let (number, acked) = (out.number(), out.acked());
            out.send(now, |batch| { there.push((number, batch.first, batch.count, acked, batch.items.clone())); true });
            if let Some((head, results)) = inc.report(1, "a", "b", 0).filter(|_| step % 2 == 0) {
                back.push((head.upto, results.into_iter().cloned().collect(), head.gap));
            }
        }
        prop_assert_eq!(&got, &(0..pushed).collect::<Vec<_>>());
        prop_assert_eq!(answered, (0..pushed).map(|n| (n, n % 3 != 0)).collect::<Vec<_>>());
        prop_assert!(out.is_idle());
    }
}

#[test]
fn what_was_never_sent_begins_anew_with_another_start() {
    let mut out: Outgoing<u32> = Outgoing::new(1);
    for n in 0..5u8 {
        out.push(0, b"m", 7, b"", &[b'a' + n]);
    }
    out.send(0, |_| true);
    out.done(0, 5, &[], |_| {});
    out.push(0, b"m", 7, b"x", b"f");
    out.push(0, b"n", 7, b"y", b"g");
    out.begin_anew(2);
    let mut seen = Vec::new();
    out.send(0, |batch| {
        seen.push((batch.first, batch.count));
        true
    });
    assert_eq!((out.number(), out.last(), seen), (2, 2, vec![(1, 1), (2, 1)]));
    let mut done = Vec::new();
    out.done(0, 2, &[], |item| done.push(item.item.to_vec()));
    assert_eq!(done, [b"f".to_vec(), b"g".to_vec()]);
    assert!(out.is_idle());
}
