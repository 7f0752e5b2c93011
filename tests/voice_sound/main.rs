//! Voice with the feature `sound-card`: what somebody says into a microphone comes from the loudspeakers of others. The microphones and
//! loudspeakers are pipes behind ALSA's default device (`pipes.rs`); the executable, ALSA, the server and Opus are the real ones.

mod pipes;
#[path = "../support/mod.rs"]
mod support;

use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::path::Path;
use std::process::Child;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::time::Duration;

use pipes::Loudspeaker;
use pipes::Microphone;
use pipes::RATE;
use rustix::process::kill_process;
use rustix::process::Pid;
use rustix::process::Signal;
use serde_json::Value;
use support::sign_on::register_if_new;
use support::sign_on::PASSWORD;
use support::Server;
use support::TempDir;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pieces of sound that are judged: 200 ms, in which tones of whole multiples of 5 Hz fit.
const PIECE: usize = RATE as usize / 5;
/// How loud a microphone hears: 1 is the loudest there is.
const LOUD: f64 = 0.25;

/// Somebody in a channel.
struct Call {
    child: Child,
    lines: mpsc::Receiver<String>,
    folder: TempDir,
}

fn command(server: &Server, user: &str, folder: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_convergia"));
    command.env_clear().env("HOME", folder).env("CONVERGIA_PASSWORD", PASSWORD);
    command.env("CONVERGIA_CLIENT_STATE", folder.join("client.json")).current_dir(folder);
    command.args(args).args(["--server", &server.url(), "--user", user]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Call {
    /// Joins, with the devices that `devices` describes in ALSA's language.
    fn join(server: &Server, user: &str, devices: &str, args: &[&str]) -> Call {
        let folder = TempDir::new();
        let conf = folder.path().join("asound.conf");
        std::fs::write(&conf, devices).expect("a file");
        let all = [&["voice", "join", "team", "--json"], args].concat();
        let mut command = command(server, user, folder.path(), &all);
        let mut child = command.env("ALSA_CONFIG_PATH", conf).spawn().expect("the executable starts");
        let (send, lines) = mpsc::channel();
        let out = child.stdout.take().expect("a pipe");
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                let _ = send.send(line);
            }
        });
        Call { child, lines, folder }
    }

    /// The next event of that kind.
    #[track_caller]
    fn event(&self, kind: &str) -> Value {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no {kind:?}"));
            let event: Value = serde_json::from_str(&line).expect("a line of JSON");
            if event["event"] == kind {
                return event;
            }
        }
    }

    /// Whether the microphone and the loudspeaker are on.
    #[track_caller]
    fn sound(&self) -> (bool, bool) {
        let event = self.event("sound");
        (event["microphone"] == true, event["loudspeaker"] == true)
    }

    /// Ctrl-C: what it wrote to standard error.
    #[track_caller]
    fn leave(mut self) -> String {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, Signal::INT).expect("the child takes the signal");
        let mut words = String::new();
        self.child.stderr.take().expect("a pipe").read_to_string(&mut words).expect("UTF-8");
        let status = self.child.wait().expect("the command ends");
        assert!(status.success(), "{status}: {words}");
        drop(self.folder);
        words
    }
}

/// A server with the channel `team`, and who may be in it.
fn server(users: &[&str]) -> Server {
    let server =
        Server::start(&["--set", "management.registration=open", "--set", "voice.default_rights=[\"add_channel\"]"]);
    users.iter().for_each(|user| register_if_new(&server, user));
    let folder = TempDir::new();
    let made = command(&server, users[0], folder.path(), &["voice", "create", "team"]).output().expect("it runs");
    assert!(made.status.success(), "{made:?}");
    server
}

/// How loud a tone is in a piece of sound, by Goertzel's algorithm.
fn tone(piece: &[f32], hertz: f64) -> f64 {
    let turn = hertz / f64::from(RATE) * std::f64::consts::TAU;
    let (mut one, mut two) = (0.0, 0.0);
    for sample in piece {
        (one, two) = (f64::from(*sample) + 2.0 * turn.cos() * one - two, one);
    }
    let power = one * one + two * two - 2.0 * turn.cos() * one * two;
    power.max(0.0).sqrt() * 2.0 / piece.len() as f64
}

/// Whether a piece has those tones as loud as the microphones heard them (by 2 dB), and little besides.
fn is(piece: &[f32], tones: &[f64]) -> bool {
    let loud: Vec<f64> = tones.iter().map(|hertz| tone(piece, *hertz)).collect();
    let all: f64 = piece.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / piece.len() as f64;
    let told: f64 = loud.iter().map(|loud| loud * loud / 2.0).sum();
    loud.iter().all(|loud| (LOUD * 0.8..LOUD * 1.25).contains(loud)) && (told - all).abs() <= all * 0.1 + 1e-6
}

/// Waits until those tones come from the loudspeaker, and nothing else.
#[track_caller]
fn sounds(loudspeaker: &Loudspeaker, tones: &[f64]) {
    let began = std::time::Instant::now();
    let (mut piece, mut best) = (Vec::new(), Vec::new());
    while began.elapsed() < PATIENCE {
        piece.extend(loudspeaker.next(PATIENCE));
        while piece.len() >= PIECE {
            let rest = piece.split_off(PIECE);
            if is(&piece, tones) {
                return;
            }
            let loud: Vec<f64> = tones.iter().map(|hertz| tone(&piece, *hertz)).collect();
            if best.is_empty() || loud.iter().sum::<f64>() > best.iter().sum() {
                best = loud;
            }
            piece = rest;
        }
    }
    panic!("{tones:?} do not sound; the loudest was {best:?}");
}

#[test]
fn from_microphones_to_a_loudspeaker() {
    let server = server(&["alice", "bob", "carol"]);
    let loudspeaker = Loudspeaker::new();
    let bob = Call::join(&server, "bob", &loudspeaker.alsa(), &["--mute"]);
    assert_eq!(bob.sound(), (false, true));
    let speaks = |name: &str, hertz: f64, args: &[&str]| {
        let microphone = Microphone::new(hertz, LOUD);
        let call = Call::join(&server, name, &microphone.alsa(), args);
        assert_eq!(call.sound(), (true, false));
        assert_eq!(bob.event("speaks")["user"], name);
        (microphone, call)
    };
    let (first, alice) = speaks("alice", 600.0, &["--deaf"]);
    sounds(&loudspeaker, &[600.0]);
    let (second, carol) = speaks("carol", 1_000.0, &["--deaf", "--link"]);
    sounds(&loudspeaker, &[600.0, 1_000.0]);
    assert_eq!(alice.leave(), "");
    drop(first);
    sounds(&loudspeaker, &[1_000.0]);
    assert_eq!(carol.leave(), "");
    drop(second);
    sounds(&loudspeaker, &[]);
    assert_eq!(bob.leave(), "");
}

#[test]
fn without_devices_there_are_words() {
    let server = server(&["alice", "bob"]);
    let alice = Call::join(&server, "alice", "", &[]);
    assert_eq!(alice.sound(), (false, false));
    // It is in the channel all the same.
    let microphone = Microphone::new(600.0, LOUD);
    let bob = Call::join(&server, "bob", &microphone.alsa(), &["--deaf"]);
    assert_eq!(alice.event("speaks")["user"], "bob");
    assert_eq!(bob.leave(), "");
    let words = alice.leave();
    let lines: Vec<&str> = words.lines().collect();
    assert!(lines.len() == 2 && lines.iter().all(|line| line.starts_with("convergia: no ")), "{words}");
    assert!(words.contains("no microphone (none was found)") && words.contains("no loudspeaker (none"), "{words}");
    // Who wants none misses none.
    let carol = Call::join(&server, "alice", "", &["--mute", "--deaf"]);
    assert_eq!((carol.sound(), carol.leave().as_str()), ((false, false), ""));
}
