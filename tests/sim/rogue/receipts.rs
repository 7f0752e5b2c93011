//! What management once said of users is not what others may say (receipts): kept messages, sessions of others, and a restart.

use convergia::client::core::Core;
use convergia::wire::Code;

use crate::network::bodies;
use crate::network::Log;
use crate::rogue::server::Manner;
use crate::rogue::stage::client_at;
use crate::rogue::stage::logged;
use crate::rogue::stage::Stage;

const EVIL: &str = "alice~\n1790000000000~\nevil";

/// Asserts that management refuses it, and says of whom.
#[track_caller]
fn denied(stage: &mut Stage, command: &str, fields: &[&str]) {
    logged();
    let fail = stage.management(command, fields).expect_err("refused");
    assert_eq!(fail.code, Code::Denied, "{command} {fields:?}");
    let logged = logged();
    assert!(logged.iter().any(|line| line.contains("main server rogue")), "{command}: {logged:?}");
}

#[test]
fn nobody_gets_a_message_that_was_kept_by_nobody() {
    let mut stage = Stage::new(51);
    let own = stage.receipt.clone();
    for account in ["1", "2", "3"] {
        for (to, user) in [("a", "alice"), ("b", "bob"), ("b", "mallory"), ("b", "nobody")] {
            logged();
            stage.items(to, &format!("kept|{user}|{account}"), &[EVIL]);
            let logged = logged();
            let found = logged.iter().any(|line| line.contains("main server rogue") && line.contains("not asked"));
            assert!(found, "{user} {account}: {logged:?}");
            stage.minute();
        }
    }
    // It keeps messages for its own user, and that gives it no say over others.
    stage.management("KEEPS", &["mallory", "3", &own]).expect("its own");
    denied(&mut stage, "KEEPS", &["bob", "2", &own]);
    logged();
    stage.items("b", "kept|bob|2", &[EVIL]);
    assert!(logged().iter().any(|line| line.contains("main server rogue")));
    stage.assert_undisturbed();
}

#[test]
fn a_keeper_that_gives_nothing_holds_nobody_up() {
    let mut stage = Stage::new(52);
    let own = stage.receipt.clone();
    stage.management("KEEPS", &["mallory", "3", &own]).expect("its own");
    for (manner, at) in [(Manner::Takes, 0), (Manner::Silent, 1)] {
        stage.manner(manner);
        let heard = Log::default();
        let mallory = client_at(&mut stage.net, "mallory", &heard, at);
        let (alice, start) = (stage.alice, stage.net.sim.now());
        let answer = stage.net.send(mallory, "bob", "I can speak");
        let _other = stage.net.send(alice, "mallory", "and hear");
        let (until, mut sent) = (start + 10_000, None);
        assert!(stage.net.sim.run(until, |_| {
            sent = sent.take().or_else(|| answer.try_recv().ok());
            sent.is_some() && !bodies(&heard).is_empty()
        }));
        assert!(stage.net.sim.now() <= start + 2_500, "held up for {} ms", stage.net.sim.now() - start);
        assert!(sent.is_some_and(|answer| answer.is_ok()));
        // What it gives later is given, as it is its own user's: once it was asked.
        stage.items(["a", "b"][at], "kept|mallory|3", &["bob~\n1790000000000~\nlate"]);
        assert_eq!(bodies(&heard), ["and hear", "late"]);
        // Else what he has not proven to have read is kept for him.
        let (done, _) = convergia::engine::rt::channel::bounded(1);
        stage.net.sim.with(mallory, |core: &mut Core, ctx| core.sign_off(ctx, done)).expect("it runs");
        stage.net.sim.run_for(1_000);
        stage
            .told
            .lock()
            .unwrap()
            .retain(|event| !matches!(event, convergia::client::Event::Message { sender, .. } if sender == "mallory"));
    }
    stage.manner(Manner::Takes);
    stage.assert_undisturbed();
}

#[test]
fn it_goes_on_with_no_session_of_others() {
    let mut stage = Stage::new(53);
    let own = stage.receipt.clone();
    let forged = own.replacen("rogue", "a", 1);
    let carol = client_at(&mut stage.net, "carol", &Log::default(), 0);
    let claims = |stage: &mut Stage, user: &str| {
        for receipt in ["", "a:1:00", &*own, &*forged] {
            denied(stage, "MOVE", &[user, "a", "x1", "taken", receipt]);
            denied(stage, "PRESENCE", &[user, "1", "0", receipt, ""]);
        }
        denied(stage, "MOVE", &[user, "b", "x2"]);
    };
    claims(&mut stage, "carol");
    // She leaves; then her connection breaks.
    let (done, _) = convergia::engine::rt::channel::bounded(1);
    stage.net.sim.with(carol, |core: &mut Core, ctx| core.sign_off(ctx, done)).expect("it runs");
    stage.net.sim.run_for(1_000);
    claims(&mut stage, "carol");
    let carol = client_at(&mut stage.net, "carol", &Log::default(), 0);
    stage.net.sim.crash(carol);
    stage.net.sim.run_for(1_000);
    claims(&mut stage, "carol");
    stage.assert_undisturbed();
    // Her server dies.
    client_at(&mut stage.net, "carol", &Log::default(), 0);
    let (a, b) = (stage.net.mains[0], stage.net.mains[1]);
    stage.net.sim.wall(stage.alice, b, true);
    stage.net.sim.crash(a);
    stage.net.sim.run_for(50);
    claims(&mut stage, "alice");
    stage.net.sim.run_for(2_000);
    claims(&mut stage, "alice");
}

#[test]
fn after_a_restart_of_management_it_is_believed_its_own_alone() {
    let mut stage = Stage::new(54);
    let own = stage.receipt.clone();
    let management = stage.net.management;
    stage.net.sim.crash(management);
    stage.talk(10);
    stage.net.sim.run_for(3_000);
    stage.net.sim.start(management);
    let until = stage.net.sim.now() + 60_000;
    let rogue = stage.rogue;
    assert!(stage.net.sim.run(until, |sim| {
        sim.with(rogue, |rogue: &mut crate::rogue::server::Rogue, _| rogue.management.is_some()) == Some(true)
    }));
    for user in ["alice", "bob", "carol", "mallory", "nobody"] {
        for receipt in ["", "rogue:1:00", &own.replacen("rogue", "a", 1)] {
            denied(&mut stage, "PRESENCE", &[user, "1", "0", receipt, ""]);
        }
    }
    for user in ["alice", "bob", "carol"] {
        denied(&mut stage, "PRESENCE", &[user, "1", "0", &own, ""]);
    }
    stage.management("PRESENCE", &["mallory", "1", "0", &own, ""]).expect("it was there");
    stage.talk(10);
    stage.net.sim.run_for(20_000);
    assert_eq!(stage.management("LOOKUP", &["alice"]).expect("known"), "a");
    assert_eq!(stage.management("LOOKUP", &["bob"]).expect("known"), "b");
    assert_eq!(stage.management("LOOKUP", &["mallory"]).expect("known"), "rogue");
    stage.assert_undisturbed();
}
