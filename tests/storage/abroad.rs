//! Messages from and to other realms, and what their users may do.

use convergia::storage::abroad;
use convergia::storage::abroad::After;
use convergia::storage::abroad::Errand;
use convergia::storage::accounts;
use convergia::storage::args::ADMINISTER;
use convergia::storage::args::READ;
use convergia::storage::args::WRITE;
use convergia::storage::files;
use convergia::storage::mail;
use convergia::storage::rights::Subject;
use convergia::storage::tend;
use convergia::storage::tree;
use convergia::storage::workspaces;
use convergia::storage::Caller;
use convergia::wire::Code;
use rusqlite::Connection;

use crate::block;
use crate::code;
use crate::database;
use crate::number;
use crate::path;
use crate::welcome;

const SOUTH: &str = "south.example:1";

fn sent(db: &Connection, id: u8, from: &Caller, to: &[Caller]) -> mail::Sent {
    mail::init(db, from, &[id; 16], to, 1).unwrap();
    mail::append(db, from, &[id; 16], Some(&block(db, id, 9)), 1).unwrap();
    mail::send(db, from, &[id; 16], 5).unwrap()
}

fn users(db: &Connection) -> Vec<String> {
    let user = |errand| match errand {
        Errand::Mail { user, .. } => user,
        Errand::Deleted { user, .. } => format!("-{user}"),
    };
    let all = abroad::errands(db, SOUTH, &After::default(), 9).unwrap();
    all.into_iter().map(user).collect()
}

#[test]
fn a_message_costs_its_sender_until_the_last_of_other_realms_has_deleted_it() {
    let db = database();
    let (alice, dave) = (welcome(&db, 1, "alice"), welcome(&db, 2, "dave"));
    let (bob, carol) = (Caller::foreign(SOUTH, "Bob"), Caller::foreign(SOUTH, "carol"));
    let sent = sent(&db, 7, &alice, &[bob.clone(), dave.clone(), carol.clone()]);
    assert_eq!((sent.recipients, sent.abroad.len()), (vec![2], 2));
    assert_eq!(
        (users(&db), abroad::realms(&db).unwrap()),
        (vec!["bob".to_owned(), "carol".to_owned()], vec![SOUTH.to_owned()])
    );
    let page = abroad::errands(&db, SOUTH, &After::default(), 1).unwrap();
    let Errand::Mail { message, user, sender, size, sent, .. } = &page[0] else { panic!("{page:?}") };
    assert_eq!((sender, *size, *sent), (&(1, "alice".to_owned()), 9, 5));
    assert_eq!(abroad::errands(&db, SOUTH, &(*message, user.clone()), 9).unwrap().len(), 1);
    abroad::told(&db, SOUTH, &page[0]).unwrap();
    assert_eq!(users(&db), ["carol"]);
    // Only those that it is for, of that realm; and nobody of another realm by the name of somebody here.
    let strangers = [("south.example:2", "bob"), (SOUTH, "alice"), (SOUTH, "dave"), ("a:1", "alice")];
    for (realm, user) in strangers {
        let who = Caller::foreign(realm, user);
        assert_eq!(code(mail::plan_read(&db, &who, &[7; 16], 0, 9)), Some(Code::NotFound), "{realm} {user}");
        assert_eq!(code(mail::delete(&db, &who, &[7; 16])), Some(Code::NotFound), "{realm} {user}");
    }
    assert_eq!(mail::plan_read(&db, &Caller::foreign(SOUTH, "BOB"), &[7; 16], 0, 9).unwrap().len(), 1);
    mail::delete(&db, &bob, &[7; 16]).unwrap();
    assert_eq!(code(mail::delete(&db, &bob, &[7; 16])), Some(Code::NotFound));
    mail::delete(&db, &dave, &[7; 16]).unwrap();
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 9);
    // Carol's realm says that there is no such user.
    assert!(!abroad::give_up(&db, &[7; 16], SOUTH, "bob").unwrap());
    assert!(abroad::give_up(&db, &[7; 16], SOUTH, "carol").unwrap());
    assert_eq!(accounts::usage(&db, 1).map(|usage| (usage.used, usage.items)).unwrap(), (0, 0));
    assert_eq!(number(&db, "SELECT count(*) FROM abroad") + number(&db, "SELECT count(*) FROM messages"), 0);
    assert!(abroad::realms(&db).unwrap().is_empty());
}

#[test]
fn a_pointer_comes_once_and_its_realm_hears_that_it_was_deleted() {
    let db = database();
    let (bob, alice) = (welcome(&db, 1, "Bob"), Caller::foreign(SOUTH, "alice"));
    let arrive = |id: u8| abroad::arrive(&db, &alice, &bob, &[id; 16], (9, u64::from(id)), 1);
    let message = arrive(3).unwrap().unwrap();
    assert_eq!(
        (message.name(), &message.sender[..]),
        (format!("{SOUTH}::{}", "03".repeat(16)), "south.example:1::alice")
    );
    assert_eq!(arrive(3).unwrap(), None);
    sent(&db, 2, &bob, std::slice::from_ref(&bob));
    arrive(9).unwrap().unwrap();
    let order: Vec<u64> = mail::list(&db, &bob).unwrap().iter().map(|message| message.sent).collect();
    assert_eq!(order, [3, 5, 9]);
    abroad::check(&db, &bob, SOUTH, &[3; 16]).unwrap();
    assert_eq!(code(abroad::check(&db, &bob, "south.example:2", &[3; 16])), Some(Code::NotFound));
    abroad::delete(&db, &bob, SOUTH, &[3; 16], 8).unwrap();
    assert_eq!(code(abroad::delete(&db, &bob, SOUTH, &[3; 16], 8)), Some(Code::NotFound));
    assert_eq!(users(&db), ["-bob"]);
    // It comes again, as its realm has not heard of that.
    assert_eq!(arrive(3).unwrap(), None);
    let told = abroad::errands(&db, SOUTH, &After::default(), 9).unwrap();
    abroad::told(&db, SOUTH, &told[0]).unwrap();
    abroad::lost(&db, 1, SOUTH, &[9; 16]).unwrap();
    assert_eq!(mail::list(&db, &bob).unwrap().len(), 1);
    // An account that goes: the other realm need not keep what was for it.
    arrive(10).unwrap().unwrap();
    accounts::remove(&db, 1).unwrap();
    while tend::step(&db, 3, 9).unwrap() {}
    assert_eq!((users(&db), number(&db, "SELECT count(*) FROM pointers")), (vec!["-bob".to_owned()], 0));
}

#[test]
fn one_realm_does_not_fill_an_inbox() {
    let db = database();
    let (bob, alice) = (welcome(&db, 1, "bob"), Caller::foreign(SOUTH, "alice"));
    let id = |n: u64| {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&n.to_be_bytes());
        id
    };
    for n in 0..abroad::MAX_OF_REALM {
        abroad::arrive(&db, &alice, &bob, &id(n), (1, 1), 1).unwrap();
    }
    let more = abroad::arrive(&db, &alice, &bob, &id(abroad::MAX_OF_REALM), (1, 1), 1);
    assert_eq!(code(more), Some(Code::Limit));
    assert!(abroad::arrive(&db, &Caller::foreign("other:1", "alice"), &bob, &id(0), (1, 1), 1).unwrap().is_some());
}

#[test]
fn users_of_other_realms_have_what_was_shared_with_them() {
    let db = database();
    let (alice, bob) = (welcome(&db, 1, "alice"), Caller::foreign(SOUTH, "Bob"));
    tree::create_folder(&db, &alice, &path("/users/alice/s"), 1).unwrap();
    tree::set_permissions(&db, &alice, &path("/users/alice"), &[(Subject::Everybody, READ | WRITE | ADMINISTER)], 1)
        .unwrap();
    let new = path("/users/alice/s/new");
    assert_eq!(code(tree::create_file(&db, &bob, &new, 2)), Some(Code::Denied));
    let share = |rights| {
        let list = [(Subject::Remote(format!("{SOUTH}::bob")), rights)];
        tree::set_permissions(&db, &alice, &path("/users/alice/s"), &list, 1).unwrap();
    };
    share(WRITE);
    tree::create_file(&db, &bob, &new, 2).unwrap();
    files::write(&db, &bob, &new, 0, Some(&block(&db, 1, 10)), 2).unwrap();
    assert_eq!(code(files::plan_read(&db, &bob, &new, 0, 9)), Some(Code::Denied));
    assert_eq!(accounts::usage(&db, 1).unwrap().used, 10);
    assert_eq!(tree::info(&db, &alice, &new, &[]).unwrap().owner.as_deref(), Some("alice"));
    accounts::set_quota(&db, 1, Some(15)).unwrap();
    assert_eq!(code(files::check_write(&db, &bob, &new, 10, 9)), Some(Code::Quota));
    share(READ);
    assert_eq!(files::plan_read(&db, &bob, &new, 0, 9).unwrap().len(), 1);
    assert_eq!(code(files::truncate(&db, &bob, &new, 0, 9)), Some(Code::Denied));
    for folder in ["/users", "/workspaces"] {
        assert!(tree::list_folder(&db, &bob, &path(folder)).unwrap().is_empty());
    }
    // In a workspace whose creator shares it, the creator pays for what is told of it too; without one nobody can do anything.
    accounts::set_quota(&db, 1, None).unwrap();
    let carol = welcome(&db, 2, "carol");
    workspaces::create(&db, &alice, "team", &[carol], 1).unwrap();
    let team = path("/workspaces/team");
    tree::set_permissions(&db, &alice, &team, &[(Subject::Remote(format!("{SOUTH}::bob")), READ | WRITE)], 1).unwrap();
    let posted = tree::create_file(&db, &bob, &path("/workspaces/team/f"), 2).unwrap();
    assert_eq!(posted[0].author, format!("{SOUTH}::Bob"));
    assert_eq!(code(workspaces::read(&db, &bob, "team", 0, 9)), Some(Code::NotFound));
    accounts::remove(&db, 1).unwrap();
    while tend::step(&db, 9, 9).unwrap() {}
    assert_eq!(number(&db, "SELECT creator FROM workspaces"), 0);
    assert_eq!(code(tree::create_file(&db, &bob, &path("/workspaces/team/g"), 2)), Some(Code::Quota));
    let stranger = Caller::foreign(SOUTH, "eve");
    assert_eq!(code(tree::create_file(&db, &stranger, &path("/workspaces/team/g"), 2)), Some(Code::Denied));
}
