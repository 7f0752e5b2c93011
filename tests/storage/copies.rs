//! Where blocks are: too few, too many, garbage, and servers that come and go.

use convergia::storage::accounts;
use convergia::storage::copies;
use convergia::storage::copies::Cursor;
use convergia::storage::copies::Live;
use convergia::storage::files;
use convergia::storage::tree;
use convergia::storage::Hash;
use convergia::storage::Placed;
use rusqlite::Connection;

use crate::database;
use crate::path;
use crate::welcome;

fn live(servers: &[(u32, bool)]) -> Vec<Live> {
    servers.iter().map(|(server, volatile)| Live { server: *server, volatile: *volatile }).collect()
}

fn put(db: &Connection, name: &str, n: u8, on: &[u32]) {
    let alice = welcome(db, 1, "alice");
    let file = path(&format!("/users/alice/{name}"));
    tree::create_file(db, &alice, &file, 1).unwrap();
    let placed =
        Placed { hash: Hash([n; 32]), size: 10, copies: on.iter().map(|no| (*no, 100 + u64::from(n))).collect() };
    files::write(db, &alice, &file, 0, Some(&placed), 1).unwrap();
}

fn servers(db: &Connection, count: u32) {
    for n in 1..=count {
        assert_eq!(copies::server(db, &format!("d{n}")).unwrap(), n);
        assert_eq!(copies::server(db, &format!("d{n}")).unwrap(), n);
    }
}

fn names(db: &Connection, live: &[Live], page: u64) -> Vec<u8> {
    let (mut names, mut after) = (Vec::new(), Cursor::default());
    loop {
        let found = copies::short(db, live, after, page).unwrap();
        names.extend(found.rows.iter().map(|block| block.hash.0[0]));
        match found.next {
            Some(next) => after = next,
            None => break,
        }
    }
    names.sort_unstable();
    names
}

#[test]
fn too_few_and_too_many() {
    let db = database();
    servers(&db, 5);
    // 1 to 4 may lose what they have, 5 keeps it.
    let all = live(&[(1, true), (2, true), (3, true), (4, true), (5, false)]);
    for (n, on) in [(1, &[1, 2, 3][..]), (2, &[2, 3, 4]), (3, &[5]), (4, &[4, 1, 5]), (5, &[1, 2, 3])] {
        put(&db, &n.to_string(), n, on);
    }
    assert_eq!(names(&db, &all, 10), [0u8; 0]);
    for page in [1, 2, 10] {
        assert_eq!(names(&db, &all[1..], page), [1, 5], "without server 1");
    }
    assert_eq!(names(&db, &all[..4], 10), [4], "without server 5; block 3 cannot be copied from anywhere");
    let health = copies::health(&db, &all[..4]).unwrap();
    assert_eq!((health.blocks, health.bytes, health.short, health.lost, health.surplus), (5, 50, 1, 1, 0));
    let surplus = copies::surplus(&db, &all, Cursor::default(), 10).unwrap().rows;
    assert_eq!(surplus.len(), 1);
    assert_eq!(surplus[0].copies.iter().map(|(no, _)| *no).collect::<Vec<_>>(), [1, 4], "one that keeps it is enough");

    assert!(copies::add(&db, &Hash([1; 32]), 4, 777).unwrap());
    assert_eq!(names(&db, &all[1..], 10), [5], "repaired");
    let surplus = copies::surplus(&db, &all, Cursor::default(), 10).unwrap().rows;
    let one = surplus.iter().find(|block| block.hash.0 == [1; 32]).unwrap();
    assert_eq!(one.copies.len(), 1, "three stay");
    let (server, seq) = one.copies[0];
    assert!(copies::drop_copy(&db, &one.hash, server, seq, true).unwrap());
    assert!(!copies::drop_copy(&db, &one.hash, server, seq, true).unwrap());
    assert_eq!(copies::garbage(&db, server, 10).unwrap(), [(one.hash, seq)]);
    // A later put is not the copy that was meant.
    assert!(!copies::drop_copy(&db, &Hash([2; 32]), 2, 101, true).unwrap());
    assert!(!copies::add(&db, &Hash([99; 32]), 2, 5).unwrap());
    assert_eq!(copies::garbage(&db, 2, 1).unwrap().len(), 1, "a copy of no block is garbage");
    assert_eq!(copies::held(&db, 5).unwrap(), (2, 20));
    crate::model::consistent(&db);

    while copies::forget(&db, 1, 1).unwrap() {
        crate::model::consistent(&db);
    }
    assert_eq!(copies::held(&db, 1).unwrap(), (0, 0));
    assert!(!copies::servers(&db).unwrap().iter().any(|(no, _)| *no == 1));
    assert_eq!(copies::server(&db, "d1").unwrap(), 6, "a number is never used again");
}

#[test]
fn garbage_is_of_one_put() {
    let db = database();
    servers(&db, 2);
    put(&db, "a", 1, &[1]);
    let hash = Hash([1; 32]);
    let again = |seq| Placed { hash, size: 10, copies: vec![(1, seq), (2, seq)] };
    copies::unused(&db, &again(150)).unwrap();
    assert_eq!(copies::garbage(&db, 1, 9).unwrap(), [], "what a file needs is not garbage");
    assert_eq!(copies::garbage(&db, 2, 9).unwrap(), [(hash, 150)]);
    assert_eq!(copies::find(&db, &hash).unwrap().unwrap().copies, [(1, 150)], "the server has it of the later put");

    let alice = welcome(&db, 1, "alice");
    tree::delete_file(&db, &alice, &path("/users/alice/a"), 2).unwrap();
    assert_eq!(copies::find(&db, &hash).unwrap(), None);
    assert_eq!(copies::garbage(&db, 1, 9).unwrap(), [(hash, 150)]);
    // It is put again while it waits to be deleted.
    put(&db, "b", 1, &[1]);
    assert_eq!(copies::garbage(&db, 1, 9).unwrap(), []);
    copies::garbage_gone(&db, 2, &[(hash, 149)]).unwrap();
    assert_eq!(copies::garbage(&db, 2, 9).unwrap().len(), 1, "of a later put");
    copies::garbage_gone(&db, 2, &[(hash, 150)]).unwrap();
    assert_eq!(copies::garbage(&db, 2, 9).unwrap(), []);
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 10);
}

#[test]
fn a_copy_is_of_another_put_than_was_known() {
    let db = database();
    servers(&db, 2);
    put(&db, "a", 1, &[1]);
    let hash = Hash([1; 32]);
    let (server, was) = copies::find(&db, &hash).unwrap().unwrap().copies[0];
    // Whether later or, from a backup, earlier.
    for (from, to) in [(was, was + 50), (was + 50, 3)] {
        copies::renumber(&db, &hash, server, from + 1, 9_999).unwrap();
        copies::renumber(&db, &hash, 2, from, 9_999).unwrap();
        copies::renumber(&db, &hash, server, from, to).unwrap();
        assert_eq!(copies::find(&db, &hash).unwrap().unwrap().copies, [(server, to)]);
        crate::model::consistent(&db);
    }
    // It was deleted meanwhile.
    let alice = welcome(&db, 1, "alice");
    tree::delete_file(&db, &alice, &path("/users/alice/a"), 2).unwrap();
    copies::renumber(&db, &hash, server, 3, 8).unwrap();
    assert_eq!(copies::garbage(&db, server, 9).unwrap(), [(hash, 8)]);
}

#[test]
fn placements_by_hash() {
    let db = database();
    servers(&db, 2);
    for n in 1..=60 {
        put(&db, &n.to_string(), n, &[1 + u32::from(n % 20 == 0)]);
    }
    for (count, until, expected) in [(1, None, 3), (2, None, 3), (100, None, 3), (1, Some(Hash([40; 32])), 2)] {
        let (mut found, mut after, mut calls) = (Vec::new(), None, 0);
        loop {
            let page = copies::placements(&db, 2, after.as_ref(), until.as_ref(), count).unwrap();
            assert!(page.rows.len() as u64 <= count);
            found.extend(page.rows.iter().map(|(hash, seq)| (hash.0[0], *seq)));
            calls += 1;
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, [(20, 120), (40, 140), (60, 160)][..expected]);
        assert!(count > 2 || calls > 2, "a call looks at a bounded number of blocks");
    }
}
