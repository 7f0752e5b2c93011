//! Secrets of redirects and standbys: guessed, and used twice.

use convergia::config::PortKey;
use convergia::wire::Code;

use crate::rogue::server::Manner;
use crate::rogue::stage::Stage;

#[test]
fn a_secret_is_good_once() {
    let mut stage = Stage::new(31);
    stage.manner(Manner::Takes);
    let client = PortKey::ClientMain;
    let secret = "5".repeat(64);
    let code = |answer: Result<String, convergia::wire::Fail>| answer.expect_err("refused").code;
    for (command, fields) in [("HANDOVER", &["x1", "mallory", &*secret][..]), ("ATTACH", &["x1", "mallory", &*secret])]
    {
        assert_eq!(code(stage.ask(client, "b:73", command, fields).1), Code::Expired);
    }
    assert_eq!(code(stage.ask(client, "b:73", "TAKEOVER", &["0"]).1), Code::Expired);
    stage.items("b", &format!("offer|x1|mallory|3|8000|{secret}||"), &[""]);
    stage.items("b", &format!("offer|x2|mallory|3|8000|{secret}|s|"), &[""]);
    // Not the same id again.
    stage.items("b", "offer|x1|mallory|3|8000|6||", &[""]);
    for wrong in [["x1", "mallory", "6"], ["x1", "bob", &*secret], ["x1", "mallory", ""]] {
        assert_eq!(code(stage.ask(client, "b:73", "HANDOVER", &wrong).1), Code::Wrong);
    }
    assert_eq!(code(stage.ask(client, "b:73", "ATTACH", &["x1", "mallory", &secret]).1), Code::Expired);
    assert_eq!(code(stage.ask(client, "b:73", "HANDOVER", &["x2", "mallory", &secret]).1), Code::Expired);
    stage.ask(client, "b:73", "HANDOVER", &["x1", "mallory", &secret]).1.expect("taken");
    assert_eq!(code(stage.ask(client, "b:73", "HANDOVER", &["x1", "mallory", &secret]).1), Code::Expired);
    let standby = stage.ask(client, "b:73", "ATTACH", &["x2", "mallory", &secret]);
    standby.1.expect("stands by");
    assert_eq!(code(stage.ask(client, "b:73", "ATTACH", &["x2", "mallory", &secret]).1), Code::Expired);
    // The server that it stands by for is up and has the session.
    for (n, received) in ["18446744073709551615", "0"].into_iter().enumerate() {
        let answer = stage.ask_on(standby.0, "TAKEOVER", &[received]);
        assert_eq!(answer.is_ok(), n == 0, "{answer:?}");
    }
    // Too late.
    stage.items("b", &format!("offer|x3|mallory|3|18446744073709551615|{secret}|s|"), &[""]);
    stage.net.sim.run_for(35_000);
    assert_eq!(code(stage.ask(client, "b:73", "ATTACH", &["x3", "mallory", &secret]).1), Code::Expired);
    stage.assert_undisturbed();
}
