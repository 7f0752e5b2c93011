//! Who may read what the executable writes: its user alone.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use crate::support;
use crate::support::command::finish;
use crate::support::Server;
use crate::support::TempDir;

fn mode(path: &Path) -> u32 {
    let metadata = std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    metadata.permissions().mode() & 0o777
}

/// Everything below, except what is for others: `address`, and the ready file.
fn check(folder: &Path, seen: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        match path.is_dir() {
            true => {
                assert_eq!(mode(&path), 0o700, "{}", path.display());
                check(&path, seen);
            }
            false if name == "address" || name.starts_with("ready-") => assert_eq!(mode(&path), 0o644, "{name}"),
            false => assert_eq!(mode(&path), 0o600, "{}", path.display()),
        }
        seen.push(name);
    }
}

#[test]
fn what_the_server_writes_is_for_its_user_alone() {
    let server = Server::open();
    support::sign_on(&server, "alice").assert_alive();
    let mut seen = Vec::new();
    check(server.data_dir(), &mut seen);
    for name in ["private-key.pem", "certificate.pem", "database.sqlite", "database.sqlite-wal", "admin.sock", "lock"] {
        assert!(seen.iter().any(|other| other == name), "no {name} among {seen:?}");
    }
}

/// Folders that the executable has to make itself; a umask that allows everything.
#[test]
fn a_data_folder_that_was_not_there_is_made_private() {
    let folder = TempDir::new();
    let (outer, data) = (folder.path().join("outer"), folder.path().join("outer/data"));
    let mut command = Command::new("sh");
    command.args(["-c", "umask 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_convergia")]);
    // One port is out of reach, so the start ends right after everything was made.
    command.args(["--any-port", "--set", "name=x", "--role", "management", "--data-dir"]).arg(&data);
    command.arg("--ready-file").arg(folder.path().join("no such folder/ready")).stdin(Stdio::null());
    let done = finish(command);
    assert_eq!(done.status, 1, "{done:?}");
    for path in [&outer, &data] {
        assert_eq!(mode(path), 0o700, "{}", path.display());
    }
    let mut seen = Vec::new();
    check(&data, &mut seen);
    assert!(seen.iter().any(|name| name == "private-key.pem"), "{seen:?}");
}

#[test]
fn what_the_client_remembers_is_for_its_user_alone() {
    let server = Server::open();
    let home = TempDir::new();
    let state = home.path().join("deep/client.json");
    for arguments in [["register", "alice"], ["login", "alice"]] {
        let mut command = Command::new("sh");
        command.args(["-c", "umask 0; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_convergia")]);
        command.args(arguments).args(["--server", &server.url()]).env_clear().env("HOME", home.path());
        command.env("CONVERGIA_CLIENT_STATE", &state).env("CONVERGIA_PASSWORD", "correct horse").stdin(Stdio::null());
        let done = finish(command);
        assert_eq!(done.status, 0, "{done:?}");
    }
    assert_eq!(mode(&state), 0o600);
    assert_eq!(mode(state.parent().expect("a folder")), 0o700);
    assert!(std::fs::read_to_string(&state).expect("the state").contains(&server.fingerprint()));
}
