//! Members who have gone stay gone, whatever their server says afterwards; and nobody who comes hears nothing.

use convergia::engine::sim::NodeId;
use convergia::wire::Code;

use crate::fake::Fake;
use crate::network::assert_fails;
use crate::voice::Stage;

fn gone(it: &mut Stage, node: NodeId, line: &str) {
    let link = it.net.at(node, |fake| fake.link.unwrap());
    it.net.sim.with(node, |_: &mut Fake, ctx| ctx.push(link, "VOICEGONE", &[line.as_bytes()]));
}

#[test]
fn who_was_thrown_out_is_not_back_by_a_word_of_its_server() {
    let mut it = Stage::new(81, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(b, "2", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    it.join(b, "2", &hall);
    it.ask(b, "2", "KICKVOICE", &["Hall", "alice"]).unwrap();
    it.told(a);
    it.told(b);
    it.net.say(a, "VOICEHERE", &[&format!("{hall}|{alice}|{first}|alice")]).unwrap();
    assert_eq!(it.told(a), [format!("LEFT {hall}|a|{alice}|{first}|")]);
    assert_eq!(it.told(b), Vec::<String>::new());
    // It may come again, and then it is kept.
    let (_, second, _) = it.join(a, "1", &hall);
    it.net.say(a, "VOICEHERE", &[&format!("{hall}|{alice}|{second}|alice")]).unwrap();
    assert!(it.ask(b, "2", "GETVOICE", &[&hall]).unwrap().contains(&alice));
}

#[test]
fn who_leaves_while_its_server_says_who_is_there_is_gone() {
    let mut it = Stage::new(82, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(b, "2", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let line = format!("{hall}|{alice}|{first}");
    // Known, and after a start of management not yet known.
    for restart in [false, true] {
        if restart {
            let management = it.net.management;
            it.net.sim.crash(management);
            it.net.sim.start(management);
            it.net.until(a, |fake| fake.link.is_none());
            for node in [a, b] {
                it.net.until(node, |fake| fake.loaded);
            }
        }
        let answer = it.net.begin(a, "VOICEHERE", &[&format!("{line}|alice")]);
        gone(&mut it, a, &line);
        it.net.end(&answer).unwrap();
        assert!(!it.ask(b, "2", "GETVOICE", &[&hall]).unwrap().contains(&alice), "{restart}");
    }
}

#[test]
fn who_comes_gets_the_list_if_its_server_may_have_lost_it() {
    let mut it = Stage::new(83, &["add_channel"]);
    let (a, management) = (it.a, it.net.management);
    let hall = it.ask(it.b, "2", "CREATEVOICE", &["Hall"]).unwrap();
    it.join(a, "1", &hall);
    it.net.sim.cut(a, management);
    it.net.until(a, |fake| fake.link.is_none());
    it.net.until(a, |fake| fake.loaded);
    it.told(a);
    it.join(a, "3", &hall);
    assert!(it.told(a).iter().any(|told| told.starts_with(&format!("MEMBERS {hall}|1\n"))));
}

#[test]
fn who_guesses_is_not_heard_for_a_while() {
    let mut it = Stage::new(84, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(b, "2", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let (good, bad) = (format!("{hall}|{alice}|{first}|alice"), format!("{hall}|{alice}|1|alice"));
    let say = |it: &mut Stage, line: &str| {
        let answer = it.net.say(a, "VOICEHERE", &[line]);
        if answer.is_err() {
            it.net.until(a, |fake| fake.link.is_none());
            it.net.until(a, |fake| fake.loaded);
        }
        answer
    };
    assert_fails(say(&mut it, &bad), Code::Denied);
    assert_fails(say(&mut it, &good), Code::Denied);
    it.net.sim.run_for(61_000);
    say(&mut it, &good).unwrap();
    assert_fails(say(&mut it, &bad), Code::Denied);
    it.net.sim.run_for(61_000);
    assert_fails(say(&mut it, &good), Code::Denied);
    it.net.sim.run_for(61_000);
    say(&mut it, &good).unwrap();
}
