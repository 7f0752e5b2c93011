//! What management is told of members here, however many these are; and what is done when its lists and the places here do not agree.

use aws_lc_rs::signature::Ed25519KeyPair;
use convergia::roles::main::Main;
use convergia::voice::control::Answer;
use convergia::voice::control::Command;
use convergia::voice::control::Request;
use convergia::wire::Code;
use convergia::wire::Fail;

use super::data;
use super::desk::uid;
use super::desk::Member;
use super::desk::CHANNEL;
use super::desk::NAME;
use super::heard;
use super::Stage;

#[test]
fn many_members_are_told_in_several_packets() {
    let mut stage = Stage::new(51, &["a"]);
    let alice = stage.caller("alice", "a");
    let pair = Ed25519KeyPair::from_seed_unchecked(&[1; 32]).expect("a key");
    let (count, name) = (22, "x".repeat(60_000));
    for n in 1..=count {
        stage.desk(|desk, ctx| {
            let join = desk.join(ctx, CHANNEL, uid(n), "a", &name);
            desk.control = format!("join {CHANNEL}|{}|{join}|1", uid(n));
        });
        let request = Request::signed(Command::Join { uid: uid(n), juid: uid(n), chid: CHANNEL }, 1, &pair);
        let joined = stage.control(alice, &request, Some(Ok(6_000)));
        assert!(matches!(joined, Ok(Answer::Joined { .. })), "{joined:?}");
    }
    let mut members = stage.desk(|desk, _| desk.members.clone());
    members.values_mut().for_each(|member| member.user = "somebody".to_owned());
    let desk = stage.desk;
    stage.net.sim.crash(desk);
    stage.run();
    stage.net.sim.start(desk);
    stage.desk(|desk, _| desk.members = members);
    stage.net.sim.run_for(15_000);
    let told = stage.desk(|desk, _| std::mem::take(&mut desk.told));
    let here: Vec<&String> = told.iter().filter(|(_, command, _)| command == "VOICEHERE").map(|told| &told.2).collect();
    let [first, second, last] = &here[..] else { panic!("{} packets", here.len()) };
    assert!(first.starts_with("more\n") && second.starts_with("more\n") && !last.starts_with("more"));
    assert!(here.iter().all(|text| text.len() < 600_000));
    assert_eq!(here.iter().flat_map(|text| text.lines()).filter(|line| *line != "more").count(), 22);
    assert_eq!(stage.desk(|desk, _| desk.members.len()), 22, "all of them stay");
}

#[test]
fn management_is_told_of_members_that_are_not_here() {
    let mut stage = Stage::new(52, &["a"]);
    let alice = stage.caller("alice", "a");
    stage.join(alice, NAME);
    stage.run();
    stage.desk(|desk, ctx| desk.join(ctx, CHANNEL, uid(2), "a", "bob"));
    stage.net.sim.run_for(3_000);
    assert_eq!(stage.desk(|desk, _| desk.members.keys().copied().collect::<Vec<_>>()), [(CHANNEL, uid(1))]);
    let [came, left] = ["VOICECAME", "VOICELEFT"].map(|word| format!("{word} {CHANNEL}|{}", uid(2)));
    assert_eq!(stage.told(alice), [format!("{came}|bob"), left]);
    let gone = stage.desk(|desk, _| desk.told.iter().filter(|(_, command, _)| command == "VOICEGONE").count());
    assert_eq!(gone, 1, "and nothing of her own join");
}

#[test]
fn who_joins_where_the_list_was_not_told_is_not_deaf() {
    let mut stage = Stage::new(53, &["a", "b"]);
    let (alice, bob) = (stage.caller("alice", "a"), stage.caller("bob", "b"));
    stage.join(bob, NAME);
    // Management believes that somebody is there, so that it does not tell the list.
    let ghost = Member { server: "a".to_owned(), join: 1_000, user: "carol".to_owned() };
    stage.desk(|desk, _| desk.members.insert((CHANNEL, uid(3)), ghost));
    stage.join(alice, NAME);
    stage.net.sim.run_for(12_000);
    assert!(stage.desk(|desk, _| !desk.members.contains_key(&(CHANNEL, uid(3)))));
    stage.told(alice);
    stage.say(bob, NAME, &data("do you hear"));
    stage.run();
    assert_eq!(stage.told(alice), [heard(uid(2), "do you hear")]);
    stage.say(alice, NAME, &data("yes"));
    stage.run();
    assert_eq!(stage.told(bob).last(), Some(&heard(uid(1), "yes")));
}

#[test]
fn a_session_joins_and_leaves_so_often() {
    let mut stage = Stage::new(54, &["a"]);
    let alice = stage.caller("alice", "a");
    stage.net.sim.run_for(1_000 - stage.net.sim.now() % 1_000);
    let ask = |stage: &mut Stage, command: &'static str, fields: &'static [&'static str]| {
        stage.at(alice, |caller, ctx| caller.ask(ctx, command, fields))
    };
    let mut answers = Vec::new();
    for _ in 0..15 {
        answers.push(ask(&mut stage, "JOINVOICE", &[NAME, "link"]));
        answers.push(ask(&mut stage, "LEAVEVOICE", &[NAME]));
    }
    let answers: Vec<_> = answers.iter().map(|answer| stage.answer(answer)).collect();
    let busy = |answer: &&Result<String, Fail>| answer.as_ref().is_err_and(|fail| fail.code == Code::Busy);
    assert_eq!(answers.iter().filter(busy).count(), 10);
    assert!(answers[0].is_ok(), "{answers:?}");
    stage.net.sim.run_for(1_000);
    stage.join(alice, NAME);
}

#[test]
fn members_are_told_the_ports_that_a_nat_forwards() {
    let mut stage = Stage::new(55, &["a"]);
    let (alice, main) = (stage.caller("alice", "a"), stage.main("a"));
    for (first, told, port) in [(5_900, 7_900, "8000"), (6_000, 5_000, "5000"), (0, 7_900, "6000")] {
        stage.net.sim.with(main, |main: &mut Main, _| main.advertise_voice(first, told)).expect("it runs");
        let answer = stage.join_udp(alice, "a", CHANNEL).expect("joined");
        assert_eq!(answer.split('|').nth(4), Some(port), "{answer}");
    }
}
