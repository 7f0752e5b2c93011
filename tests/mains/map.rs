//! GETSERVERMAP over several main servers (what main servers get of it: WATCHMAP, MAPCHANGED).

use std::collections::BTreeMap;

use convergia::engine::sim::NodeId;

use crate::network::Network;

fn lines(map: &str) -> BTreeMap<String, String> {
    map.lines().map(|line| (line.split('|').next().unwrap_or_default().to_owned(), line.to_owned())).collect()
}

fn map(net: &mut Network, node: NodeId) -> BTreeMap<String, String> {
    lines(&net.say(node, "WATCHMAP", &[]).expect("the map"))
}

#[test]
fn servers_links_and_users() {
    let mut net = Network::new(31);
    let a = net.main("a", &["b"]);
    let b = net.main("b", &["a", "c"]);
    net.main("c", &["b"]);
    let key = convergia::engine::identity::ServerKey::from_bytes(&[9; 32]).public().to_string();
    net.ask("net:admin", "ADDSERVER", &["off", "main", &key, "", ""]).expect("added");
    net.account("alice");
    net.sign_on(a, "alice");
    net.sign_on(b, "alice");
    let before = map(&mut net, a);
    assert_eq!(before["management"], "management|box|managementserver|online||server-a|server-b|server-c");
    assert_eq!(before["server-a"], "server-a|a|mainserver|online||management|server-b");
    assert_eq!(before["server-b"], "server-b|b|mainserver|online||management|server-a|server-c");
    assert_eq!(before["server-c"], "server-c|c|mainserver|online||management|server-b");
    assert_eq!(before["server-off"], "server-off|off|mainserver|offline||");
    assert_eq!(before["user-1"], "user-1|alice|client|online||server-a|server-b");

    // What changes is told, as whole lines.
    net.ask("net:admin", "DRAIN", &["a"]).expect("drains");
    net.sim.crash(b);
    net.until(a, |fake| fake.told("MAPCHANGED").iter().any(|told| told.contains("server-b|b|mainserver|offline||")));
    net.sim.run_for(1_000);
    let told: BTreeMap<String, String> =
        net.at(a, |fake| fake.told("MAPCHANGED").iter().flat_map(|told| lines(told)).collect());
    assert_eq!(told["server-a"], "server-a|a|mainserver|online|draining|management");
    assert_eq!(told["server-c"], "server-c|c|mainserver|online||management");
    assert_eq!(told["user-1"], "user-1|alice|client|online||server-a");

    // Management is away and back: the same ids.
    net.sim.start(b);
    net.until(b, |fake| fake.loaded);
    let management = net.management;
    net.sim.crash(management);
    net.sim.run_for(1_000);
    net.sim.start(management);
    net.until(a, |fake| fake.loaded && fake.server("b").get(1) == Some(&"up"));
    let after = map(&mut net, a);
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
    assert_eq!(after["user-1"], "user-1|alice|client|online||server-a");
}
