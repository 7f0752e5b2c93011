//! Which main server a client is sent to, and which give clients away.

use convergia::wire::Code;

use crate::network::assert_fails;
use crate::network::Network;

#[test]
fn users_who_talk_are_brought_together() {
    let mut net = Network::new(11);
    let a = net.main("a", &["b"]);
    let b = net.main("b", &["a"]);
    for user in ["alice", "bob"] {
        net.account(user);
    }
    net.sign_on(a, "alice");
    net.sign_on(b, "bob");
    let choice = |net: &mut Network| net.choose("alice", "a|yes|1\nb|yes|5").expect("a choice").0;
    assert_eq!(choice(&mut net), "a");
    // A server speaks only for its own users.
    net.say(a, "TALKS", &["bob|alice|7\nnobody|bob|7"]).expect("ignored");
    assert_eq!(choice(&mut net), "a");
    net.say(a, "TALKS", &["alice|bob|7"]).expect("noted");
    assert_eq!(choice(&mut net), "b");
    assert_eq!(net.choose("alice", "a|yes|1\nb|yes|50").expect("a choice").0, "a", "not that far");
    assert_fails(net.say(a, "TALKS", &["alice|bob"]), Code::BadArgs);
    assert_fails(net.say(a, "TALKS", &[&"alice|bob|1\n".repeat(257)]), Code::BadArgs);
}

#[test]
fn a_server_that_drains_gets_nobody() {
    let mut net = Network::new(12);
    let a = net.main("a", &[]);
    net.account("alice");
    net.sign_on(a, "alice");
    assert_fails(net.ask("net:admin", "DRAIN", &["nowhere"]), Code::NotFound);
    assert_fails(net.ask("net:admin", "DRAIN", &["a"]), Code::Refused);
    let b = net.main("b", &[]);
    assert_eq!(net.ask("net:admin", "DRAIN", &["a"]).expect("begun"), "1");
    net.until(a, |fake| fake.told("DRAIN").len() == 1);
    net.until(b, |fake| fake.server("a").get(7) == Some(&"draining"));
    assert_eq!(net.choose("alice", "a|yes|1\nb|yes|100").expect("a choice").0, "b");
    assert_fails(net.choose("alice", "a|yes|1").map(|(id, _)| id), Code::Unavailable);
    assert!(!net.list("alice").contains("a|a|"));
    net.say(a, "MOVE", &["alice", "b", "1"]).expect("moved");
    assert_eq!(net.ask("net:admin", "DRAIN", &["a"]).expect("goes on"), "0");
    assert_eq!(net.at(a, |fake| fake.told("DRAIN").len()), 1, "told once");
    // The link breaks: the same process still drains; another does not.
    let management = net.management;
    net.sim.cut(a, management);
    net.until(a, |fake| !fake.loaded);
    net.until(a, |fake| fake.loaded);
    assert_fails(net.choose("alice", "a|yes|1").map(|(id, _)| id), Code::Unavailable);
    net.sim.crash(a);
    net.until(b, |fake| fake.server("a")[1] == "down");
    assert_eq!(net.ask("net:admin", "DRAIN", &["a"]).expect("it has stopped"), "0");
    net.sim.start(a);
    net.until(a, |fake| fake.loaded);
    assert_eq!(net.choose("alice", "a|yes|1").expect("a choice").0, "a");
    // By itself.
    net.say(a, "DRAINING", &[]).expect("noted");
    assert_fails(net.choose("alice", "a|yes|1").map(|(id, _)| id), Code::Unavailable);
}

#[test]
fn a_new_server_gets_clients_of_the_others() {
    let mut net = Network::new(13);
    let a = net.main("a", &[]);
    // Ten users, each three times: more than 1.2 times the mean of two servers and 8.
    for n in 0..10 {
        let user = format!("user{n}");
        net.account(&user);
        (0..3).for_each(|_| net.sign_on(a, &user));
    }
    net.sim.run_for(60_000);
    assert!(net.at(a, |fake| fake.told("MOVECLIENTS").is_empty()), "there is nowhere to move them");
    net.main("b", &[]);
    net.until(a, |fake| !fake.told("MOVECLIENTS").is_empty());
    assert_eq!(net.at(a, |fake| fake.told("MOVECLIENTS").join(",")), "15\nb");
    net.sim.run_for(25_000);
    assert_eq!(net.at(a, |fake| fake.told("MOVECLIENTS").len()), 1, "not again at once");
    net.until(a, |fake| fake.told("MOVECLIENTS").len() == 2);
    // Clients that refuse are not asked for ever.
    net.sim.run_for(20 * 60_000);
    assert!(net.at(a, |fake| fake.told("MOVECLIENTS").len()) <= 10);
}

#[test]
fn nobody_is_signed_on_more_than_eight_times() {
    let mut net = Network::new(14);
    let nodes = [net.main("a", &[]), net.main("b", &[])];
    net.account("alice");
    for n in 0..8 {
        net.sign_on(nodes[n % 2], "alice");
    }
    let (_, ticket) = net.choose("alice", "a|yes|1").expect("a ticket");
    assert_fails(net.ask("net:validation", "VALIDATE", &["alice", &ticket, "a"]), Code::Limit);
}
