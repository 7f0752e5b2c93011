//! Who is where: what main servers may say of it, and what all of them are told.

use convergia::wire::Code;

use crate::network::assert_fails;
use crate::network::Network;

#[test]
fn all_have_the_same_table_and_it_has_the_right_checksum() {
    let mut net = Network::new(1);
    let a = net.main("a", &["b"]);
    let b = net.main("b", &["a", "c"]);
    for user in ["Alice", "bob", "carol"] {
        net.account(user);
    }
    net.sign_on(a, "Alice");
    net.sign_on(b, "bob");
    // It comes when there are users already.
    let c = net.main("c", &["b"]);
    net.sign_on(c, "Alice");
    net.sign_on(c, "carol");
    net.presence(c, "carol", 0, false).expect("gone");
    net.sim.run_for(1_000);
    for node in [a, b, c] {
        let (alice, bob, carol) = net.at(node, |fake| {
            let own = |user: &str| fake.places(user).join(" ");
            (own("alice"), own("bob"), own("carol"))
        });
        assert_eq!((&*alice, &*bob, &*carol), ("a c", "b", ""));
        assert_eq!(net.at(node, |fake| fake.wrong.clone()), Vec::<String>::new());
        // Nobody hears of itself, and all of all others.
        assert!(net.at(node, |fake| fake.server(&fake.id.clone()).len() == 1));
    }
    let versions = [a, b, c].map(|node| net.at(node, |fake| fake.version));
    assert!(versions.iter().all(|version| *version == versions[0] && *version > 0), "{versions:?}");
    let hops = |net: &mut Network, node, to: [&str; 2]| net.at(node, |fake| to.map(|to| fake.next_hop(to).to_owned()));
    assert_eq!(hops(&mut net, a, ["b", "c"]), ["b", "b"]);
    assert_eq!(hops(&mut net, b, ["a", "c"]), ["a", "c"]);
    assert_eq!(hops(&mut net, c, ["a", "b"]), ["b", "b"]);
    assert_eq!(net.say(b, "LOOKUP", &["ALICE"]).expect("known"), "a|c");
    assert_eq!(net.say(b, "LOOKUP", &["carol"]).expect("known"), "");
    assert_fails(net.say(b, "LOOKUP", &["nobody"]), Code::NotFound);

    // The one in the middle dies: its users are gone, and so are the ways through it.
    net.sim.crash(b);
    net.until(a, |fake| {
        fake.places("bob").is_empty() && fake.next_hop("c").is_empty() && fake.server("b")[1] == "down"
    });
    assert_eq!(net.at(a, |fake| fake.places("alice").join(" ")), "a c");
    // Back: as it was, and bob has gone with it.
    net.sim.start(b);
    net.until(a, |fake| fake.next_hop("c") == "b" && fake.server("b")[1] == "up");
    net.until(b, |fake| fake.loaded && fake.places("alice") == ["a", "c"] && fake.places("bob").is_empty());
    for node in [a, b, c] {
        assert_eq!(net.at(node, |fake| fake.wrong.clone()), Vec::<String>::new());
    }
}

#[test]
fn a_presence_without_a_ticket_is_refused() {
    let mut net = Network::new(2);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    net.account("alice");
    let says = |net: &mut Network, node, sessions: &str| net.presence(node, "alice", sessions.parse().unwrap(), false);
    assert_fails(says(&mut net, a, "1"), Code::Denied);
    net.validate(a, "alice");
    assert_fails(says(&mut net, b, "1"), Code::Denied);
    assert_fails(says(&mut net, a, "2"), Code::Denied);
    says(&mut net, a, "1").expect("this is what was shown");
    assert_fails(says(&mut net, a, "2"), Code::Denied);
    assert_fails(says(&mut net, a, "9"), Code::Denied);
    assert_fails(net.presence(a, "nobody", 1, false), Code::Denied);
    says(&mut net, a, "0").expect("gone");
    assert_fails(says(&mut net, a, "1"), Code::Denied);
    says(&mut net, b, "0").expect("it never was there");
    net.until(a, |fake| fake.places("alice").is_empty());
}

#[test]
fn an_ok_comes_when_the_change_was_told() {
    let mut net = Network::new(3);
    let a = net.main("a", &[]);
    net.account("alice");
    net.sim.faults.delay = 0..=0;
    net.validate(a, "alice");
    let before = net.at(a, |fake| fake.told("ROUTES").len());
    net.presence(a, "alice", 1, false).expect("believed");
    assert_eq!(
        net.at(a, |fake| fake.told("ROUTES")[before..].join("\n").lines().last().map(str::to_owned)).unwrap(),
        "u|alice|a"
    );
}

#[test]
fn a_session_moves() {
    let mut net = Network::new(4);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    net.account("Alice");
    net.sign_on(a, "alice");
    assert_fails(net.say(b, "MOVE", &["alice", "a", "17"]), Code::Denied);
    assert_fails(net.say(a, "MOVE", &["alice", "a", "17"]), Code::Denied);
    assert_fails(net.say(a, "MOVE", &["alice", "nowhere", "17"]), Code::Denied);
    net.say(a, "MOVE", &["alice", "b", "17"]).expect("moved");
    net.until(b, |fake| fake.places("alice") == ["b"]);
    let routes = net.at(b, |fake| fake.told("ROUTES").last().unwrap().lines().skip(2).collect::<Vec<_>>().join(" "));
    assert_eq!(routes, "m|17|Alice|a|b u|Alice|b");
    assert_fails(net.say(a, "MOVE", &["alice", "b", "18"]), Code::Denied);
    // What the target says of the session that it has already may cross the move.
    net.presence(b, "alice", 0, false).expect("before it knew");
    net.presence(b, "alice", 1, false).expect("and then");
    assert_eq!(net.at(b, |fake| fake.wrong.clone()), Vec::<String>::new());
}

#[test]
fn a_standby_takes_over_what_was_given_up() {
    let mut net = Network::new(5);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    net.account("alice");
    net.account("bob");
    assert_fails(net.say(b, "MOVE", &["alice", "a", "17", "taken", ""]), Code::Denied);
    net.sign_on(a, "alice");
    net.sign_on(b, "bob");
    // With the session it was offered, a's word came to b.
    let receipt = net.receipt(a, "alice");
    let over = ["alice", "a", "17", "taken", &*receipt];
    // The server that has the session says nothing.
    assert_fails(net.say(b, "MOVE", &over), Code::Denied);
    // It gives it up, after the other has said so.
    let answer = net.begin(b, "MOVE", &over);
    net.sim.run_for(1_000);
    net.presence(a, "alice", 0, true).expect("given up");
    net.end(&answer).expect("moved");
    net.until(a, |fake| fake.places("alice") == ["b"]);
    net.at(a, |fake| fake.users.clear());
    // Not twice.
    assert_fails(net.say(b, "MOVE", &over), Code::Denied);
    // It is killed.
    net.sign_on(a, "alice");
    net.sim.crash(a);
    net.until(b, |fake| fake.server("a")[1] == "down");
    for bad in ["", "a:1:00", &*net.receipt(b, "bob")] {
        assert_fails(net.say(b, "MOVE", &["alice", "a", "18", "taken", bad]), Code::Denied);
    }
    net.say(b, "MOVE", &["alice", "a", "18", "taken", &receipt]).expect("moved");
    assert_fails(net.say(b, "MOVE", &["alice", "a", "19", "taken", &receipt]), Code::Denied);
    assert_eq!(net.at(b, |fake| fake.wrong.clone()), Vec::<String>::new());
}

#[test]
fn nobody_goes_on_with_a_session_that_has_ended() {
    let mut net = Network::new(10);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    net.account("alice");
    net.sign_on(a, "alice");
    let receipt = net.receipt(a, "alice");
    net.presence(a, "alice", 0, false).expect("signed off");
    assert_fails(net.say(b, "MOVE", &["alice", "a", "17", "taken", &receipt]), Code::Denied);
    // Nor does the server that had it.
    assert_fails(net.say(a, "MOVE", &["alice", "b", "18"]), Code::Denied);
    net.at(a, |fake| fake.users.clear());
    // One of two has a standby, and is given up; the other is not.
    net.sign_on(a, "alice");
    net.sign_on(a, "alice");
    net.presence(a, "alice", 0, true).expect("one signed off, one given up");
    net.say(b, "MOVE", &["alice", "a", "19", "taken", &receipt]).expect("moved");
    assert_fails(net.say(b, "MOVE", &["alice", "a", "20", "taken", &receipt]), Code::Denied);
}

#[test]
fn a_standby_needs_not_wait_until_a_dead_server_is_missed() {
    let mut net = Network::new(8);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    net.account("alice");
    net.sign_on(a, "alice");
    let receipt = net.receipt(a, "alice");
    // Its link stands, and nothing comes of it any more.
    let management = net.management;
    net.sim.stall(a, management, true);
    let start = net.sim.now();
    net.say(b, "MOVE", &["alice", "a", "17", "taken", &receipt]).expect("moved");
    assert!(net.sim.now() < start + 10_000);
    net.until(b, |fake| fake.places("alice") == ["b"] && fake.server("a")[1] == "down");
}

#[test]
fn who_keeps_messages_is_named_where_the_user_is() {
    let mut net = Network::new(11);
    let a = net.main("a", &[]);
    let b = net.main("b", &[]);
    let c = net.main("c", &[]);
    net.account("alice");
    net.account("bob");
    net.sign_on(a, "alice");
    net.sign_on(b, "bob");
    let (alice, bob) = (net.receipt(a, "alice"), net.receipt(b, "bob"));
    let keepers = |answer: &str| answer.split_once('\n').expect("receipt LF keepers").1.to_owned();
    assert_eq!(keepers(&net.presence(a, "alice", 1, false).expect("there")), "");
    // Only of those that it had, or that came from there.
    for bad in ["x", "b:1:00", &*bob] {
        assert_fails(net.say(b, "KEEPS", &["alice", "1", bad]), Code::Denied);
    }
    assert_fails(net.say(a, "KEEPS", &["alice", "2", &alice]), Code::Denied);
    assert_fails(net.say(a, "KEEPS", &["bob", "1", &alice]), Code::Denied);
    net.say(a, "KEEPS", &["ALICE", "1", &alice]).expect("noted");
    assert_eq!(keepers(&net.presence(a, "alice", 1, false).expect("there")), "", "not itself");
    net.validate(c, "alice");
    assert_eq!(keepers(&net.presence(c, "alice", 1, false).expect("there")), "a");
    // Whoever keeps more later: the others are told.
    net.say(b, "KEEPS", &["alice", "1", &alice]).expect("it came from there");
    net.until(c, |fake| fake.told("KEEPERS") == ["alice\n1\nb"]);
    net.until(a, |fake| fake.told("KEEPERS") == ["alice\n1\nb"]);
    assert_eq!(keepers(&net.presence(c, "alice", 1, false).expect("there")), "a|b");
    net.say(a, "KEEPS", &["alice", "1", ""]).expect("nothing more");
    assert_eq!(keepers(&net.presence(c, "alice", 1, false).expect("there")), "b");
    // One that is away cannot be asked.
    net.sim.crash(b);
    net.until(c, |fake| fake.server("b")[1] == "down");
    assert_eq!(keepers(&net.presence(c, "alice", 1, false).expect("there")), "");
    net.sim.start(b);
    net.until(b, |fake| fake.loaded);
    assert_eq!(keepers(&net.presence(c, "alice", 1, false).expect("there")), "", "it says so anew");
    net.say(b, "KEEPS", &["alice", "1", &alice]).expect("noted");
    net.until(c, |fake| fake.told("KEEPERS").len() == 2);
}

#[test]
fn what_is_ill_formed_is_refused() {
    let mut net = Network::new(9);
    let a = net.main("a", &[]);
    net.main("b", &[]);
    let (print, key) =
        ("0a".repeat(32), convergia::engine::identity::ServerKey::from_bytes(&[7; 32]).public().to_string());
    let main = |at: usize, bad: &'static str| {
        let mut fields = ["a", "a", "a:1", &print, "a:2", &key, "1"].map(str::to_owned);
        fields[at] = bad.to_owned();
        fields
    };
    let bad = [
        (0, "a/b"),
        (0, ""),
        (1, "a|b"),
        (2, "nowhere"),
        (2, "a|b:1"),
        (3, "0a"),
        (4, "a\tb:1"),
        (5, "AAAA"),
        (6, "x"),
    ];
    for (at, value) in bad {
        let fields = main(at, value);
        assert_fails(net.say(a, "MAINSERVER", &fields.each_ref().map(String::as_str)), Code::BadArgs);
    }
    let fields = main(0, "b");
    assert_fails(net.say(a, "MAINSERVER", &fields.each_ref().map(String::as_str)), Code::Denied);
    let bad: [(&str, &[&str]); 16] = [
        ("PRESENCE", &["alice", "1"]),
        ("PRESENCE", &["alice", "1", "0", ""]),
        ("PRESENCE", &["alice", "x", "0", "", ""]),
        ("PRESENCE", &["alice", "1", "x", "", ""]),
        ("PRESENCE", &["a b", "1", "0", "", ""]),
        ("KEEPS", &["alice", "1"]),
        ("KEEPS", &["alice", "x", ""]),
        ("KEEPS", &["a b", "1", ""]),
        ("KEEPS", &["alice", "18446744073709551615", ""]),
        ("MOVE", &["alice", "b"]),
        ("MOVE", &["alice", "b", "17", "taken"]),
        ("MOVE", &["alice", "b", "17", "given", ""]),
        ("MOVE", &["alice", "b", "a/b"]),
        ("LOOKUP", &["a b"]),
        ("PORTION", &["x"]),
        ("DRAINING", &["now"]),
    ];
    for (command, fields) in bad {
        assert_fails(net.say(a, command, fields), Code::BadArgs);
    }
    assert_fails(net.say(a, "PORTION", &["12345678901"]), Code::Denied);
    assert!(net.at(a, |fake| fake.loaded && fake.wrong.is_empty()));
}

#[test]
fn links_that_cannot_be_are_refused() {
    let mut net = Network::new(6);
    let a = net.main("a", &[]);
    net.main("b", &[]);
    for bad in ["a|1", "nowhere|1", "b|1\nnowhere|1"] {
        assert_fails(net.say(a, "LINKS", &[bad]), Code::Denied);
    }
    for bad in ["b", "b|x", "b|-1"] {
        assert_fails(net.say(a, "LINKS", &[bad]), Code::BadArgs);
    }
    net.say(a, "LINKS", &["b|1"]).expect("one end");
    net.say(a, "LINKS", &[""]).expect("none");
    assert_eq!(net.at(a, |fake| fake.next_hop("b").to_owned()), "");
}

#[test]
fn a_server_that_the_operator_added_proves_itself_and_one_that_was_removed_is_gone() {
    let mut net = Network::new(7);
    let a = net.main("a", &[]);
    let key = convergia::engine::identity::ServerKey::from_bytes(&[9; 32]).public().to_string();
    net.ask("net:admin", "ADDSERVER", &["far", "main", &key, "", ""]).expect("added");
    net.until(a, |fake| fake.server("far").get(1) == Some(&"down"));
    assert_eq!(net.at(a, |fake| fake.server("far")[3].to_owned()), key);
    net.say(a, "LINKS", &["far|5"]).expect("it may be linked to it");
    // Over the network nobody is believed without the handshake.
    assert_fails(net.ask("net:main_management", "MAINSERVER", &["far", "far", "", "", "", "", "1"]), Code::SignIn);
    net.ask("net:admin", "REMOVESERVER", &["far"]).expect("removed");
    net.until(a, |fake| fake.server("far")[1] == "removed");
    let columns = |state: &str, told: Vec<&str>| {
        told.iter()
            .flat_map(|told| told.lines())
            .filter(|line| line.contains(state))
            .all(|line| line.split('|').count() == 10)
    };
    assert!(net.at(a, |fake| ["down", "up", "removed"].iter().all(|state| columns(state, fake.told("SERVERS")))));
    assert_fails(net.say(a, "LINKS", &["far|5"]), Code::Denied);
}
