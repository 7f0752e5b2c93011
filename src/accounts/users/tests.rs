use proptest::prelude::*;

use super::*;
use crate::accounts::keyring;
use crate::accounts::tokens;

/// A database with the schema, and foreign keys enforced as the servers do.
pub(in crate::accounts) fn database() -> Connection {
    let conn = Connection::open_in_memory().unwrap();
    conn.pragma_update(None, "foreign_keys", true).unwrap();
    conn.execute_batch(SCHEMA).unwrap();
    conn.execute_batch(SCHEMA_QUOTA).unwrap();
    conn
}

#[test]
fn made_found_and_listed() {
    let conn = database();
    assert_eq!(count(&conn).unwrap(), 0);
    let bob = create(&conn, "Bob", "$phc", 5).unwrap();
    create(&conn, "alice", "$phc", 6).unwrap();
    let user = find(&conn, "bOB").unwrap().unwrap();
    assert_eq!((user.id, user.name.as_str(), user.created), (bob, "Bob", 5));
    assert_eq!((user.state, user.admin, user.password.as_str()), (State::Active, false, "$phc"));
    assert_eq!(get(&conn, bob).unwrap(), Some(user));
    assert!(find(&conn, "carol").unwrap().is_none());
    let names = |after, limit| list(&conn, after, limit).unwrap().into_iter().map(|u| u.name).collect::<Vec<_>>();
    assert_eq!(names("", 10), ["alice", "Bob"]);
    assert_eq!(names("Alice", 10), ["Bob"]);
    assert_eq!(names("", 1), ["alice"]);
    assert_eq!(count(&conn).unwrap(), 2);
}

#[test]
fn one_account_a_name() {
    let conn = database();
    create(&conn, "Åsa", "x", 0).unwrap();
    for taken in ["Åsa", "ÅSA", "åsa"] {
        assert_eq!(create(&conn, taken, "y", 1).unwrap_err().code, Code::Exists);
    }
    assert_eq!(find(&conn, "åsa").unwrap().unwrap().password, "x");
    for bad in ["", "a b", "a|b", "a/b", "."] {
        assert_eq!(create(&conn, bad, "x", 0).unwrap_err().code, Code::BadArgs);
    }
}

#[test]
fn changed() {
    let conn = database();
    let id = create(&conn, "alice", "x", 0).unwrap();
    set_state(&conn, id, State::Disabled).unwrap();
    set_admin(&conn, id, true).unwrap();
    let token = tokens::issue(&conn, id, 0, 30).unwrap();
    set_password(&conn, id, "y").unwrap();
    let user = get(&conn, id).unwrap().unwrap();
    assert_eq!((user.state, user.admin, user.password.as_str()), (State::Disabled, true, "y"));
    set_state(&conn, id, State::Active).unwrap();
    assert!(tokens::check(&conn, "alice", &token, 1).unwrap().is_none(), "a new password revokes tokens");
    let nobody = UserId(99);
    assert_eq!(set_state(&conn, nobody, State::Active).unwrap_err().code, Code::NotFound);
    assert_eq!(set_admin(&conn, nobody, true).unwrap_err().code, Code::NotFound);
    assert_eq!(set_password(&conn, nobody, "x").unwrap_err().code, Code::NotFound);
    assert_eq!(delete(&conn, nobody).unwrap_err().code, Code::NotFound);
}

#[test]
fn deleted_and_its_number_not_used_again() {
    let conn = database();
    let first = create(&conn, "alice", "x", 0).unwrap();
    let token = tokens::issue(&conn, first, 0, 30).unwrap();
    keyring::add(&conn, first, "laptop", &[1; 32], 0).unwrap();
    delete(&conn, first).unwrap();
    assert!(find(&conn, "alice").unwrap().is_none());
    let second = create(&conn, "alice", "x", 0).unwrap();
    assert!(second > first);
    assert!(tokens::check(&conn, "alice", &token, 1).unwrap().is_none());
    assert!(keyring::list(&conn, second).unwrap().is_empty());
}

#[test]
fn a_broken_database_is_internal() {
    let conn = Connection::open_in_memory().unwrap();
    let fail = find(&conn, "alice").unwrap_err();
    assert_eq!(fail.code, Code::Internal);
    assert!(!fail.text.contains("users") && !fail.text.contains("SELECT"));
}

#[test]
fn the_hash_is_not_printed() {
    let conn = database();
    let id = create(&conn, "alice", "$argon2id$", 0).unwrap();
    assert!(!format!("{:?}", get(&conn, id).unwrap()).contains("argon2"));
}

proptest! {
    #[test]
    fn folding_twice_is_folding_once(name in "\\PC{0,20}") {
        let once = name::fold(&name).into_owned();
        prop_assert_eq!(name::fold(&once), once.as_str());
    }

    #[test]
    fn other_case_is_the_same_account(typed in "[a-zA-Zåäöéßñçøœ名前0-9]{1,10}") {
        let conn = database();
        let id = create(&conn, &typed, "x", 0).unwrap();
        prop_assert_eq!(create(&conn, &typed.to_lowercase(), "x", 0).unwrap_err().code, Code::Exists);
        prop_assert_eq!(find(&conn, &typed.to_lowercase()).unwrap().map(|u| u.id), Some(id));
    }
}
