//! The firewalls are what the topology says.

use std::io::ErrorKind;
use std::io::Read;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::support::raw::PATIENCE;
use crate::support::sites;
use crate::support::sites::MANAGEMENT;
use crate::support::Cluster;
use crate::support::Plan;
use crate::support::Sites;
use crate::support::Topology;

/// How long silence is listened to.
const SILENCE: Duration = Duration::from_millis(300);

/// In that site: a listener on all addresses, and its port.
fn listen(sites: &Sites, site: &str) -> (TcpListener, u16) {
    let listener = sites.within(site, || TcpListener::bind("0.0.0.0:0").expect("a listener"));
    let port = listener.local_addr().expect("its address").port();
    (listener, port)
}

/// How connecting from a site ends.
fn connect(sites: &Sites, site: &str, to: &str, port: u16, patience: Duration) -> Result<TcpStream, ErrorKind> {
    let to = SocketAddr::new(to.parse().expect("an address"), port);
    sites.within(site, || TcpStream::connect_timeout(&to, patience).map_err(|error| error.kind()))
}

#[test]
fn only_neighbours_reach_each_other() {
    if !sites::available() {
        return;
    }
    let sites = Sites::new(&Topology::sites(&["a", "b", "c"]).link("a", "b").link("b", "c"));
    let neighbours = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "b")];
    for to in ["a", "b", "c"] {
        let (_listener, port) = listen(&sites, to);
        for from in ["a", "b", "c"] {
            let outer = connect(&sites, from, &sites.address(to), port, PATIENCE);
            let inner = connect(&sites, from, &sites.inner(to), port, PATIENCE);
            let reached = from == to || neighbours.contains(&(from, to));
            assert_eq!(outer.is_ok(), reached, "{from} to {to}: {outer:?}");
            assert_eq!(inner.is_ok(), from == to, "{from} to {to}, inner: {inner:?}");
        }
        // Management asks nobody; who is asked answers it.
        assert!(connect(&sites, MANAGEMENT, &sites.address(to), port, PATIENCE).is_err(), "management to {to}");
    }
    let (_listener, port) = listen(&sites, MANAGEMENT);
    let management = sites.address(MANAGEMENT);
    for from in ["a", "b", "c"] {
        connect(&sites, from, &management, port, PATIENCE).expect("everyone reaches management");
    }
    let outside = SocketAddr::new(management.parse().expect("an address"), port);
    assert!(TcpStream::connect_timeout(&outside, SILENCE).is_err(), "a test is not in a site by itself");
}

#[test]
fn a_silent_firewall_swallows() {
    if !sites::available() {
        return;
    }
    let sites = Sites::new(&Topology::chain(&["a", "b", "c"]).silent());
    let (_listener, port) = listen(&sites, "c");
    for address in [sites.address("c"), sites.inner("c")] {
        let silence = connect(&sites, "a", &address, port, SILENCE).expect_err("out of reach");
        assert_eq!(silence, ErrorKind::TimedOut, "{address}");
    }
    connect(&sites, "b", &sites.address("c"), port, PATIENCE).expect("b reaches c");
}

#[test]
fn a_cut_link_is_silent_and_heals() {
    if !sites::available() {
        return;
    }
    let sites = Sites::new(&Topology::chain(&["a", "b", "c"]));
    let (listener, port) = listen(&sites, "b");
    let mut from_a = connect(&sites, "a", &sites.address("b"), port, PATIENCE).expect("a reaches b");
    let (mut at_b, _) = listener.accept().expect("b is reached");
    at_b.set_read_timeout(Some(SILENCE)).unwrap();
    sites.cut("a", "b");
    from_a.write_all(b"x").expect("sending goes on");
    let mut byte = [0];
    let nothing = at_b.read(&mut byte).expect_err("silence");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock, "neither closed nor reset");
    assert_eq!(connect(&sites, "a", &sites.address("b"), port, SILENCE).expect_err("cut"), ErrorKind::TimedOut);
    connect(&sites, "c", &sites.address("b"), port, PATIENCE).expect("the other link stands");
    sites.heal("b", "a");
    at_b.set_read_timeout(Some(PATIENCE)).unwrap();
    at_b.read_exact(&mut byte).expect("the same connection goes on");
    connect(&sites, "a", &sites.address("b"), port, PATIENCE).expect("a reaches b again");
}

#[test]
fn what_is_left_of_dead_processes_is_removed() {
    if !sites::available() {
        return;
    }
    let there = |name: &str| Path::new("/run/netns").join(name).exists();
    // No process has that number.
    let stale = format!("cvg-{}-0-a", u32::MAX);
    let made = Command::new("ip").args(["netns", "add", &stale]).status().expect("ip runs");
    assert!(made.success() && there(&stale));
    let sites = Sites::new(&Topology::sites(&["a"]));
    assert!(!there(&stale));
    let own = sites.namespace("a");
    assert!(there(&own));
    drop(sites);
    assert!(!there(&own));
}

#[test]
fn a_process_in_a_site_serves_those_within() {
    if !sites::available() {
        return;
    }
    let plan = Plan::new("one", &["management", "main"]).set("management.registration=open");
    let mut cluster = Cluster::builder().node(plan).topology(Topology::sites(&["a"])).start();
    cluster.sign_on("alice", "one").assert_alive();
    let url = cluster.url();
    assert!(url.starts_with("convergia://10.77.0.1:"), "{url}");
    cluster.kill("one");
    cluster.start("one");
    assert_eq!(cluster.url(), url);
    cluster.sign_on("alice", "one").assert_alive();
}
