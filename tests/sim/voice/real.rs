//! The same with management as it is: its registry, and who is told what.

use convergia::engine::sim::NodeId;
use convergia::roles::main::Main;

use super::data;
use super::Stage;

/// Three servers in a line, and a channel that alice has made: its number.
fn talk(seed: u64) -> (Stage, [NodeId; 3], u64) {
    let mut stage = Stage::real(seed, &["a", "b", "c"]);
    stage.cut("a", "c");
    let all = [stage.caller("alice", "a"), stage.caller("bob", "b"), stage.caller("carol", "c")];
    let channel = stage.ask(all[0], "CREATEVOICE", &["coffee"]).expect("made").parse().expect("a number");
    for id in all {
        stage.join(id, "coffee");
    }
    stage.run();
    let _ = all.map(|id| stage.told(id));
    (stage, all, channel)
}

/// The uid of a user, as the channel's list has it.
fn uid_of(stage: &mut Stage, id: NodeId, user: &str) -> u64 {
    let list = stage.ask(id, "GETVOICE", &["coffee"]).expect("a list");
    let line = list.lines().skip(1).find_map(|line| line.strip_suffix(user)?.strip_suffix('|').map(str::to_owned));
    line.unwrap_or_else(|| panic!("{user} is not in {list}")).parse().expect("a number")
}

fn heard(channel: u64, uid: u64, text: &str) -> String {
    format!("VOICE {channel}|{uid}\\n{}", data(text).escape_ascii())
}

#[test]
fn a_talk_over_three_servers() {
    let (mut stage, [alice, bob, carol], channel) = talk(41);
    let uids = ["alice", "bob", "carol"].map(|user| uid_of(&mut stage, alice, user));
    stage.say(alice, "coffee", &data("to all"));
    stage.run();
    for id in [bob, carol] {
        assert_eq!(stage.told(id), [heard(channel, uids[0], "to all")]);
    }
    // Bob moves to a, and joins there; carol is kicked; bob leaves.
    let b = stage.main("b");
    stage.net.sim.with(b, |main: &mut Main, ctx| main.move_clients(ctx, 1, "a")).expect("it runs");
    stage.net.sim.run_for(5_000);
    assert_eq!(stage.told(alice), [format!("VOICELEFT {channel}|{}", uids[1])]);
    stage.join(bob, "coffee");
    stage.say(bob, "coffee", &data("from a"));
    stage.run();
    let _ = stage.told(bob);
    assert_eq!(stage.told(carol).last(), Some(&heard(channel, uids[1], "from a")));
    stage.ask(alice, "KICKVOICE", &["coffee", "carol"]).expect("kicked");
    stage.run();
    assert_eq!(stage.told(carol), [format!("VOICEENDED {channel}\\nkicked")]);
    stage.say(alice, "coffee", &data("two are left"));
    stage.run();
    assert_eq!(stage.told(bob).last(), Some(&heard(channel, uids[0], "two are left")));
    assert!(stage.told(carol).is_empty());
    // From another session of his.
    let again = stage.caller("bob", "c");
    stage.join(again, "coffee");
    stage.run();
    assert_eq!(stage.told(bob), [format!("VOICEENDED {channel}\\nelsewhere")]);
    stage.at(again, |caller, ctx| caller.leave(ctx));
    stage.run();
    assert_eq!(stage.ask(alice, "GETVOICE", &["coffee"]).expect("a list").lines().count(), 2);
    assert_eq!(stage.ask(carol, "DELETEVOICE", &["coffee"]).unwrap_err().code.word(), "DENIED");
    stage.told(alice);
    stage.ask(alice, "DELETEVOICE", &["coffee"]).expect("deleted");
    stage.run();
    assert_eq!(stage.told(alice), [format!("VOICEENDED {channel}\\ndeleted")]);
}

#[test]
fn management_is_started_anew_and_the_talk_goes_on() {
    let (mut stage, [alice, bob, carol], channel) = talk(42);
    let management = stage.net.management;
    let uids = ["alice", "bob", "carol"].map(|user| uid_of(&mut stage, alice, user));
    stage.net.sim.crash(management);
    stage.net.sim.run_for(2_000);
    stage.say(bob, "coffee", &data("nobody decides"));
    stage.run();
    for id in [alice, carol] {
        assert_eq!(stage.told(id), [heard(channel, uids[1], "nobody decides")]);
    }
    stage.at(carol, |caller, ctx| caller.leave(ctx));
    stage.run();
    // One server is back later than the others: what is said there is heard all the time.
    let b = stage.main("b");
    stage.net.sim.wall(b, management, true);
    stage.net.sim.start(management);
    stage.net.sim.run_for(5_000);
    stage.say(bob, "coffee", &data("management does not see me"));
    stage.run();
    assert_eq!(stage.told(alice), [heard(channel, uids[1], "management does not see me")]);
    stage.net.sim.wall(b, management, false);
    stage.net.sim.run_for(40_000);
    assert_eq!(uid_of(&mut stage, alice, "bob"), uids[1]);
    assert_eq!(stage.ask(alice, "GETVOICE", &["coffee"]).expect("a list").lines().count(), 3);
    let left = format!("VOICELEFT {channel}|{}", uids[2]);
    // Those who stay neither go nor come, whichever server is back first.
    assert_eq!(stage.told(alice), [left]);
    stage.say(alice, "coffee", &data("still here"));
    stage.run();
    assert_eq!(stage.told(bob).last(), Some(&heard(channel, uids[0], "still here")));
}

#[test]
fn a_session_is_in_sixteen_channels_at_most() {
    let mut stage = Stage::real(43, &["a"]);
    let alice = stage.caller("alice", "a");
    for n in 0..17 {
        let name = format!("channel {n}");
        stage.ask(alice, "CREATEVOICE", &[&name]).expect("made");
        let joined = stage.ask(alice, "JOINVOICE", &[&name, "link"]);
        assert_eq!(joined.as_ref().err().map(|fail| fail.code.word()), (n == 16).then_some("LIMIT"), "{joined:?}");
    }
    stage.ask(alice, "LEAVEVOICE", &["channel 3"]).expect("left");
    stage.join(alice, "channel 16");
}
