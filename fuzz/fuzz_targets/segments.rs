//! Fuzzes the scanner of segment files: whatever a disk holds, it ends, what it finds lies in the file, in order and apart,
//! and what was written is found between any other bytes.
//!
//! The input is a plan: each byte says what comes next in the file, a record or bytes of the input as they stand; the first says
//! where it is cut.

#![no_main]

extern crate wire;

#[path = "../../src/blocks/hash.rs"]
mod hash;
#[path = "../../src/blocks/record.rs"]
mod record;

use libfuzzer_sys::fuzz_target;
use record::Header;
use record::Key;
use record::Kind;
use record::Scanner;
use record::Spot;

const KEY: Key = Key([3; 32]);
const SEGMENT: u32 = 9;

fuzz_target!(|input: &[u8]| {
    let Some((cut, plan)) = input.split_first() else { return };
    scan(input);
    let (file, written) = build(plan);
    let found = scan(&file);
    let there: Vec<(u64, u64)> = found.iter().map(|(offset, header, _)| (*offset, header.seq)).collect();
    // No bytes of the input pass for a record: the check is keyed.
    assert_eq!(there, written);
    assert!(found.iter().all(|(.., whole)| *whole));
    let end = file.len().saturating_sub(usize::from(*cut));
    let short = scan(&file[..end]);
    for (offset, header, whole) in &short {
        assert!(written.contains(&(*offset, header.seq)));
        let data = record::HEADER as u64 + u64::from(header.length);
        assert!(header.kind != Kind::Block || *whole == (offset + data <= end as u64));
    }
    let fits = written.iter().filter(|(offset, _)| offset + record::HEADER as u64 <= end as u64).count();
    assert_eq!(short.len(), fits);
});

fn scan(file: &[u8]) -> Vec<(u64, Header, bool)> {
    let mut scanner = Scanner::new(file, KEY, SEGMENT, 0, file.len() as u64);
    let (mut found, mut end) = (Vec::new(), 0);
    while let Some(record) = scanner.find_next().expect("memory") {
        assert!(record.offset >= end && record.offset % record::ALIGN == 0);
        assert!(record.offset + record::HEADER as u64 <= file.len() as u64);
        if record.header.kind == Kind::Block && record.whole {
            assert_eq!(hash::Hash::of(scanner.data()), record.header.hash);
        }
        end = record.offset + record.header.span();
        found.push((record.offset, record.header, record.whole));
    }
    found
}

/// A file, and the offset and seq of each record in it.
fn build(mut plan: &[u8]) -> (Vec<u8>, Vec<(u64, u64)>) {
    let (mut file, mut written) = (Vec::new(), Vec::new());
    while let Some((step, rest)) = plan.split_first() {
        let (data, rest) = rest.split_at(rest.len().min(usize::from(step >> 2)));
        plan = rest;
        let kind = match (step & 3, data.is_empty()) {
            (0, _) => {
                file.extend_from_slice(data);
                file.resize(file.len().next_multiple_of(64), 0);
                continue;
            }
            (1, false) => Kind::Block,
            (2, false) => Kind::Gone,
            _ => Kind::Again,
        };
        let data = if kind == Kind::Again { &[] } else { data };
        let spot = Spot { segment: SEGMENT, offset: file.len() as u64 };
        let seq = written.len() as u64;
        let header = Header { kind, length: data.len() as u32, seq, hash: hash::Hash::of(data) };
        written.push((spot.offset, seq));
        file.extend_from_slice(&header.encode(&KEY, spot));
        file.extend_from_slice(data);
        file.resize(file.len().next_multiple_of(64), 0);
    }
    (file, written)
}
