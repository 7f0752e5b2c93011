//! Any bytes: from another main server, and from what poses as management.

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::identity::ServerKey;
use convergia::engine::limits::Limits;
use convergia::engine::sim::Sim;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::roles::main;
use convergia::wire::Fail;
use rand::Rng;
use rand::RngExt;

use crate::network::seeds;
use crate::rogue::stage::resident;
use crate::rogue::stage::Stage;

/// Something like what is expected, spoiled.
fn spoiled(rng: &mut impl Rng, samples: &[&str]) -> Vec<u8> {
    const PIECES: &[&str] = &[
        "|",
        "~\n",
        "~~",
        "~",
        "0",
        "1",
        "18446744073709551615",
        "a",
        "b",
        "rogue",
        "alice",
        "bob",
        "mallory",
        " ",
        "m|",
        "u|",
        "r|",
        "g|",
        "MOVED",
        "OK",
        "FAIL",
        "-",
        "\u{0}",
        "ä",
        "",
        "0 ",
        "up",
        "down",
        "removed",
        "ffffffffffffffff",
    ];
    let mut data = samples[rng.random_range(0..samples.len())].as_bytes().to_vec();
    for _ in 0..rng.random_range(0..6) {
        let at = rng.random_range(0..=data.len());
        let end = (at + rng.random_range(0..8)).min(data.len());
        match rng.random_range(0..4) {
            0 => drop(data.drain(at..end)),
            1 => drop(data.splice(at..end, PIECES[rng.random_range(0..PIECES.len())].bytes())),
            2 => drop(data.splice(at..at, [rng.random::<u8>()])),
            _ => {
                let copy = data[at..end].to_vec();
                drop(data.splice(at..at, copy));
            }
        }
    }
    // One packet stays one packet: what breaks framing only closes the link.
    data.retain(|byte| *byte != b'\r');
    let mut line = Vec::new();
    for byte in data {
        if byte == b'\n' && line.iter().rev().take_while(|byte| **byte == b'~').count() % 2 == 0 {
            continue;
        }
        line.push(byte);
    }
    if line.iter().rev().take_while(|byte| **byte == b'~').count() % 2 == 1 {
        line.pop();
    }
    line
}

#[test]
fn any_packets_between_servers() {
    let seeds =
        std::env::var("CONVERGIA_SEED").ok().and_then(|seed| seed.parse().ok()).map_or(0..4, |one| one..one + 1);
    for seed in seeds {
        println!("CONVERGIA_SEED={seed}");
        let mut stage = Stage::new(100 + seed);
        let before = resident();
        for round in 0..3_000 {
            let boots = stage.at(|rogue, _| [rogue.boots["a"].clone(), rogue.boots["b"].clone()]);
            let at = stage.net.sim.rng().random_range(0..2usize);
            let (to, now) = (["a", "b"][at], stage.net.sim.now());
            let head = format!("16|{to}|{}|rogue|{now}|1|0|1|", boots[at]);
            let kinds = [
                "m|mallory|bob|5|",
                "m|mallory|alice|5|x",
                "offer|x|mallory|3|8000|s||",
                "cancel|x",
                "late|x|bob|2",
                "done|x|",
                "arrived|x",
                "left|x",
                "kept|mallory|3",
                "fetch|mallory|3",
                "keptend|mallory|3",
                "attached|x",
                "copy|x|1",
                "seen|x|1",
                "ended|x",
                "taken|x",
            ];
            let relays: Vec<String> = kinds.iter().map(|kind| format!("{head}~\n{kind}~\n0 3 a b2 ~~")).collect();
            let back =
                [format!("16|{to}|rogue|1|{now}|1||~\n1|BUSY|x~\n2|MOVED|no|x|a~\n"), format!("16|a|b|1|{now}|1|gap|")];
            let (command, samples): (_, Vec<&str>) = match stage.net.sim.rng().random_range(0..3) {
                0 => ("RELAYED", back.iter().map(String::as_str).collect()),
                _ => ("RELAY", relays.iter().map(String::as_str).collect()),
            };
            let data = spoiled(stage.net.sim.rng(), &samples);
            stage.at(|rogue, ctx| rogue.send(ctx, to, command, &data));
            if round % 20 == 0 {
                stage.talk(1);
            }
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 400, "{grown} MiB");
        // Mallory may have written to both, as mallory.
        for log in [&stage.told, &stage.heard] {
            let others = |event: &convergia::client::Event| matches!(event, convergia::client::Event::Message { sender, .. } if *sender != "alice" && *sender != "bob");
            log.lock().unwrap().retain(|event| !others(event));
        }
        stage.assert_undisturbed();
    }
}

/// Management that says anything.
#[derive(Default)]
struct Babbler {
    link: Option<LinkId>,
}

const PORTS: &[PortKey] = &[PortKey::MainManagement, PortKey::Validation];

const fn row(name: &'static str) -> Command<Babbler> {
    Command { name, ports: PORTS, args: "any", gate: anyone, run: answer }
}

fn answer(babbler: &mut Babbler, ctx: &mut Ctx<Babbler>, request: &Request<'_>) -> Result<Answer, Fail> {
    babbler.link = Some(request.link);
    if request.packet.command != b"PORTION" {
        return Ok(Answer::Ok);
    }
    let data = spoiled(ctx.rng(), &["~\n5~\n0000000000000000~\nu|alice|a~\nr|b|b", "1~\n5~\n0~\nu|alice|a|b"]);
    Ok(Answer::Data(data))
}

impl Role for Babbler {
    type Peer = ();
    const NAME: &'static str = "babbler";

    fn commands() -> &'static [Command<Babbler>] {
        const {
            &[
                row("MAINSERVER"),
                row("PORTION"),
                row("LINKS"),
                row("PRESENCE"),
                row("LOOKUP"),
                row("MOVE"),
                row("WATCHMAP"),
                row("SYNCMAP"),
            ]
        }
    }
}

#[test]
fn anything_from_management() {
    seeds(5, |seed| {
        let mut sim = Sim::new(seed);
        let listen = [(PortKey::MainManagement, "main_management"), (PortKey::Validation, "validation")];
        let management = sim.add(None, Limits::default(), [1; 32], &listen, Babbler::default).expect("a node");
        let key = ServerKey::from_bytes(&[2; 32]);
        let settings = main::Settings {
            server_id: "a".into(),
            name: "a".into(),
            address: "a:73".into(),
            mesh: "a:77".into(),
            fingerprint: [2; 32],
            key,
            public: None,
            management: Target::Local(PortKey::MainManagement),
            validation: Target::Local(PortKey::Validation),
            storage: false,
            realm: None,
        };
        let make = move || main::Main::new(settings.clone());
        let node = sim.add(Some(main::MIGRATIONS), Limits::default(), [2; 32], &[], make).expect("a node");
        sim.run_for(3_000);
        let before = resident();
        let (key, print) = (ServerKey::from_bytes(&[3; 32]).public().to_string(), "0a".repeat(32));
        let servers = [
            format!("b|up|b:77|{key}|b:73|{print}|5||17~\nc|down||{key}|||0||0"),
            format!("b|removed|||||0||0~\nrogue|up|:77|{key}|:73|{print}|5|draining|18446744073709551615"),
        ];
        for _ in 0..5_000 {
            let (command, samples): (_, Vec<&str>) = match sim.rng().random_range(0..5) {
                0 => ("SERVERS", servers.iter().map(String::as_str).collect()),
                1 => ("DISCONNECT", vec!["alice~\nbye"]),
                2 => ("MOVECLIENTS", vec!["5~\nb", "18446744073709551615~\nb"]),
                _ => (
                    "ROUTES",
                    vec![
                        "5~\n0000000000000000~\nu|alice|a|b~\nr|b|b~\nm|x|alice|a|b~\nm|x|alice|b|a~\ng|b",
                        "6~\nf~\nu|bob|~\nr|b|",
                    ],
                ),
            };
            let data = spoiled(sim.rng(), &samples);
            let sent = sim.with(management, |babbler: &mut Babbler, ctx| {
                babbler.link.is_some_and(|link| ctx.put_parts(link, &[command.as_bytes(), b" ", &data]).is_ok())
            });
            assert!(sent.is_some());
            sim.run_for(3);
        }
        let grown = resident().saturating_sub(before);
        assert!(grown < 400, "{grown} MiB");
        assert_eq!(sim.with(node, |main: &mut main::Main, _| main.counts().0), Some(0), "it runs");
    });
}
