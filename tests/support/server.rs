//! The real executable as a child process.

use std::io::BufRead;
use std::io::BufReader;
use std::process::Child;
use std::process::Command;
use std::process::ExitStatus;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::time::Duration;
use std::time::Instant;

use rustix::process::kill_process;
use rustix::process::waitid;
use rustix::process::Pid;
use rustix::process::Signal;
use rustix::process::WaitId;
use rustix::process::WaitIdOptions;
use serde_json::Value;

use super::command;
use super::temp::TempDir;

/// How long a start or a stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What the child said on stderr, and whether it has ended.
#[derive(Default)]
struct Log {
    state: Mutex<(String, bool)>,
    changed: Condvar,
}

/// A running server with a data directory of its own. Killed, and its directory removed, when dropped.
pub struct Server {
    /// What it is called where a test has several.
    name: String,
    /// The address that stands for 0.0.0.0: how it is reached.
    host: String,
    child: Child,
    directory: TempDir,
    arguments: Vec<String>,
    /// On which addresses it listens: `--any-port` at first.
    places: Vec<String>,
    ready: Value,
    log: Arc<Log>,
    /// The logs of its earlier starts.
    earlier: Vec<String>,
    starts: u32,
}

impl Server {
    /// Starts the executable with embedded defaults, every listener on a free port, and `arguments`. Panics with the
    /// server's log if it does not come up.
    pub fn start(arguments: &[&str]) -> Server {
        let mut server = Server::begin(TempDir::new(), arguments);
        server.wait_until_ready();
        server
    }

    /// What it is called in messages, and how it is reached when it listens on 0.0.0.0.
    pub fn set_name(&mut self, name: &str, host: &str) {
        (self.name, self.host) = (name.to_owned(), host.to_owned());
    }

    /// A server on which anyone may register without a captcha.
    pub fn open() -> Server {
        Server::start(&["--set", "management.registration=open"])
    }

    /// Starts it with a directory that may hold something, and does not wait: `wait_until_ready` does.
    pub fn begin(directory: TempDir, arguments: &[&str]) -> Server {
        Server::begin_at(directory, vec!["--any-port".to_owned()], arguments)
    }

    /// The same, with arguments that say where it listens.
    pub fn begin_at(directory: TempDir, places: Vec<String>, arguments: &[&str]) -> Server {
        let arguments: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let (child, log) = spawn(&directory, &places, &arguments, 0);
        let (name, host) = ("the server".to_owned(), "127.0.0.1".to_owned());
        let (ready, earlier) = (Value::Null, Vec::new());
        Server { name, host, child, directory, arguments, places, ready, log, earlier, starts: 0 }
    }

    /// A main server that joins the network of `management` under this name, and is ready.
    pub fn join(management: &Server, name: &str) -> Server {
        let directory = TempDir::new();
        let key = public_key(&directory);
        super::admin(management, &["add-server", name, "main", &key]);
        let (join, name) = (format!("join={}", management.url()), format!("name={name}"));
        let mut server = Server::begin(directory, &["--set", &join, "--set", &name]);
        server.wait_until_ready();
        server
    }

    /// Waits until the log has `text`.
    #[track_caller]
    pub fn wait_for_log(&self, text: &str) {
        let state = self.log.state.lock().expect("the log");
        let waits = |state: &mut (String, bool)| !state.1 && !state.0.contains(text);
        let (state, _) = self.log.changed.wait_timeout_while(state, PATIENCE, waits).expect("the log");
        assert!(state.0.contains(text), "no {text:?} in the log:\n{}", state.0);
    }

    fn ready_file(&self) -> std::path::PathBuf {
        self.directory.path().join(format!("ready-{}.json", self.starts))
    }

    /// The ready file appears whole, by a rename; std has no way to wait for a file, so this one wait looks again and
    /// again. It ends at once when the child dies.
    #[track_caller]
    pub fn wait_until_ready(&mut self) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Ok(text) = std::fs::read_to_string(self.ready_file()) {
                self.ready = serde_json::from_str(&text).expect("the ready file is JSON, written whole at once");
                return;
            }
            let ended = self.wait_end(Duration::from_millis(5));
            let name = &self.name;
            assert!(!ended, "{name} ended before it was ready; its log:\n{}", self.log());
            assert!(Instant::now() < until, "{name} is not ready after {PATIENCE:?}; its log:\n{}", self.log());
        }
    }

    /// Waits until stderr is closed, which the child's end does. False: it still runs after `patience`.
    fn wait_end(&self, patience: Duration) -> bool {
        let state = self.log.state.lock().expect("the log");
        let (state, _) = self.log.changed.wait_timeout_while(state, patience, |state| !state.1).expect("the log");
        state.1
    }

    /// The address of a listener by its configuration key, as clients reach it: `127.0.0.1:40001`.
    #[track_caller]
    pub fn addr(&self, key: &str) -> String {
        let bound = self.bound(key);
        bound.strip_prefix("0.0.0.0:").map_or(bound.clone(), |port| format!("{}:{port}", self.host))
    }

    /// The same, as the ready file has it.
    #[track_caller]
    fn bound(&self, key: &str) -> String {
        let address = self.ready["listen"][key].as_str();
        address.unwrap_or_else(|| panic!("no listener {key} in {}", self.ready)).to_owned()
    }

    /// The keys of all its listeners.
    pub fn listeners(&self) -> Vec<String> {
        let listen = self.ready["listen"].as_object().expect("the ready file's listeners");
        listen.keys().cloned().collect()
    }

    /// Those of them that speak TLS: voice does not.
    pub fn tls_listeners(&self) -> Vec<String> {
        self.listeners().into_iter().filter(|key| !key.starts_with("voice_")).collect()
    }

    /// The `convergia://HOST:PORT#FINGERPRINT` that clients are given.
    pub fn url(&self) -> String {
        self.ready["management"].as_str().expect("the ready file's management address").to_owned()
    }

    /// The fingerprint in it.
    pub fn fingerprint(&self) -> String {
        let url = self.url();
        url.split_once('#').expect("a pinned address").1.to_owned()
    }

    /// The whole ready file.
    pub fn ready(&self) -> &Value {
        &self.ready
    }

    /// Where it keeps its data.
    pub fn data_dir(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(pid, signal).expect("the child takes the signal");
    }

    /// SIGSTOP, and waits until it stands still. SIGCONT lets it go on.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        waitid(WaitId::Pid(pid), WaitIdOptions::STOPPED).expect("the child stands still");
    }

    /// SIGTERM, and waits for the exit. Panics if it does not stop.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.exit()
    }

    /// Waits for the exit of one that was told to stop. Panics if it does not.
    pub fn exit(&mut self) -> ExitStatus {
        assert!(self.wait_end(PATIENCE), "SIGTERM did not stop {}; its log:\n{}", self.name, self.log());
        self.child.wait().expect("the exit status")
    }

    /// Waits a moment, or until it ends: for what tells of itself only when it is asked.
    pub fn moment(&self) {
        self.wait_end(Duration::from_millis(10));
    }

    /// SIGKILL: the power cut. Waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts it again on the same data, with the same arguments; the ports are new. It must have ended, or is killed.
    pub fn restart(&mut self) {
        self.restart_waiting();
        self.wait_until_ready();
    }

    /// The same, without waiting until it is ready.
    pub fn restart_waiting(&mut self) {
        self.kill();
        self.earlier.push(self.log());
        self.starts += 1;
        let (child, log) = spawn(&self.directory, &self.places, &self.arguments, self.starts);
        (self.child, self.log) = (child, log);
    }

    /// The same on free ports, but for `stays`, which is where it was.
    pub fn restart_elsewhere(&mut self, stays: &str) {
        let place = |key: &String| if key == stays { self.addr(key) } else { "127.0.0.1:0".to_owned() };
        let set = |key: String| ["--set".to_owned(), format!("listen.{key}={}", place(&key))];
        self.places = self.listeners().into_iter().flat_map(set).collect();
        self.restart();
    }

    /// The same, on the ports that it had: its clients find it again.
    pub fn restart_in_place(&mut self) {
        let set = |key: String| ["--set".to_owned(), format!("listen.{key}={}", self.bound(&key))];
        if self.places.iter().any(|place| place == "--any-port") {
            self.places = self.listeners().into_iter().flat_map(set).collect();
        }
        self.restart();
    }

    /// SIGHUP, and waits until the log has `text` once more than before.
    #[track_caller]
    pub fn reload(&self, text: &str) {
        let count = |log: &str| log.matches(text).count();
        let before = count(&self.log());
        self.signal(Signal::HUP);
        let state = self.log.state.lock().expect("the log");
        let waits = |state: &mut (String, bool)| !state.1 && count(&state.0) == before;
        let (state, _) = self.log.changed.wait_timeout_while(state, PATIENCE, waits).expect("the log");
        assert!(count(&state.0) > before, "no {text:?} after SIGHUP; the log:\n{}", state.0);
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Memory in use, in KiB.
    pub fn rss_kib(&self) -> u64 {
        self.status("VmRSS:")
    }

    /// The most memory that was ever in use, in KiB.
    pub fn peak_rss_kib(&self) -> u64 {
        self.status("VmHWM:")
    }

    fn status(&self, key: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("the child's status");
        let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("a line of the child's status");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// All that it wrote to stderr since it was started last.
    pub fn log(&self) -> String {
        self.log.state.lock().expect("the log").0.clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            for log in &self.earlier {
                eprintln!("--- log of {}, before it was started again ---\n{log}", self.name);
            }
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
    }
}

/// What `convergia key` prints for that data folder.
pub fn public_key(directory: &TempDir) -> String {
    let done = super::run(&["key", "--data-dir", directory.path().to_str().expect("UTF-8")]);
    assert_eq!((done.status, done.err.as_str()), (0, ""), "{done:?}");
    done.out.trim_end().to_owned()
}

fn spawn(directory: &TempDir, places: &[String], arguments: &[String], starts: u32) -> (Child, Arc<Log>) {
    let mut child = Command::new(command::executable())
        .arg("--data-dir")
        .arg(directory.path())
        .args(places)
        .arg("--ready-file")
        .arg(directory.path().join(format!("ready-{starts}.json")))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the executable starts");
    let log = Arc::new(Log::default());
    let (stderr, shared) = (child.stderr.take().expect("a pipe"), Arc::clone(&log));
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut state = shared.state.lock().expect("the log");
            state.0.push_str(&line);
            state.0.push('\n');
            drop(state);
            shared.changed.notify_all();
        }
        shared.state.lock().expect("the log").1 = true;
        shared.changed.notify_all();
    });
    (child, log)
}
