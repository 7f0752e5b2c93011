//! What it answers to messages for its own users.

use convergia::wire::Code;

use crate::rogue::server::Manner;
use crate::rogue::stage::resident;
use crate::rogue::stage::Stage;

#[test]
fn a_message_that_is_sent_round_and_round_comes_to_an_end() {
    let mut stage = Stage::new(21);
    stage.manner(Manner::SendsRound);
    let before = resident();
    let body = "x".repeat(100_000);
    let answers: Vec<_> = (0..50).map(|_| stage.net.send(stage.alice, "mallory", &body)).collect();
    for _ in 0..20 {
        stage.talk(5);
        stage.net.sim.run_for(1_000);
    }
    for answer in answers {
        let code = answer.try_recv().expect("an answer").expect_err("it went nowhere").code;
        assert!([Code::Offline, Code::Busy].contains(&code), "{code:?}");
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 400, "{grown} MiB");
    stage.assert_undisturbed();
}

#[test]
fn a_server_that_acknowledges_nothing_is_given_up() {
    let mut stage = Stage::new(22);
    let body = "x".repeat(200_000);
    let mut answers: Vec<_> = (0..150).map(|_| stage.net.send(stage.alice, "mallory", &body)).collect();
    stage.net.sim.run_for(1_000);
    answers.push(stage.net.send(stage.alice, "mallory", &body));
    stage.net.sim.run_for(1_000);
    let codes: Vec<_> =
        answers.iter().filter_map(|answer| answer.try_recv().ok()).map(|answer| answer.unwrap_err().code).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == Code::Busy), "{codes:?}");
    stage.minute();
    let codes: Vec<_> =
        answers.iter().filter_map(|answer| answer.try_recv().ok()).map(|answer| answer.unwrap_err().code).collect();
    assert!(!codes.is_empty() && codes.iter().all(|code| *code == Code::Unavailable), "{codes:?}");
    stage.assert_undisturbed();
}
