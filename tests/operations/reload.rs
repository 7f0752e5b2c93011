//! SIGHUP: the configuration and the certificates are read again, and nobody is disconnected.

use std::path::Path;

use convergia::accounts::keys;
use convergia::wire::Code;

use crate::support;
use crate::support::sign_on::login_link;
use crate::support::sign_on::sign_on_again;
use crate::support::sign_on::ticket;
use crate::support::sign_on::PASSWORD;
use crate::support::tls;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;
use crate::support::TempDir;

const DONE: &str = "the configuration was loaded again";
const STAYS: &str = "what was in force stays";

/// A server with a configuration file that can be changed.
struct Configured {
    server: Server,
    folder: TempDir,
}

impl Configured {
    fn start(text: &str) -> Configured {
        let folder = TempDir::new();
        let file = folder.path().join("convergia.toml");
        std::fs::write(&file, text).expect("a file");
        let server = Server::start(&["--config", file.to_str().expect("UTF-8")]);
        Configured { server, folder }
    }

    fn write(&self, text: &str) {
        std::fs::write(self.folder.path().join("convergia.toml"), text).expect("a file");
    }

    fn registers(&self, user: &str) -> Answer {
        Raw::connect(&self.server.addr("public_management")).ask("REGISTERACCOUNT", &[user, PASSWORD])
    }
}

/// Puts a new certificate where a role has its own; its fingerprint.
fn renew(folder: &Path) -> String {
    let made = rcgen::generate_simple_self_signed(vec!["convergia".to_owned()]).expect("a certificate");
    std::fs::write(folder.join("private-key.pem"), made.signing_key.serialize_pem()).expect("a key");
    std::fs::write(folder.join("certificate.pem"), made.cert.pem()).expect("a certificate");
    tls::fingerprint(made.cert.der())
}

fn policy(name: &str) -> String {
    format!("[management]\nregistration = \"{name}\"\n")
}

#[test]
fn a_new_policy_holds_at_once_and_sessions_go_on() {
    let it = Configured::start(&policy("open"));
    let (mut alice, mut bob) = (support::sign_on(&it.server, "alice"), support::sign_on(&it.server, "bob"));
    let (mut link, _) = login_link(&it.server, "alice", PASSWORD);
    it.write(&policy("closed"));
    it.server.reload(DONE);
    assert_eq!(it.registers("carol").code(), Code::Refused);
    it.write(&policy("captcha"));
    it.server.reload(DONE);
    assert!(it.registers("carol").ok().len() > 1_000, "a picture");
    alice.ask("SENDMESSAGE", &["bob", "still here"]).ok();
    assert_eq!(bob.receive_command("RECEIVEMESSAGE").fields::<3>()[2], b"still here");
    link.ask("LISTSERVERS", &[]).ok();
}

/// A request that was begun under one policy and confirmed under another gets through neither.
#[test]
fn a_policy_that_changes_in_between_opens_no_door() {
    let it = Configured::start(&policy("open"));
    let begun = it.registers("alice").text();
    it.write(&policy("captcha"));
    it.server.reload(DONE);
    let id = begun.trim_end();
    let mut link = Raw::connect(&it.server.addr("public_management"));
    assert_eq!(link.ask("CONFIRMREGISTERACCOUNT", &[id, ""]).code(), Code::Wrong);
}

#[test]
fn a_new_certificate_is_shown_to_new_connections() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let old = server.fingerprint();
    let new = renew(&server.data_dir().join("management"));
    assert_ne!(new, old);
    // Not before it is asked for.
    assert_eq!(Raw::connect(&server.addr("public_management")).fingerprint(), old);
    server.reload(DONE);
    for key in ["public_management", "client_management", "validation"] {
        assert_eq!(Raw::connect(&server.addr(key)).fingerprint(), new, "{key}");
    }
    alice.assert_alive();
    alice.ask("SENDMESSAGE", &["alice", "to myself"]).ok();
    // Who signs on with a key signs what it sees.
    let (mut link, _) = login_link(&server, "alice", PASSWORD);
    let (seed, public) = keys::generate().expect("a key");
    link.ask("ADDKEY", &["laptop", &keys::to_base64(&public)]).ok();
    for (print, good) in [(&old, false), (&new, true)] {
        let mut link = Raw::connect(&server.addr("client_management"));
        let challenge = link.ask("LOGINKEY", &["alice"]).text();
        let signature = keys::sign(&seed, &keys::signed_text("alice", print, &challenge)).expect("a signature");
        let answer = link.ask("PROVEKEY", &[&keys::to_base64(&signature)]);
        assert_eq!(matches!(answer, Answer::Ok(_)), good, "{answer:?}");
    }
    // Clients of this machine find the new fingerprint where they look for the address.
    let address = std::fs::read_to_string(server.data_dir().join("address")).expect("the address");
    assert!(address.trim_end().ends_with(&format!("#{new}")), "{address}");
}

/// A certificate that public authorities vouch for, as the operator has it renewed: no fingerprint in the address.
#[test]
fn a_certificate_of_the_operator_is_renewed() {
    let folder = TempDir::new();
    let first = renew(folder.path());
    let at = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let server = Server::start(&[
        "--set",
        "management.registration=open",
        "--set",
        &format!("management.certificate={}", at("certificate.pem")),
        "--set",
        &format!("management.private_key={}", at("private-key.pem")),
    ]);
    assert!(!server.url().contains('#'), "{}", server.url());
    assert!(!server.data_dir().join("management/private-key.pem").exists());
    let address = server.addr("client_management");
    assert_eq!(Raw::connect(&address).fingerprint(), first);
    let mut alice = support::sign_on(&server, "alice");
    let second = renew(folder.path());
    server.reload(DONE);
    assert_eq!(Raw::connect(&address).fingerprint(), second);
    sign_on_again(&server, "alice").assert_alive();
    alice.assert_alive();
}

#[test]
fn a_new_certificate_of_the_main_server_is_what_management_tells() {
    let server = Server::open();
    let mut alice = support::sign_on(&server, "alice");
    let old = ticket(&server, "alice");
    let new = renew(&server.data_dir().join("main"));
    server.reload(DONE);
    // `sign_on_again` compares the certificate with what LISTSERVERS says, and asks VALIDATEKEY.
    sign_on_again(&server, "alice").assert_alive();
    assert_eq!(ticket(&server, "alice").fingerprint, new);
    let mut link = Raw::connect(&server.addr("validation"));
    assert_eq!(link.ask("VALIDATEKEY", &[&old.server_id, &old.fingerprint]).code(), Code::Wrong);
    alice.assert_alive();
}

#[test]
fn a_bad_configuration_changes_nothing() {
    let it = Configured::start(&policy("open"));
    let mut alice = support::sign_on(&it.server, "alice");
    for bad in ["[management]\nregistration = \"closed\"\nunknown = 1\n", "registration", &policy("perhaps")] {
        it.write(bad);
        it.server.reload(STAYS);
        it.registers("bob").ok();
    }
    std::fs::remove_file(it.folder.path().join("convergia.toml")).expect("removed");
    it.server.reload(STAYS);
    it.registers("bob").ok();
    alice.assert_alive();
}

/// One certificate is good, the other is not: neither is taken, nor is anything else.
#[test]
fn a_bad_certificate_changes_nothing() {
    let it = Configured::start(&policy("open"));
    let mut alice = support::sign_on(&it.server, "alice");
    let before = ticket(&it.server, "alice");
    renew(&it.server.data_dir().join("main"));
    // A certificate of one key pair and the private key of another.
    let other = TempDir::new();
    renew(other.path());
    let folder = it.server.data_dir().join("management");
    std::fs::copy(other.path().join("certificate.pem"), folder.join("certificate.pem")).expect("copied");
    it.write(&policy("closed"));
    for _ in 0..2 {
        it.server.reload(STAYS);
        it.registers("bob").ok();
        assert_eq!(Raw::connect(&it.server.addr("public_management")).fingerprint(), it.server.fingerprint());
        assert_eq!(Raw::connect(&before.address).fingerprint(), before.fingerprint);
        std::fs::write(folder.join("certificate.pem"), "no certificate").expect("a file");
    }
    alice.assert_alive();
}

#[test]
fn what_needs_a_restart_is_said() {
    let it = Configured::start(&policy("open"));
    it.write(&format!("name = \"another\"\n{}", policy("closed")));
    it.server.reload(DONE);
    let log = it.server.log();
    let line = log.lines().find(|line| line.contains("need a restart")).unwrap_or_else(|| panic!("{log}"));
    assert!(line.contains("name"), "{line}");
    assert_eq!(it.registers("alice").code(), Code::Refused);
}
