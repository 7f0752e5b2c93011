//! The checker finds each kind of mistake: a test that cannot fail shows nothing.

use std::panic::catch_unwind;
use std::panic::AssertUnwindSafe;

use convergia::wire::Code;

use crate::support::Checker;

/// What `check` complains of; empty: nothing.
fn complaint(checker: &Checker, pairs: &[(&str, &str)]) -> String {
    match catch_unwind(AssertUnwindSafe(|| checker.check(pairs))) {
        Ok(()) => String::new(),
        Err(what) => what.downcast_ref::<String>().expect("words").clone(),
    }
}

/// A checker with messages 0 to 2 from alice to bob.
fn three() -> (Checker, Vec<Vec<u8>>) {
    let checker = Checker::default();
    let bodies = (0..3).map(|_| checker.next("alice", "bob", 0).1).collect();
    (checker, bodies)
}

fn answer(checker: &Checker, answers: [Result<(), Code>; 3]) {
    for (number, answer) in answers.into_iter().enumerate() {
        checker.answered("alice", "bob", number, answer);
    }
}

#[test]
fn all_there_in_order_is_fine() {
    let (checker, bodies) = three();
    bodies.iter().for_each(|body| checker.arrived("bob", "alice", body));
    answer(&checker, [Ok(()); 3]);
    assert_eq!(complaint(&checker, &[("alice", "bob")]), "");
    assert!(complaint(&checker, &[("bob", "alice")]).contains("nothing got through"));
}

#[test]
fn what_was_refused_or_unknown_need_not_arrive() {
    let (checker, bodies) = three();
    answer(&checker, [Err(Code::Busy), Err(Code::Unavailable), Err(Code::Unavailable)]);
    checker.arrived("bob", "alice", &bodies[2]);
    assert_eq!(complaint(&checker, &[]), "");
}

#[test]
fn a_loss_is_found() {
    let (checker, bodies) = three();
    answer(&checker, [Ok(()); 3]);
    checker.arrived("bob", "alice", &bodies[0]);
    checker.arrived("bob", "alice", &bodies[2]);
    assert!(complaint(&checker, &[]).contains("1 lost, 0 not answered; the first is 1"));
    checker.forgive("bob");
    assert_eq!(complaint(&checker, &[]), "");
}

#[test]
fn a_missing_answer_is_found() {
    let (checker, _) = three();
    checker.answered("alice", "bob", 0, Err(Code::Busy));
    assert!(complaint(&checker, &[]).contains("0 lost, 2 not answered; the first is 1"));
}

#[test]
fn a_double_is_found() {
    let (checker, bodies) = three();
    checker.arrived("bob", "alice", &bodies[1]);
    checker.arrived("bob", "alice", &bodies[1]);
    answer(&checker, [Err(Code::Busy), Ok(()), Err(Code::Busy)]);
    assert!(complaint(&checker, &[]).contains("1 came twice"));
}

#[test]
fn a_wrong_order_is_found() {
    let (checker, bodies) = three();
    for number in [0, 2, 1] {
        checker.arrived("bob", "alice", &bodies[number]);
    }
    answer(&checker, [Ok(()); 3]);
    assert!(complaint(&checker, &[]).contains("1 came after 2"));
}

#[test]
fn what_arrives_although_it_was_refused_is_found() {
    for arrives_first in [false, true] {
        let (checker, bodies) = three();
        if arrives_first {
            checker.arrived("bob", "alice", &bodies[0]);
        }
        answer(&checker, [Err(Code::Offline); 3]);
        if !arrives_first {
            checker.arrived("bob", "alice", &bodies[0]);
        }
        assert!(complaint(&checker, &[]).contains("refused"));
    }
}

#[test]
fn what_is_for_someone_else_is_found() {
    let (checker, bodies) = three();
    checker.arrived("carol", "alice", &bodies[0]);
    checker.arrived("bob", "mallory", &bodies[0]);
    checker.arrived("bob", "alice", b"alice>bob#7.");
    answer(&checker, [Err(Code::Unavailable); 3]);
    let complaint = complaint(&checker, &[]);
    assert_eq!(complaint.matches("of someone else").count(), 2, "{complaint}");
    assert!(complaint.contains("7 was not sent"), "{complaint}");
}
