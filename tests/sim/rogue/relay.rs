//! RELAY and RELAYED that cannot be.

use crate::rogue::stage::Stage;

const MAX: u64 = u64::MAX;

#[test]
fn packets_that_cannot_be_are_refused_and_logged() {
    let mut stage = Stage::new(1);
    let good = "16|b|{boot}|rogue|{stream}|1|0|1|";
    let relay = |head: &str, rest: &str| format!("{head}~\n{rest}");
    let bad: Vec<(String, &str)> = vec![
        // Senders that are not its own.
        (relay(good, "m|alice|bob|5|~\n4 evil"), "sends messages of alice"),
        (relay(good, "m|nobody|bob|5|~\n4 evil"), "sends messages of nobody"),
        // Of others, without a tag or with a wrong one.
        (relay("16|b|{boot}|b|{stream}|1|0|1|", "m|bob|bob|5|~\n4 evil"), "DENIED"),
        (relay("16|b|{boot}|a|{stream}|1|0|1|", "m|alice|bob|5|~\n4 evil"), "not of a"),
        (relay("16|b|{boot}|a|{stream}|1|0|1|00000000000000000000000000000000", "m|alice|bob|5|~\n4 evil"), "not of a"),
        (relay("16|b|{boot}|nowhere|{stream}|1|0|1|", "m|alice|bob|5|~\n4 evil"), "DENIED"),
        // Ways.
        (relay("16|nowhere|1|rogue|1|1|0|1|", "m|x|y|5|~\n4 evil"), "NOTFOUND"),
        (relay("0|a|1|rogue|1|1|0|1|", "m|x|y|5|~\n4 evil"), "too many servers"),
        (relay("17|b|{boot}|rogue|{stream}|1|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        (relay("999|b|{boot}|rogue|{stream}|1|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        (relay("-1|b|{boot}|rogue|{stream}|1|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        (relay("16|b/c|{boot}|rogue|{stream}|1|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        ("16".to_owned(), "BADARGS"),
        (String::new(), "BADARGS"),
        // Numbers.
        (relay("16|b|{boot}|rogue|0|1|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        (relay("16|b|{boot}|rogue|{stream}|0|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        (relay("16|b|{boot}|rogue|{stream}|1|0|18446744073709551616|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        (relay("16|b|x|rogue|{stream}|1|0|1|", "m|mallory|bob|5|~\n4 evil"), "BADARGS"),
        ("16|b|{boot}|rogue".to_owned(), "BADARGS"),
    ];
    for (data, words) in bad {
        stage.refused("b", "RELAY", &data, words);
    }
    stage.minute();
    let bad: Vec<(String, &str)> = vec![
        // Items.
        (relay(good, "m|mallory|bob|5|~\n5 evil"), "BADARGS"),
        (relay(good, "m|mallory|bob|5|~\nevil"), "BADARGS"),
        (relay(good, "m|mallory|bob|5|~\n5 evil~3 abc"), "BADARGS"),
        (relay(good, "m|mallory|bob|5|~\n99999999999999999999999999 evil"), "BADARGS"),
        (relay(good, &format!("m|mallory|bob|5|~\n{}", "0 ".repeat(40_000))), "too many items"),
        (relay(good, "m|mallory|bob|5|"), "BADARGS"),
        // What they are.
        (relay(good, "m|mallory|bob|x|~\n4 evil"), "BADARGS"),
        (relay(good, "m|mallory|bob|5~\n4 evil"), "BADARGS"),
        (relay(good, "m|mallory|bob|5||~\n4 evil"), "BADARGS"),
        (relay(good, "m|mal lory|bob|5|~\n4 evil"), "BADARGS"),
        (relay(good, "m|mallory||5|~\n4 evil"), "BADARGS"),
        (relay(good, "nonsense|1~\n4 evil"), "no such kind"),
        (relay(good, "offer|1~\n4 evil"), "no such kind"),
        (relay(good, "~\n4 evil"), "no such kind"),
    ];
    for (data, words) in bad {
        stage.refused("b", "RELAY", &data, words);
    }
    stage.minute();
    let bad = [
        ("16|b|nowhere|1|1|1||~\n", "DENIED"),
        ("16|b|a|1|1|1||~\n", "not of a"),
        ("16|b|b|1|1|1||~\n", "DENIED"),
        ("16|b|a|1|1|1|unknown|00", "not of a"),
        ("16|b|rogue|1|1|x|", "BADARGS"),
        ("16|b|rogue|1|1|", "BADARGS"),
        ("17|b|rogue|1|1|1||~\n", "BADARGS"),
        ("0|a|rogue|1|1|1||~\n", "too many servers"),
        ("16|b|rogue|1|1|1||~\n2|BUSY|x~\n1|BUSY|x~\n", "BADARGS"),
        ("16|b|rogue|1|1|1||~\n1|BUSY|x~\n1|BUSY|x~\n", "BADARGS"),
        ("16|b|rogue|1|1|1||~\n1|NOCODE|x~\n", "BADARGS"),
        ("16|b|rogue|1|1|1||~\n1|MOVED~\n", "BADARGS"),
        ("16|b|rogue|1|1|1||~\n1|MOVED|no|x~\n", "BADARGS"),
        ("16|b|rogue|1|1|1||~\n1|MOVED|no|x|a/b~\n", "BADARGS"),
        ("16|b|rogue|1|1|1||~\nx~\n", "BADARGS"),
    ];
    for (data, words) in bad {
        stage.refused("b", "RELAYED", data, words);
    }
    stage.minute();
    let moves = "|x|nowhere".repeat(1_000);
    stage.refused("b", "RELAYED", &format!("16|b|rogue|1|1|1||~\n1|MOVED|no{moves}~\n"), "BADARGS");
    let results: String = (1..100_000).map(|n| format!("{n}|BUSY|~\n")).collect();
    stage.refused("b", "RELAYED", &format!("16|b|rogue|1|1|1||~\n{results}"), "too many results");
    stage.assert_undisturbed();
}

#[test]
fn numbers_at_their_ends_harm_nobody() {
    let mut stage = Stage::new(2);
    for n in [MAX, MAX - 1, 1 << 63, 1 << 32] {
        let body = "m|mallory|bob|5|~\n4 evil";
        // Nothing of it is the next item, of this start, of a table that is known.
        for data in [
            format!("16|b|{{boot}}|rogue|{{stream}}|{n}|0|1|~\n{body}"),
            format!("16|b|{{boot}}|rogue|{{stream}}|{n}|{n}|1|~\n{body}"),
            format!("16|b|{n}|rogue|{{stream}}|1|0|1|~\n{body}"),
            format!("16|b|{n}|rogue|{n}|{n}|{n}|{n}|~\n{body}"),
        ] {
            stage.send("b", "RELAY", &data);
        }
        for flag in ["", "gap", "unknown", "nonsense"] {
            stage.send("b", "RELAYED", &format!("16|b|rogue|{n}|{n}|{n}|{flag}|~\n"));
            let stream = stage.at(|rogue, _| {
                rogue.got.iter().find_map(|(_, kind, data)| {
                    (kind == "RELAY").then(|| data.split('|').nth(4).unwrap_or_default().to_owned())
                })
            });
            let stream = stream.unwrap_or_default();
            stage.send("b", "RELAYED", &format!("16|b|rogue|{n}|{stream}|{n}|{flag}|~\n"));
        }
    }
    stage.talk(5);
    // A table that comes never, at last: everything it sends from here on waits, and not without end.
    stage.send("b", "RELAY", &format!("16|b|{{boot}}|rogue|{{stream}}|1|0|{MAX}|~\nm|mallory|bob|5|~\n4 evil"));
    let large = "x".repeat(1 << 20);
    for _ in 0..100 {
        stage.items("b", "m|mallory|bob|5|", &[&large]);
    }
    // The last of all streams.
    stage.send("a", "RELAY", &format!("16|a|{{boot}}|rogue|{MAX}|1|{MAX}|1|~\nm|alice|bob|5|~\n4 evil"));
    stage.send("a", "RELAY", &format!("16|a|{{boot}}|rogue|{MAX}|{MAX}|{MAX}|1|~\nm|alice|bob|5|~\n4 evil"));
    stage.assert_undisturbed();
}

#[test]
fn commands_of_other_ports_are_not_known_here() {
    let mut stage = Stage::new(3);
    for command in ["SERVERS", "ROUTES", "DRAIN", "MOVECLIENTS", "DISCONNECT", "SENDMESSAGE", "SIGNON", "HANDOVER"] {
        let link = stage.at(|rogue, _| rogue.mesh["b"]);
        let answer = stage.ask_on(link, command, &["bob", "evil", "x"]);
        assert_eq!(answer.unwrap_err().code, convergia::wire::Code::BadCommand, "{command}");
    }
    stage.assert_undisturbed();
}
