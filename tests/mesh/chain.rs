//! A chain of five sites: a message from one end to the other crosses four links.

use crate::everyone_reaches_everyone;
use crate::support::sites;
use crate::support::Cluster;
use crate::support::Topology;
use crate::the_middle_goes_and_comes_back;
use crate::Outage;

const NAMES: &[&str] = &["a", "b", "c", "d", "e"];
const USERS: &[(&str, &str)] = &[("alice", "a"), ("bob", "b"), ("carol", "c"), ("dave", "d"), ("eve", "e")];

#[test]
fn every_user_reaches_every_user() {
    if !sites::available() {
        return;
    }
    let cluster = Cluster::in_sites(Topology::chain(NAMES), NAMES);
    println!("six processes were ready after {:?}", cluster.took());
    everyone_reaches_everyone(&cluster, USERS);
    cluster.stop();
}

#[test]
fn the_middle_is_killed_and_comes_back() {
    if !sites::available() {
        return;
    }
    let mut cluster = Cluster::in_sites(Topology::chain(NAMES), NAMES);
    the_middle_goes_and_comes_back(&mut cluster, USERS, "c", Outage { gently: false, noticed: true });
}
