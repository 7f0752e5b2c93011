//! What goes in steps: a removed account is gone at once, and what it had is deleted bit by bit.

use convergia::storage::accounts;
use convergia::storage::files;
use convergia::storage::mail;
use convergia::storage::metadata;
use convergia::storage::tend;
use convergia::storage::tree;
use convergia::storage::workspaces;
use convergia::storage::workspaces::Body;
use convergia::wire::Code;

use crate::block;
use crate::caller;
use crate::code;
use crate::database;
use crate::number;
use crate::path;
use crate::welcome;

#[test]
fn nothing_of_a_removed_account_is_found() {
    let db = database();
    let (alice, bob) = (welcome(&db, 1, "alice"), welcome(&db, 2, "bob"));
    let put = |at: &str, n: u8| {
        tree::create_file(&db, &alice, &path(at), 2).unwrap();
        files::write(&db, &alice, &path(at), 0, Some(&block(&db, n, 10)), 2).unwrap();
    };
    for folder in 0..5u8 {
        tree::create_folder(&db, &alice, &path(&format!("/users/alice/{folder}")), 2).unwrap();
        for n in 0..20 {
            put(&format!("/users/alice/{folder}/{n}"), folder * 20 + n);
        }
    }
    metadata::set(&db, &alice, "public-x", b"1").unwrap();
    workspaces::create(&db, &alice, "hers", std::slice::from_ref(&bob), 3).unwrap();
    workspaces::create(&db, &alice, "lonely", &[], 3).unwrap();
    workspaces::create(&db, &bob, "his", std::slice::from_ref(&alice), 3).unwrap();
    put("/workspaces/hers/f", 200);
    workspaces::post(&db, &bob, "his", Body::Here(b"wait"), 3).unwrap();
    let takes_part = |account: u64, name: &str| workspaces::takes_part(&db, account, name).map_err(|fail| fail.code);
    assert_eq!(takes_part(alice.account, "his"), Ok(bob.account));
    assert_eq!((takes_part(bob.account, "his"), takes_part(bob.account, "hers")), (Ok(bob.account), Ok(alice.account)));
    for (account, name) in [(bob.account, "lonely"), (alice.account, "none"), (99, "his"), (u64::MAX, "his")] {
        assert_eq!(takes_part(account, name), Err(Code::NotFound));
    }
    workspaces::ack(&db, &bob, "his", 1).unwrap();
    let used = |n| accounts::usage(&db, n).unwrap().used;
    assert_eq!(used(2), 4, "alice has not acknowledged it");
    mail::init(&db, &alice, &[1; 16], std::slice::from_ref(&bob), 3).unwrap();
    mail::init(&db, &alice, &[2; 16], std::slice::from_ref(&bob), 3).unwrap();
    mail::append(&db, &alice, &[2; 16], Some(&block(&db, 201, 9)), 3).unwrap();
    mail::send(&db, &alice, &[2; 16], 3).unwrap();
    mail::init(&db, &bob, &[3; 16], std::slice::from_ref(&alice), 3).unwrap();
    mail::append(&db, &bob, &[3; 16], Some(&block(&db, 202, 9)), 3).unwrap();
    mail::send(&db, &bob, &[3; 16], 3).unwrap();
    assert_eq!(used(2), 13);

    // A new account of the name says that the old one is gone.
    let other = caller(9, "Alice");
    assert!(accounts::welcome(&db, &other, 4).unwrap());
    assert!(!accounts::known(&db, 1).unwrap());
    assert_eq!(tree::list_folder(&db, &other, &path("/users/alice")).unwrap(), []);
    assert_eq!(metadata::list(&db, &bob, "alice").unwrap(), []);
    assert_eq!(code(metadata::get(&db, &other, "alice", "public-x")), Some(Code::NotFound));
    assert_eq!(code(tree::list_folder(&db, &alice, &path("/users/alice"))), Some(Code::Denied));
    assert_eq!(code(accounts::welcome(&db, &alice, 4)), Some(Code::Denied), "not again while it leaves");

    let mut steps = 0;
    while tend::step(&db, 10, 5).unwrap() {
        crate::model::consistent(&db);
        steps += 1;
    }
    assert!(steps > 10, "in steps, not all at once: {steps}");
    crate::model::consistent(&db);
    assert_eq!(used(2), 0, "nobody waits for her acknowledgement, and her mail is deleted");
    assert_eq!(number(&db, "SELECT count(*) FROM entries"), 1);
    assert_eq!(number(&db, "SELECT count(*) FROM blocks"), 2, "the file of the workspace and the message to bob");
    assert_eq!(mail::list(&db, &bob).unwrap()[0].sender, "alice", "what she sent is his");
    let left: Vec<String> = workspaces::list(&db, &bob).unwrap().into_iter().map(|w| w.name).collect();
    assert_eq!(left, ["hers", "his"]);
    let file = path("/workspaces/hers/f");
    assert_eq!(files::plan_read(&db, &bob, &file, 0, 99).unwrap().len(), 1);
    let more = files::write(&db, &bob, &file, 10, Some(&block(&db, 203, 9)), 9);
    assert_eq!(code(more), Some(Code::Quota), "nobody pays for more");
}

#[test]
fn messages_that_are_never_sent_go() {
    let db = database();
    let alice = welcome(&db, 1, "alice");
    for n in 0..3 {
        mail::init(&db, &alice, &[n; 16], std::slice::from_ref(&alice), 1_000 * u64::from(n)).unwrap();
    }
    while tend::step(&db, 10, mail::UNSENT_FOR).unwrap() {}
    assert_eq!(number(&db, "SELECT count(*) FROM messages"), 3);
    while tend::step(&db, 10, mail::UNSENT_FOR + 1_500).unwrap() {}
    assert_eq!(number(&db, "SELECT count(*) FROM messages"), 1);
    assert_eq!(accounts::usage(&db, 1).unwrap().items, 1);
}

#[test]
fn a_long_file_goes_in_steps_and_its_hash_with_it() {
    let db = database();
    let alice = welcome(&db, 1, "alice");
    let file = path("/users/alice/f");
    tree::create_file(&db, &alice, &file, 1).unwrap();
    for n in 0..200u8 {
        files::write(&db, &alice, &file, u64::from(n), Some(&block(&db, n, 1)), 2).unwrap();
    }
    let info = tree::info(&db, &alice, &file, &[]).unwrap();
    assert_eq!((info.hash, info.copies, info.size), (None, Some(0), 200));
    let hash = convergia::storage::Hash([7; 32]);
    assert!(files::set_hash(&db, info.object, info.version, &hash).unwrap());
    assert_eq!(tree::info(&db, &alice, &file, &[1]).unwrap().hash, Some(hash));
    files::truncate(&db, &alice, &file, 199, 3).unwrap();
    assert_eq!(tree::info(&db, &alice, &file, &[1]).unwrap().hash, None);
    assert!(!files::set_hash(&db, info.object, info.version, &hash).unwrap(), "that was before it changed");
    assert_eq!(code(files::hash_plan(&db, info.object, info.version, 0, 9)), Some(Code::NotFound));
    tree::delete_file(&db, &alice, &file, 4).unwrap();
    assert_eq!(accounts::usage(&db, 1).unwrap(), accounts::Usage { used: 0, quota: 10 << 30, items: 0 });
    assert_eq!(number(&db, "SELECT count(*) FROM extents"), 199);
    assert!(tend::step(&db, 50, 5).unwrap());
    assert_eq!(number(&db, "SELECT count(*) FROM extents"), 149);
    while tend::step(&db, 50, 5).unwrap() {}
    assert_eq!(number(&db, "SELECT count(*) FROM blocks"), 0);
    assert_eq!(number(&db, "SELECT count(*) FROM garbage"), 200);
}
