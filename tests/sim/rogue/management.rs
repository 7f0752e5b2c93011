//! What it tells management.

use convergia::wire::Code;

use crate::rogue::stage::logged;
use crate::rogue::stage::Stage;

#[test]
fn lies_to_management() {
    let mut stage = Stage::new(41);
    let long = "b|1\n".repeat(200_000);
    let talks = "mallory|bob|18446744073709551615\n".repeat(257);
    let own = stage.receipt.clone();
    let bad: [(&str, &[&str], Code); 24] = [
        ("PRESENCE", &["alice", "1", "0", "", ""], Code::Denied),
        ("PRESENCE", &["bob", "8", "0", "", ""], Code::Denied),
        ("PRESENCE", &["nobody", "1", "0", "", ""], Code::Denied),
        ("PRESENCE", &["mallory", "2", "0", "", ""], Code::Denied),
        ("PRESENCE", &["mallory", "18446744073709551615", "0", "", ""], Code::Denied),
        ("PRESENCE", &["mallory", "-1", "0", "", ""], Code::BadArgs),
        ("MOVE", &["alice", "b", "x"], Code::Denied),
        ("PRESENCE", &["bob", "1", "8", &own, ""], Code::Denied),
        ("MOVE", &["alice", "a", "x", "taken", ""], Code::Denied),
        ("MOVE", &["alice", "a", "x", "taken", &own], Code::Denied),
        ("MOVE", &["bob", "b", "x", "taken", "b:1:00"], Code::Denied),
        ("MOVE", &["bob", "b", "x", "taken"], Code::BadArgs),
        ("KEEPS", &["bob", "2", &own], Code::Denied),
        ("KEEPS", &["mallory", "2", &own], Code::Denied),
        ("KEEPS", &["mallory", "x", ""], Code::BadArgs),
        ("MOVE", &["mallory", "rogue", "x"], Code::Denied),
        ("MOVE", &["mallory", "nowhere", "x"], Code::Denied),
        ("LINKS", &["nowhere|1"], Code::Denied),
        ("LINKS", &["rogue|1"], Code::Denied),
        ("LINKS", &["a|x"], Code::BadArgs),
        ("TALKS", &[&talks], Code::BadArgs),
        ("TALKS", &["mallory|bob|x"], Code::BadArgs),
        ("PORTION", &["18446744073709551615"], Code::Denied),
        ("PORTION", &["x"], Code::BadArgs),
    ];
    for (command, fields, code) in bad {
        logged();
        let answer = stage.management(command, fields);
        assert_eq!(answer.as_ref().expect_err("refused").code, code, "{command} {fields:?}");
        let logged = logged();
        assert!(code != Code::Denied || logged.iter().any(|line| line.contains("rogue")), "{command}: {logged:?}");
        stage.talk(1);
    }
    stage.management("LINKS", &[&long]).expect("one link, said often");
    stage.management("LINKS", &["a|18446744073709551615\nb|0"]).expect("slow, and fast");
    stage.management("TALKS", &["mallory|bob|18446744073709551615\nalice|bob|5"]).expect("counted, or not");
    stage.talk(5);
    // A session that goes to a server which knows nothing of it is nowhere.
    stage.management("MOVE", &["mallory", "b", "x9"]).expect("it may give its own away");
    stage.net.sim.run_for(2_000);
    assert_eq!(stage.management("LOOKUP", &["mallory"]).expect("known"), "");
    stage.assert_undisturbed();
}
