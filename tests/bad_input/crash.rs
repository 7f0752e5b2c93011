//! kill -9 at any moment: every account answered OK is there after the restart.

use std::sync::mpsc;

use crate::support;
use crate::support::sign_on::register_on;
use crate::support::sign_on::try_register_on;
use crate::support::sign_on::PASSWORD;
use crate::support::Answer;
use crate::support::Raw;
use crate::support::Server;

const ROUNDS: u64 = 4;
const CLIENTS: u64 = 6;

/// Registers one account after another until the server is gone; tells each that was answered OK.
fn register_until_gone(address: &str, round: u64, client: u64, told: &mpsc::Sender<String>) {
    let Ok(mut link) = Raw::try_connect(address) else { return };
    for n in 0.. {
        let user = format!("r{round}c{client}n{n}");
        match try_register_on(&mut link, &user, PASSWORD) {
            Some(Answer::Ok(_)) => {
                if told.send(user).is_err() {
                    return;
                }
            }
            Some(Answer::Fail(code, text)) => panic!("{user}: FAIL {} {text}", code.word()),
            None => return,
        }
    }
}

#[test]
fn every_account_answered_ok_survives_kill_9() {
    let mut random = support::Random::seeded();
    let mut server = Server::open();
    let mut all: Vec<String> = Vec::new();
    for round in 0..ROUNDS {
        let (told, heard) = mpsc::channel();
        let address = server.addr("public_management");
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let (address, told) = (address.clone(), told.clone());
                std::thread::spawn(move || register_until_gone(&address, round, client, &told))
            })
            .collect();
        drop(told);
        // The moment is some hundreds of microseconds after some answer: in the middle of what the others asked for.
        for _ in 0..1 + random.below(15) {
            all.push(heard.recv().expect("an account is registered"));
        }
        for _ in 0..random.below(200_000) {
            std::hint::spin_loop();
        }
        server.kill();
        for client in clients {
            client.join().expect("a client saw a FAIL");
        }
        all.extend(heard.iter());
        server.restart();
        println!("round {round}: {} accounts so far", all.len());
        for user in all.iter().filter(|user| user.starts_with(&format!("r{round}c"))) {
            support::login(&server, user, PASSWORD);
        }
    }
    // Those of earlier rounds too: a name that is taken is EXISTS.
    let mut link = Raw::connect(&server.addr("public_management"));
    for user in &all {
        assert_eq!(register_on(&mut link, user, PASSWORD).code(), convergia::wire::Code::Exists, "{user}");
    }
    crate::assert_others_talk(&server, "crash");
}
