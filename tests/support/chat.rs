//! `convergia chat` as a process of its own: our client where the library in the test's process cannot go, behind firewalls.

use std::collections::HashMap;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::process::Child;
use std::process::ChildStdin;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::mpsc;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use convergia::wire::Code;
use serde_json::Value;

use super::command::executable;
use super::temp::TempDir;
use super::traffic::Came;
use super::traffic::Trace;
use super::traffic::Voice;

/// How long signing on may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long signing off may take.
const GOODBYE: Duration = Duration::from_secs(15);

/// The numbers of messages that are not answered yet, by recipient and body, which no two have in common.
type Open = Arc<Mutex<HashMap<(String, String), u64>>>;

/// The process, signed on; it keeps a redundant link, as `chat` does. Ends when dropped. As a `Voice`, all that a person at the
/// terminal would be told of the connection is `Came::Broke`.
pub struct Chat {
    child: Child,
    /// None: signed off.
    input: Option<ChildStdin>,
    came: mpsc::Receiver<Came>,
    trace: Arc<Trace>,
    open: Open,
    next: u64,
    /// Removed when this is dropped.
    state: Option<TempDir>,
}

impl Chat {
    /// Starts it where the calling thread is; when this returns, it is signed on.
    #[track_caller]
    pub fn sign_on(url: &str, user: &str, password: &str) -> Chat {
        let state = TempDir::new();
        let mut command = Command::new(executable());
        command
            .args(["chat", "--json", "--server", url, "--user", user])
            .env_clear()
            .env("HOME", state.path())
            .env("CONVERGIA_CLIENT_STATE", state.path().join("client.json"))
            .env("CONVERGIA_PASSWORD", password);
        let mut chat = Chat::start(command, user);
        chat.state = Some(state);
        chat
    }

    /// The same with a command, `chat --json` and what else it needs, that was put together.
    #[track_caller]
    pub fn start(mut command: Command, user: &str) -> Chat {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the executable starts");
        let (input, output) = (child.stdin.take(), child.stdout.take().expect("a pipe"));
        let (events, came) = mpsc::channel();
        let (ready, is_ready) = mpsc::channel();
        let (trace, open) = (Arc::new(Trace::default()), Open::default());
        let listener = Listener { events, ready, trace: Arc::clone(&trace), open: Arc::clone(&open), signed_on: false };
        thread::spawn(move || listener.run(output));
        let chat = Chat { child, input, came, trace, open, next: 0, state: None };
        is_ready.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{user} is not signed on after {PATIENCE:?}"));
        chat
    }

    /// What it sees from now on.
    pub fn trace(&self) -> Arc<Trace> {
        Arc::clone(&self.trace)
    }
}

impl Voice for Chat {
    fn post(&mut self, recipient: &str, body: &[u8]) -> Result<u64, String> {
        let text = String::from_utf8(body.to_vec()).map_err(|error| error.to_string())?;
        self.next += 1;
        self.open.lock().expect("the open ones").insert((recipient.to_owned(), text.clone()), self.next);
        let input = self.input.as_mut().ok_or("signed off")?;
        input.write_all(format!("{recipient}: {text}\n").as_bytes()).map_err(|error| error.to_string())?;
        Ok(self.next)
    }

    fn next(&mut self, patience: Duration) -> Option<Came> {
        self.came.recv_timeout(patience).ok()
    }

    fn sign_off(&mut self) {
        self.input = None;
        // Nothing comes any more when it has ended.
        while self.came.recv_timeout(GOODBYE).is_ok() {}
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The thread that reads what the process says.
struct Listener {
    events: mpsc::Sender<Came>,
    ready: mpsc::Sender<()>,
    trace: Arc<Trace>,
    open: Open,
    signed_on: bool,
}

impl Listener {
    fn run(mut self, output: ChildStdout) {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(came) = self.heard(&line) {
                if self.events.send(came).is_err() {
                    return;
                }
            }
        }
    }

    fn heard(&mut self, line: &str) -> Option<Came> {
        let event: Value = serde_json::from_str(line).ok()?;
        let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
        match event["event"].as_str() {
            Some("signed_on") if !self.signed_on => {
                self.signed_on = true;
                self.trace.signed_on(text("server"));
                let _ = self.ready.send(());
                None
            }
            Some("moved") => {
                self.trace.moved(text("server"));
                None
            }
            Some("map") => None,
            Some("message") => {
                self.trace.message();
                Some(Came::Message(text("sender"), text("body").into_bytes()))
            }
            Some("sent") => {
                let number = self.open.lock().expect("the open ones").remove(&(text("recipient"), text("body")));
                let code = || Code::parse(text("code").as_bytes()).unwrap_or(Code::Internal);
                let answer = if event["ok"] == true { Ok(()) } else { Err(code()) };
                Some(number.map_or_else(|| Came::Broke(line.to_owned()), |number| Came::Answer(number, answer)))
            }
            _ => Some(Came::Broke(line.to_owned())),
        }
    }
}
