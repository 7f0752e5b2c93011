//! The commands beside `join`, and what cannot be.

use std::fs;

use super::fake::Fake;
use super::sound;
use super::support;
use super::support::TempDir;
use super::Person;

#[test]
fn channels() {
    let fake = Fake::start();
    let [alice, bob] = ["alice", "bob"].map(|name| Person::new(fake.url(), name));
    let none = alice.voice(&["list"]).expect(0);
    assert!(none.out.contains("voice create"), "{none:?}");
    let made = alice.voice(&["create", "team", "--json"]).expect(0).json();
    assert_eq!(made[0]["name"], "team");
    let again = alice.voice(&["create", "team"]).expect(1);
    assert!(again.err.contains("EXISTS") && again.err.contains("voice join"), "{again:?}");
    let call = bob.join("team", &[]);
    let list = alice.voice(&["list", "--json"]).expect(0).json();
    assert_eq!(
        (&list[0]["owner"], &list[0]["members"], &list[0]["signed"]),
        (&"alice".into(), &1.into(), &true.into())
    );
    let words = alice.voice(&["list"]).expect(0).out;
    assert!(words.starts_with("team  1 in it, of alice  ("), "{words}");
    assert_eq!(alice.voice(&["list", "team"]).expect(0).out, "bob\n");
    assert_eq!(alice.voice(&["list", "team", "--json"]).expect(0).json()[0]["user"], "bob");
    let number = made[0]["channel"].as_u64().unwrap().to_string();
    assert_eq!(alice.voice(&["list", &number]).expect(0).out, "bob\n");
    let denied = bob.voice(&["delete", "team"]).expect(1);
    assert!(denied.err.contains("DENIED"), "{denied:?}");
    call.interrupt();
    call.end().expect(0);
    assert_eq!(alice.voice(&["list", "team"]).expect(0).out, "Nobody is there.\n");
    alice.voice(&["delete", "team", "--json"]).expect(0);
    let gone = bob.voice(&["join", "team"]).expect(1);
    assert!(gone.err.contains("NOTFOUND") && gone.err.contains("voice list"), "{gone:?}");
    let gone = bob.voice(&["join", "workspace:team"]).expect(1);
    assert!(gone.err.contains("workspace ls"), "{gone:?}");
}

#[test]
fn what_cannot_be_is_told_before_anybody_joins() {
    let fake = Fake::start();
    fake.channel("team", "alice", true);
    let alice = Person::new(fake.url(), "alice");
    fs::write(alice.path("text.opus"), "no sound").unwrap();
    for (args, status, words) in [
        (&["join", "team", "--loop"][..], 2, "--loop needs --play"),
        (&["join", "team", "--play", "-", "--loop"], 2, "standard input"),
        (&["join", "team", "--for", "-1"], 2, "--for"),
        (&["join", "team", "--for", "NaN"], 2, "--for"),
        (&["join", "a\nb"], 2, "workspace:NAME"),
        (&["join", "team", "--play", "none.opus"], 1, "No such file"),
        (&["join", "team", "--play", "text.opus"], 1, "opusenc"),
        (&["kick", "team", "a|b"], 2, "a|b"),
    ] {
        let done = alice.voice(args).expect(status);
        assert!(done.err.contains(words), "{done:?}");
    }
    assert_eq!(fake.look().joins, 0);
    // Only in the channel it is known what fits.
    sound::make(&alice.path("large.opus"), 2, 500, 440.0, &["--bitrate", "400", "--hard-cbr"]);
    let large = alice.voice(&["join", "team", "--play", "large.opus"]).expect(1);
    assert!(large.err.contains("472") && large.err.contains("--bitrate"), "{large:?}");
    fs::write(alice.path("kept.opus"), "kept").unwrap();
    let kept = alice.voice(&["join", "team", "--record", "kept.opus"]).expect(1);
    assert!(kept.err.contains("already"), "{kept:?}");
    assert_eq!(fs::read(alice.path("kept.opus")).unwrap(), b"kept");
    let silence = alice.voice(&["join", "team", "--record", "nobody.opus", "--for", "0.1"]).expect(0);
    assert!(silence.err.contains("nobody spoke") && !alice.path("nobody.opus").exists(), "{silence:?}");
}

#[test]
fn the_key_of_a_server() {
    let folder = TempDir::new();
    let folder = folder.path().to_str().unwrap();
    let key = support::run(&["voice", "key", "--data-dir", folder]);
    assert_eq!((key.status, key.out.trim_end().len()), (0, 64), "{key:?}");
    let json = support::run(&["voice", "--json", "key", "--data-dir", folder]);
    assert_eq!(json.out.trim_end(), format!("{{\"key\":\"{}\"}}", key.out.trim_end()), "the same again");
}
