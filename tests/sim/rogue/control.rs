//! Steps of redirects and standbys that are not its own.

use convergia::client::Event;
use convergia::roles::main::Main;

use crate::network::bodies;
use crate::rogue::server::Manner;
use crate::rogue::stage::resident;
use crate::rogue::stage::Stage;

#[test]
fn the_moves_of_others_are_not_its_own() {
    let mut stage = Stage::new(11);
    stage.manner(Manner::Takes);
    let (a, b) = (stage.net.mains[0], stage.net.mains[1]);
    // Bob goes to a and back; the ids of his moves are told to everybody.
    for (from, to) in [(b, "a"), (a, "b"), (b, "a")] {
        stage.net.sim.with(from, |main: &mut Main, ctx| main.move_clients(ctx, 10, to)).expect("it runs");
        stage.talk(50);
        stage.net.sim.run_for(2_000);
    }
    let moves: Vec<String> = stage.at(|rogue, _| {
        let ids = rogue.routes.iter().filter_map(|line| line.strip_prefix("m|")?.split('|').next());
        ids.map(str::to_owned).collect()
    });
    assert!(moves.len() >= 3, "{moves:?}");
    let evil = "alice~\n1790000000000~\nevil";
    for id in moves.iter().map(String::as_str).chain(["1", "unknown"]) {
        for to in ["a", "b"] {
            for what in [
                "late|ID|bob|2",
                "copy|ID|1",
                "seen|ID|18446744073709551615",
                "taken|ID",
                "done|ID|",
                "done|ID|alone",
                "arrived|ID",
                "left|ID",
                "ended|ID",
                "attached|ID",
                "cancel|ID",
                "late|ID|bob|x",
                "copy|ID|x",
                "kept|bob|1",
                "kept|bob|2",
                "keptend|bob|2",
                "fetch|bob|2",
                "fetch|bob|x",
            ] {
                stage.items(to, &what.replace("ID", id), &[evil]);
            }
            stage.items(to, &format!("m|mallory|bob|5|{id}"), &[]);
        }
        stage.talk(1);
    }
    let moved = stage.told.lock().unwrap().iter().filter(|event| matches!(event, Event::Moved(_))).count();
    assert!(moved >= 3, "{moved}");
    stage.assert_undisturbed();
}

#[test]
fn offers_of_others_and_floods_of_offers() {
    let mut stage = Stage::new(12);
    let secret = "5".repeat(64);
    for user in ["alice", "bob", "nobody"] {
        crate::rogue::stage::logged();
        stage.items("b", &format!("offer|x{user}|{user}|1|8000|{secret}||"), &[""]);
        let logged = crate::rogue::stage::logged();
        let found = logged.iter().any(|line| line.contains("rogue") && line.contains("offers"));
        assert!(found || user == "bob", "{user}: {logged:?}");
    }
    for bad in [
        "offer|a:b|mallory|1|8000|s||",
        "offer|x|mallory|x|8000|s||",
        "offer|x|mallory|1|x|s||",
        "offer|x|mal lory|1|8|s||",
        "offer|x|mallory|1|8|s|",
        "offer|x|mallory|1|8|s||a\tb",
    ] {
        stage.items("b", bad, &[""]);
    }
    for n in 0..25_000 {
        let (secret, flags) = (&secret, ["", "s", "w"][n % 3]);
        let what = format!("offer|x{n}|mallory|3|18446744073709551615|{secret}|{flags}|");
        let now = stage.net.sim.now();
        stage.at(|rogue, ctx| {
            let (boot, stream) = (rogue.boots["b"].clone(), rogue.next_stream(now));
            rogue.send(ctx, "b", "RELAY", format!("16|b|{boot}|rogue|{stream}|1|0|1|~\n{what}~\n0 ").as_bytes());
        });
        if n % 1_000 == 0 {
            stage.talk(1);
        }
    }
    stage.net.sim.run_for(1_000);
    // There is still room for others.
    let a = stage.net.mains[0];
    stage.net.sim.with(a, |main: &mut Main, ctx| main.move_clients(ctx, 10, "b")).expect("it runs");
    stage.talk(50);
    stage.net.sim.run_for(2_000);
    assert!(stage.heard.lock().unwrap().iter().any(|event| matches!(event, Event::Moved(to) if to == "b")));
    stage.assert_undisturbed();
}

#[test]
fn floods_of_steps_that_nobody_acknowledges() {
    let mut stage = Stage::new(13);
    let before = resident();
    let items = vec![""; 30_000];
    for n in 0..40 {
        for what in [
            "arrived|x",
            "attached|x",
            "late|x|bob|2",
            "copy|x|1",
            "m|mallory|bob|5|x",
            "m|mallory|nobody|5|",
            "kept|bob|9",
            "fetch|mallory|3",
            "fetch|mallory|2",
            "keptend|mallory|3",
        ] {
            stage.items(if n % 2 == 0 { "a" } else { "b" }, what, &items);
        }
        stage.talk(1);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 600, "{grown} MiB");
    assert!(bodies(&stage.told).iter().all(|body| body.starts_with("talk")));
    stage.assert_undisturbed();
}

#[test]
fn a_server_that_reads_no_answers_is_not_read_either() {
    let mut stage = Stage::new(14);
    let before = resident();
    let (rogue, b) = (stage.rogue, stage.net.mains[1]);
    stage.net.sim.stall(rogue, b, true);
    let many = "x NOSUCH\n".repeat(100_000);
    for _ in 0..60 {
        stage.at(|rogue, ctx| {
            if let Some(link) = rogue.mesh.get("b").copied() {
                let _ = ctx.put_parts(link, &[many.trim_end_matches('\n').as_bytes()]);
            }
        });
        stage.talk(1);
    }
    stage.net.sim.run_for(45_000);
    let grown = resident().saturating_sub(before);
    assert!(grown < 800, "{grown} MiB");
    stage.net.sim.stall(rogue, b, false);
    stage.assert_undisturbed();
}
