//! Members of channels when links break, main servers die, and management starts anew.

use convergia::wire::Code;

use crate::network::assert_fails;
use crate::voice::Stage;

#[test]
fn a_lost_server_keeps_its_members_for_a_while() {
    let mut it = Stage::new(61, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let (bob, second, _) = it.join(b, "2", &hall);
    it.net.sim.crash(a);
    it.net.sim.run_for(59_000);
    assert!(it.net.at(b, |fake| fake.told("VOICELEFT").is_empty()), "not yet");
    assert_eq!(it.ask(b, "2", "GETVOICE", &[&hall]).unwrap().lines().count(), 3);
    it.told(b);
    it.net.sim.run_for(122_000);
    assert_eq!(it.told(b), [format!("LEFT {hall}|a|{alice}|{first}|")]);
    assert_eq!(it.ask(b, "2", "GETVOICE", &[&hall]).unwrap(), format!("{hall}|Hall|1\n{bob}|bob"));
    assert!(second > first);
}

#[test]
fn a_link_that_breaks_costs_no_member() {
    let mut it = Stage::new(62, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let (bob, second, _) = it.join(b, "2", &hall);
    let (carol, third, _) = it.join(a, "3", &hall);
    // Carol's session ends while the link is away: she is not named.
    it.net.at(a, |fake| fake.here = Some(vec![format!("{hall}|{alice}|{first}|alice")]));
    it.told(a);
    it.told(b);
    let management = it.net.management;
    it.net.sim.cut(a, management);
    it.net.until(a, |fake| fake.told("VOICEMEMBERS").len() == 1);
    let list = format!("MEMBERS {hall}|1\na|{alice}|{first}|alice\nb|{bob}|{second}|bob");
    let told = it.told(a);
    let mut told: Vec<&str> = told.iter().map(String::as_str).collect();
    told.sort_unstable();
    assert_eq!(told, ["HERE OK", &*format!("LEFT {hall}|a|{carol}|{third}|"), &*list]);
    assert_eq!(it.told(b), [format!("LEFT {hall}|a|{carol}|{third}|")]);
    // The time of the lost link is over, and nothing happens.
    it.net.sim.run_for(100_000);
    assert_eq!((it.told(a), it.told(b)), (vec![], vec![]));
}

#[test]
fn after_a_restart_of_management_all_members_are_there() {
    let mut it = Stage::new(63, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let gone = it.ask(a, "1", "CREATEVOICE", &["Gone"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let (bob, second, _) = it.join(b, "2", &hall);
    let (_, other, _) = it.join(a, "1", &gone);
    it.ask(a, "1", "DELETEVOICE", &[&gone]).unwrap();
    it.told(a);
    it.told(b);
    let lines = vec![format!("{hall}|{alice}|{first}|alice"), format!("{gone}|{alice}|{other}|alice")];
    it.net.at(a, |fake| fake.here = Some(lines));
    it.net.at(b, |fake| fake.here = Some(vec![format!("{hall}|{bob}|{second}|whoever")]));
    let management = it.net.management;
    it.net.sim.crash(management);
    it.net.sim.run_for(5_000);
    it.net.sim.start(management);
    for node in [a, b] {
        it.net.until(node, |fake| !fake.told("VOICEMEMBERS").is_empty());
        it.net.until(node, |fake| fake.loaded);
    }
    let text = it.ask(b, "2", "GETVOICE", &[&hall]).unwrap();
    assert_eq!(text, format!("{hall}|Hall|1\n{alice}|alice\n{bob}|bob"));
    // Of what is no more it is told.
    assert!(it.told(a).contains(&format!("LEFT {gone}|a|{alice}|{other}|")));
    // Sessions that are there stay, and numbers rise on.
    it.net.sim.run_for(400_000);
    assert_eq!(it.ask(b, "2", "GETVOICE", &[&hall]).unwrap(), text);
    let (_, third, _) = it.join(a, "3", &hall);
    assert!(third.parse::<u64>().unwrap() > second.parse().unwrap());
    // A session that has ended meanwhile, of which the server says nothing.
    it.told(b);
    it.net.presence(a, "alice", 0, false).unwrap();
    it.net.until(b, |fake| fake.told("VOICELEFT") == [format!("{hall}|a|{alice}|{first}|")]);
}

#[test]
fn a_server_names_no_member_that_was_never_let_in() {
    let mut it = Stage::new(64, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let (bob, ..) = it.join(b, "2", &hall);
    let join: u64 = first.parse().unwrap();
    // Another's member, another's join, another number; and the own one at another server.
    for line in [
        format!("{hall}|{bob}|{join}|bob"),
        format!("{hall}|{alice}|{}|alice", join ^ 1),
        format!("{hall}|{alice}|{}|alice", join + (1 << 24)),
        format!("{hall}|{alice}|0|alice"),
    ] {
        assert_fails(it.net.say(a, "VOICEHERE", &[&line]), Code::Denied);
        it.net.until(a, |fake| fake.link.is_none());
        it.net.until(a, |fake| fake.loaded);
        // It is not heard for a while, longer each time.
        it.net.sim.run_for(600_000);
    }
    assert_fails(it.net.say(b, "VOICEHERE", &[&format!("{hall}|{alice}|{join}|alice")]), Code::Denied);
    it.net.until(b, |fake| fake.link.is_none());
    it.net.until(b, |fake| fake.loaded);
    assert_fails(it.net.say(a, "VOICEHERE", &["x"]), Code::BadArgs);
    // An old join of its own, when there is a newer one: it is told that it is none.
    it.net.sign_on(b, "alice");
    let (_, second, _) = it.join(b, "1", &hall);
    it.told(a);
    it.net.say(a, "VOICEHERE", &[&format!("{hall}|{alice}|{join}|alice")]).unwrap();
    assert_eq!(it.told(a), [format!("LEFT {hall}|a|{alice}|{join}|")]);
    assert!(it.ask(b, "2", "GETVOICE", &[&hall]).unwrap().contains(&alice) && second > first);
}

#[test]
fn many_members_come_in_several_packets() {
    let mut it = Stage::new(66, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    let (bob, second, _) = it.join(b, "2", &hall);
    let (carol, third, _) = it.join(a, "3", &hall);
    let management = it.net.management;
    it.net.sim.cut(a, management);
    it.net.until(a, |fake| fake.link.is_none());
    it.net.until(a, |fake| fake.loaded);
    it.told(a);
    it.told(b);
    it.net.say(a, "VOICEHERE", &[&format!("more\n{hall}|{alice}|{first}|alice")]).unwrap();
    it.net.say(a, "VOICEHERE", &["more"]).unwrap();
    assert_fails(it.net.say(a, "VOICEHERE", &["mores"]), Code::BadArgs);
    assert_eq!((it.told(a), it.told(b)), (vec![], vec![]), "nothing is sure so far");
    it.net.say(a, "VOICEHERE", &[&format!("{hall}|{carol}|{third}|carol")]).unwrap();
    let mut lines = [(alice, "a", first, "alice"), (bob, "b", second, "bob"), (carol, "a", third, "carol")];
    lines.sort_by_key(|(uid, ..)| uid.parse::<u64>().unwrap());
    let lines = lines.map(|(uid, server, join, user)| format!("{server}|{uid}|{join}|{user}"));
    assert_eq!(it.told(a), [format!("MEMBERS {hall}|1\n{}", lines.join("\n"))]);
    assert_eq!(it.told(b), Vec::<String>::new());
    it.net.sim.run_for(100_000);
    assert_eq!(it.told(b), Vec::<String>::new());
}

#[test]
fn a_server_that_dies_and_comes_back_has_nobody() {
    let mut it = Stage::new(65, &["add_channel"]);
    let (a, b) = (it.a, it.b);
    let hall = it.ask(a, "1", "CREATEVOICE", &["Hall"]).unwrap();
    let (alice, first, _) = it.join(a, "1", &hall);
    it.join(b, "2", &hall);
    it.told(b);
    it.net.sim.crash(a);
    it.net.sim.run_for(1_000);
    it.net.sim.start(a);
    it.net.until(a, |fake| fake.loaded);
    it.net.say(a, "VOICEHERE", &[""]).unwrap();
    assert_eq!(it.told(b), [format!("LEFT {hall}|a|{alice}|{first}|")]);
}
