//! Realms that stand alone, and the management server with their directory.

use super::admin;
use super::server::public_key;
use super::sign_on::try_register_on;
use super::sign_on::PASSWORD;
use super::Raw;
use super::Server;
use super::TempDir;

/// A management server, with the directory of realms.
pub fn management() -> Server {
    Server::start(&["--role", "management", "--set", "management.registration=open"])
}

/// A realm that stands alone, added to that directory under its name; anybody may register there.
#[track_caller]
pub fn realm(management: &Server, name: &str, settings: &[&str]) -> Server {
    let mut realm = begin(management, name, settings);
    realm.wait_until_ready();
    realm
}

/// The same, without waiting until it is ready.
#[track_caller]
pub fn begin(management: &Server, name: &str, settings: &[&str]) -> Server {
    let directory = TempDir::new();
    admin(management, &["add-server", name, "realm", &public_key(&directory), "--alone"]);
    let (own, join) = (format!("name={name}"), format!("join={}", management.url()));
    let mut arguments = vec!["--role", "realm", "--set", &own, "--set", &join, "--set", "realm.registration=open"];
    arguments.extend(settings.iter().flat_map(|setting| ["--set", setting]));
    let mut realm = Server::begin(directory, &arguments);
    realm.set_name(name, "127.0.0.1");
    realm
}

/// The realm's id.
pub fn id(realm: &Server) -> String {
    realm.addr("realm")
}

/// A connection to a realm's door.
pub fn door(realm: &Server) -> Raw {
    let mut link = Raw::connect(&realm.addr("realm"));
    link.send_bytes(b"OpenGroove\n").expect("the door reads");
    link
}

/// Registers the user on the realm if there is none, and signs on.
#[track_caller]
pub fn user(realm: &Server, name: &str) -> Raw {
    let mut link = door(realm);
    link.ask("STARTREGISTRATION", &[]).ok();
    try_register_on(&mut link, name, PASSWORD).expect("the realm stays");
    drop(link);
    let mut link = door(realm);
    link.ask("LOGIN", &[name, PASSWORD]).ok();
    link
}
