//! Being in a channel.

use std::fs;

use super::fake::Fake;
use super::sound;
use super::Call;
use super::Person;

/// Alice plays, bob records; what he has in the end.
fn from_alice_to_bob(signed: bool, channels: u16, alice_by: &[&str], bob_by: &[&str]) {
    let fake = Fake::start();
    fake.channel("team", "alice", signed);
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    sound::make(&alice.path("in.opus"), channels, 2_345, 440.0, &["--bitrate", "64"]);
    let listening = bob.join("team", &[&["--record", "out.opus"], bob_by].concat());
    let done = alice.voice(&[&["join", "team", "--play", "in.opus", "--json"], alice_by].concat()).expect(0);
    let joined = &done.json()[0];
    assert_eq!(joined["way"], if alice_by.is_empty() { "udp" } else { "link" });
    assert_eq!((joined["signed"].as_bool(), joined["members"].as_array().unwrap().len()), (Some(signed), 2));
    assert_eq!(listening.event("came")["user"], "alice");
    assert_eq!(listening.event("speaks")["user"], "alice");
    assert_eq!(listening.event("left")["user"], "alice");
    ends_well(listening);
    assert_eq!(fake.look().bad, 0);
    sound::compare(&alice.path("in.opus"), &bob.path("out.opus"));
}

/// Ctrl-C leaves, in good order.
pub fn ends_well(call: Call) {
    call.interrupt();
    let ended = call.event("ended");
    for speaker in ended["speakers"].as_array().unwrap() {
        assert_eq!((speaker["missing"].as_u64(), speaker["late"].as_u64()), (Some(0), Some(0)), "{ended}");
    }
    call.end().expect(0);
}

#[test]
fn by_udp_signed() {
    from_alice_to_bob(true, 2, &[], &[]);
}

#[test]
fn by_udp_unsigned() {
    from_alice_to_bob(false, 1, &[], &[]);
}

#[test]
fn over_links() {
    from_alice_to_bob(true, 1, &["--link"], &["--link"]);
}

#[test]
fn from_udp_to_a_link() {
    from_alice_to_bob(true, 1, &[], &["--link"]);
}

#[test]
fn from_a_link_to_udp() {
    from_alice_to_bob(false, 2, &["--link"], &[]);
}

#[test]
fn where_udp_does_not_get_through_the_link_does() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    fake.look().deaf = true;
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    sound::make(&alice.path("in.opus"), 1, 500, 440.0, &[]);
    let listening = bob.join("team", &["--record", "out.opus"]);
    let done = alice.voice(&["join", "team", "--play", "in.opus"]).expect(0);
    assert!(done.err.contains("nothing comes back by UDP"), "{done:?}");
    assert!(done.out.contains("over the connection to the server"), "{done:?}");
    listening.event("left");
    ends_well(listening);
    sound::compare(&alice.path("in.opus"), &bob.path("out.opus"));
}

#[test]
fn each_speaker_has_a_file() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    let [alice, bob, carol] = ["alice", "bob", "carol"].map(|name| Person::new(fake.url(), name));
    sound::make(&alice.path("in.opus"), 1, 1_000, 440.0, &[]);
    sound::make(&carol.path("in.opus"), 2, 1_000, 700.0, &["--bitrate", "64"]);
    let listening = bob.join("team", &["--record", "out.opus"]);
    alice.voice(&["join", "team", "--play", "in.opus"]).expect(0);
    listening.event("left");
    carol.voice(&["join", "team", "--play", "in.opus"]).expect(0);
    listening.event("left");
    listening.interrupt();
    assert_eq!(
        (&listening.event("recorded")["user"], &listening.event("recorded")["file"]),
        (&"alice".into(), &"out-carol.opus".into())
    );
    listening.end().expect(0);
    sound::compare(&alice.path("in.opus"), &bob.path("out.opus"));
    // It begins when alice spoke: what is before carol's packets bridges the time until then.
    let (was, is) = (sound::packets(&carol.path("in.opus")), sound::packets(&bob.path("out-carol.opus")));
    let (before, said) = is.split_at(is.len() - was.len());
    assert!(
        said == was && before.len() >= 8 && before.iter().all(|packet| packet.len() == 2),
        "{} before",
        before.len()
    );
    let lead = is.len() - was.len();
    let sound = sound::decode(&bob.path("out-carol.opus"));
    assert!(sound[..lead * 1_000].iter().all(|sample| sample.abs() < 10), "silence before she speaks");
}

#[test]
fn a_broken_connection_is_taken_up_again() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    sound::make(&alice.path("in.opus"), 1, 500, 440.0, &[]);
    let listening = bob.join("team", &[]);
    fake.cut("bob");
    listening.event("away");
    listening.event("joined");
    // Nothing came for long, says the server; it is there still.
    fake.end("team", "bob", "silent");
    listening.event("away");
    listening.event("joined");
    alice.voice(&["join", "team", "--play", "in.opus"]).expect(0);
    assert_eq!(listening.event("speaks")["user"], "alice");
    assert_eq!(listening.event("left")["user"], "alice");
    ends_well(listening);
    assert_eq!(fake.look().joins, 4);
}

#[test]
fn whose_membership_is_ended_hears_why() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    let ends: [(&Person, &[&str], &str); 3] = [
        (&alice, &["kick", "team", "bob"], "you were removed"),
        (&bob, &["leave", "team"], "left it at another place"),
        (&alice, &["delete", "team"], "was deleted"),
    ];
    for (person, command, words) in ends {
        let call = bob.join("team", &[]);
        person.voice(command).expect(0);
        let done = call.end().expect(1);
        assert!(done.err.contains(words), "{done:?}");
    }
    bob.voice(&["join", "team"]).expect(1);
}

#[test]
fn for_so_long_again_and_again() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    sound::make(&alice.path("in.opus"), 1, 200, 440.0, &[]);
    let listening = bob.join("team", &["--record", "out.opus"]);
    alice.voice(&["join", "team", "--play", "in.opus", "--loop", "--for", "1.5"]).expect(0);
    listening.event("left");
    ends_well(listening);
    let (was, is) = (sound::packets(&alice.path("in.opus")), sound::packets(&bob.path("out.opus")));
    assert!(is.len() > 2 * was.len(), "{} of {}", is.len(), was.len());
    assert!(is.iter().zip(was.iter().cycle()).all(|(is, was)| is == was));
}

#[test]
fn standard_input_and_output() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    sound::make(&alice.path("in.opus"), 1, 1_000, 440.0, &[]);
    let mut listening = bob.command(&["voice", "join", "team", "--record", "-", "--json"]);
    let out = fs::File::create(bob.path("out.opus")).unwrap();
    let mut listening = listening.stdout(out).spawn().unwrap();
    let (send, events) = std::sync::mpsc::channel();
    let err = listening.stderr.take().unwrap();
    std::thread::spawn(move || {
        for line in std::io::BufRead::lines(std::io::BufReader::new(err)).map_while(Result::ok) {
            let _ = send.send(line);
        }
    });
    let listening = Call { child: listening, lines: events };
    listening.event("joined");
    let mut play = alice.command(&["voice", "join", "team", "--play", "-"]);
    let play = play.stdin(fs::File::open(alice.path("in.opus")).unwrap()).spawn().unwrap();
    super::done(play).expect(0);
    listening.event("left");
    ends_well(listening);
    sound::compare(&alice.path("in.opus"), &bob.path("out.opus"));
}
