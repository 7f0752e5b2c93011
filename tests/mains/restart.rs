//! Management goes and comes back, and links to it break.

use convergia::wire::Code;

use crate::network::assert_fails;
use crate::network::Network;

#[test]
fn after_a_restart_of_management_all_is_as_before() {
    let mut net = Network::new(21);
    let a = net.main("a", &["b"]);
    let b = net.main("b", &["a"]);
    for user in ["alice", "bob"] {
        net.account(user);
    }
    net.sign_on(a, "alice");
    net.sign_on(b, "bob");
    // Of accounts that are not there nobody is believed, not even then.
    net.at(b, |fake| fake.users.insert("nobody".to_owned(), 1));
    let before = net.at(a, |fake| fake.version);
    let management = net.management;
    net.sim.crash(management);
    net.sim.run_for(5_000);
    net.at(b, |fake| fake.told.clear());
    net.sim.start(management);
    for node in [a, b] {
        net.until(node, |fake| fake.loaded);
        net.until(node, |fake| fake.places("alice") == ["a"] && fake.places("bob") == ["b"]);
        assert_eq!(net.at(node, |fake| fake.wrong.clone()), Vec::<String>::new());
        assert!(net.at(node, |fake| fake.version) > before);
    }
    net.until(b, |fake| fake.told("PRESENCE") == ["nobody DENIED"]);
    net.until(a, |fake| fake.next_hop("b") == "b");
    // A server that was up before is believed what it had, and nothing else.
    let (alice, bob) = (net.receipt(a, "alice"), net.receipt(b, "bob"));
    for bad in ["", "a:1:00", &*alice, &bob.replacen('b', "a", 1)] {
        assert_fails(net.say(a, "PRESENCE", &["bob", "1", "0", bad, ""]), Code::Denied);
    }
    net.until(a, |fake| fake.places("bob") == ["b"]);
    // A session may have come meanwhile; then the word of the server that had it came with it.
    net.say(a, "PRESENCE", &["bob", "1", "0", &bob, ""]).expect("it came from b");
    net.until(b, |fake| fake.places("bob") == ["a", "b"]);
    net.presence(a, "bob", 0, false).expect("gone");
    // A server that was started after management is believed nothing.
    let c = net.main("c", &[]);
    assert_fails(net.say(c, "PRESENCE", &["alice", "1", "0", &alice, ""]), Code::Denied);
    // And those from before only for a while.
    net.sim.run_for(300_000);
    assert_fails(net.say(a, "PRESENCE", &["bob", "1", "0", &bob, ""]), Code::Denied);
}

#[test]
fn who_loads_first_after_a_restart_has_all_the_same() {
    let mut net = Network::new(22);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    let key = convergia::engine::identity::ServerKey::from_bytes(&[9; 32]).public().to_string();
    net.ask("net:admin", "ADDSERVER", &["away", "main", &key, "", ""]).expect("added");
    for user in ["alice", "bob"] {
        net.account(user);
    }
    net.sign_on(a, "alice");
    net.sign_on(b, "bob");
    let management = net.management;
    net.sim.crash(management);
    net.sim.run_for(5_000);
    net.sim.start(management);
    let start = net.sim.now();
    // "away" may have users too, and is waited for, but not for ever; until then both go on over the table they have.
    net.until(a, |fake| fake.loaded);
    assert!(net.sim.now() >= start + 11_000, "it was not waited for");
    assert_eq!(net.at(a, |fake| fake.places("bob").join(" ")), "b");
    net.until(b, |fake| fake.loaded);
    // One that starts anew has nobody, and needs not wait.
    net.main("c", &[]);
}

#[test]
fn a_link_that_breaks_costs_nobody() {
    let mut net = Network::new(23);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    net.account("alice");
    net.account("bob");
    net.sign_on(a, "alice");
    let management = net.management;
    net.sim.cut(a, management);
    net.until(b, |fake| fake.server("a")[1] == "down" && fake.places("alice").is_empty());
    net.until(b, |fake| fake.server("a")[1] == "up" && fake.places("alice") == ["a"]);
    // What it had it may say again, and not more.
    assert_fails(net.presence(a, "bob", 1, false), Code::Denied);
    // Another process under the same name has nothing to say again.
    net.sim.crash(a);
    net.until(b, |fake| fake.places("alice").is_empty());
    net.sim.start(a);
    net.until(a, |fake| fake.loaded);
    assert_fails(net.presence(a, "alice", 1, false), Code::Denied);
    for node in [a, b] {
        assert_eq!(net.at(node, |fake| fake.wrong.clone()), Vec::<String>::new());
    }
}

#[test]
fn a_server_that_comes_by_another_link_takes_the_place_of_its_old_one() {
    let mut net = Network::new(24);
    let a = net.main("a", &[]);
    net.account("alice");
    net.sign_on(a, "alice");
    net.sim.run_for(1_000);
    // A second process with the same id: it was started later, so it is the server now, and the first one is refused.
    let twin = net.main("a", &[]);
    net.until(a, |fake| !fake.told("MAINSERVER").is_empty());
    assert!(net.at(twin, |fake| fake.loaded && fake.places("alice").is_empty()));
}
