//! The executable as a command that ends by itself.

use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::Stdio;

use super::server::Server;

/// The executable. Cargo names it to tests; an example looks beside its own folder.
pub fn executable() -> PathBuf {
    let beside = || {
        let own = std::env::current_exe().expect("the path of this program");
        own.parent().and_then(Path::parent).expect("the folder of the build").join("convergia")
    };
    option_env!("CARGO_BIN_EXE_convergia").map_or_else(beside, PathBuf::from)
}

/// What a command left.
#[derive(Debug)]
pub struct Done {
    /// The exit status; -1: ended by a signal.
    pub status: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// Runs the executable with nothing on stdin, and waits for its end.
pub fn run(arguments: &[&str]) -> Done {
    let mut command = Command::new(executable());
    command.args(arguments).stdin(Stdio::null());
    finish(command)
}

/// Waits for the end of a command that was put together.
pub fn finish(mut command: Command) -> Done {
    let output = command.output().expect("the executable starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Done { status: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

/// `convergia admin` on that server; its output. Panics unless it is done.
#[track_caller]
pub fn admin(server: &Server, arguments: &[&str]) -> String {
    let data_dir = server.data_dir().to_str().expect("a path in UTF-8");
    let all: Vec<&str> = ["admin", "--data-dir", data_dir].iter().chain(arguments).copied().collect();
    let done = run(&all);
    assert_eq!(done.status, 0, "{arguments:?}: {done:?}");
    done.out
}
