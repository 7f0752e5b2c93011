//! Storage with real processes: every role in one, or each on its own; servers are killed, and what was answered OK is there.

#[path = "../support/mod.rs"]
mod support;

mod apart;
mod backup;
mod chaos;
mod disks;
mod killed;
mod limits;
mod strangers;

use convergia::wire::Code;
use support::Answer;
use support::Cluster;
use support::Plan;
use support::Raw;
use support::Server;

/// Management, a main server, data management, and data servers: each a process, with a grace of a second.
pub fn cluster(stable: usize, volatile: usize) -> Cluster {
    let mut builder = Cluster::builder().management().mains(&["main"]);
    builder = builder.node(Plan::new("dm", &["data-management"]).set("data_management.grace=1"));
    for n in 0..stable {
        builder = builder.node(Plan::new(&format!("stable{n}"), &["data"]));
    }
    for n in 0..volatile {
        builder = builder.node(Plan::new(&format!("volatile{n}"), &["data"]).volatile());
    }
    builder.start()
}

/// Asks again as long as storage is not all there.
#[track_caller]
pub fn sometime(link: &mut Raw, command: &str, fields: &[&[u8]]) -> Answer {
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let answer = link.request(command, fields);
        let again = matches!(&answer, Answer::Fail(code, _) if [Code::Unavailable, Code::Busy].contains(code));
        if !again {
            return answer;
        }
        assert!(std::time::Instant::now() < until, "{command}: {answer:?}");
        link.ask("PING", &[]).ok();
    }
}

/// A line of `admin status`: a number, or text.
pub fn status(cluster: &Cluster, key: &str) -> String {
    status_of(cluster.management(), key)
}

/// The same of one process with all roles.
pub fn status_of(server: &Server, key: &str) -> String {
    let all: serde_json::Value = serde_json::from_str(&support::admin(server, &["status", "--json"])).expect("JSON");
    match &all[key.replace(' ', "_")] {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Bytes that are different for each number.
pub fn bytes(number: usize, length: usize) -> Vec<u8> {
    let mut seed = number as u64 + 1;
    let next = || {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as u8
    };
    std::iter::repeat_with(next).take(length).collect()
}
