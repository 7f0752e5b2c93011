//! The same over TLS and sockets, with the client as programs use it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use convergia::client::Address;
use convergia::client::Client;
use convergia::client::Event;
use convergia::client::Options;
use convergia::client::Secret;
use convergia::config::PortKey;
use convergia::engine::limits::Limits;
use convergia::engine::net;
use convergia::engine::net::Handle;
use convergia::engine::net::Listening;
use convergia::engine::rt;
use convergia::engine::tls;
use convergia::engine::tls::Identity;
use convergia::engine::Role;

use super::look;
use super::temp::TempDir;
use super::Desk;
use super::Server;
use super::State;
use super::Step;
use super::World;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const TOTAL: u64 = 20_000;

fn run<R: Role>(role: R) -> Handle<R> {
    let handle = Handle::new(role, Limits::default(), 1, None, &Arc::default()).unwrap();
    handle.with(|role, ctx| role.start(ctx));
    handle
}

fn listen<R: Role>(handle: &Handle<R>, port: PortKey, identity: &Arc<Identity>) -> (SocketAddr, Listening) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    net::listen(handle, port, any, tls::server(identity).unwrap(), identity).unwrap()
}

fn identity(folder: &Path, name: &str) -> Arc<Identity> {
    let file = |end: &str| folder.join(format!("{name}.{end}"));
    Identity::load(&file("pem"), &file("key"), true).unwrap()
}

#[test]
fn a_client_is_moved_to_and_fro_under_load() {
    let folder = TempDir::new();
    let world = World::default();
    *look(&world) = State { total: TOTAL, burst: 100, dead: vec![false; 2], ..State::default() };
    let identities = ["desk", "s0", "s1"].map(|name| identity(folder.path(), name));
    let desk = run(Desk(Arc::clone(&world)));
    let ports = [PortKey::PublicManagement, PortKey::ClientManagement, PortKey::Validation];
    let open = ports.map(|port| listen(&desk, port, &identities[0]));
    look(&world).ports = (open[1].0.port(), open[2].0.port());
    let servers = [0, 1].map(|me| run(Server { me, world: Arc::clone(&world), links: Vec::new() }));
    let mut listeners = Vec::new();
    for (server, identity) in servers.iter().zip(&identities[1..]) {
        let (address, listening) = listen(server, PortKey::ClientMain, identity);
        look(&world).addresses.push((address.to_string(), identity.fingerprint()));
        listeners.push(listening);
    }
    let address = Address {
        host: "127.0.0.1".into(),
        port: open[0].0.port(),
        fingerprint: Some(identities[0].fingerprint()),
        realm: false,
    };
    let options = Options::new(address, "alice".into(), Secret::Token("token".into()));
    let client = rt::block_on(Client::sign_on(options)).unwrap();

    let (mut heard, mut moved, mut replies) = (0, 0, Vec::new());
    while heard < TOTAL || moved < 5 {
        let event = rt::block_on(rt::timeout(PATIENCE, client.next())).expect("in time").expect("an event");
        match event {
            Event::Message { body, .. } => {
                assert_eq!(body, heard.to_string().into_bytes());
                heard += 1;
                if heard.is_multiple_of(4) {
                    let number = replies.len().to_string();
                    replies.push(client.post("SENDMESSAGE", &[b"bob", number.as_bytes()]));
                }
            }
            Event::Moved(_) => moved += 1,
            Event::SignedOn(_) => {}
            event => panic!("{event:?}"),
        }
        let mut state = look(&world);
        // As long as there are not enough moves there are messages.
        state.total = state.total.max(if moved < 5 { heard + 1_000 } else { 0 });
        let place = state.session.expect("a session");
        let quiet = state.offers.iter().all(|offer| offer.step == Step::Over);
        drop(state);
        if quiet && moved < 5 {
            servers[place.server].with(|server, ctx| server.redirect(ctx, place.link, 1 - place.server));
        }
    }
    for reply in &replies {
        assert_eq!(rt::block_on(rt::timeout(PATIENCE, reply.answer())), Ok(Ok(Vec::new())));
    }
    let state = look(&world);
    assert_eq!(state.wrong, Vec::<String>::new());
    assert_eq!(state.taken, (0..replies.len() as u64).collect::<Vec<_>>());
    assert_eq!(state.sign_ons, 1);
}
