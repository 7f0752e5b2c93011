//! Something between management and the main servers that changes what management tells: checksums go wrong.

use std::cell::Cell;
use std::collections::HashMap;

use convergia::config::PortKey;
use convergia::engine::anyone;
use convergia::engine::limits::Limits;
use convergia::engine::sim::NodeId;
use convergia::engine::Answer;
use convergia::engine::Command;
use convergia::engine::Ctx;
use convergia::engine::Gone;
use convergia::engine::LinkId;
use convergia::engine::Request;
use convergia::engine::Role;
use convergia::engine::Target;
use convergia::roles::main::Main;
use convergia::wire::Fail;
use rand::RngExt;

use crate::many::client_at;
use crate::many::is_undisturbed;
use crate::many::Stream;
use crate::network::seeds;
use crate::network::Network;
use crate::network::HIDDEN;

/// How ROUTES are changed.
#[derive(Clone, Copy, Debug)]
enum Lie {
    /// Another checksum.
    Checksum,
    /// Nobody in it is signed on anywhere; the checksum is that of the truth.
    Users,
}

/// Stands where main servers look for management, and passes everything on.
#[derive(Default)]
struct Between {
    other: HashMap<LinkId, LinkId>,
    /// How the next ROUTES are changed, and how many.
    lie: Option<(Lie, u32)>,
    lies: u32,
    loads: u32,
}

const fn row(name: &'static str) -> Command<Between> {
    Command { name, ports: &[PortKey::MainManagement], args: "any", gate: anyone, run }
}

fn run(between: &mut Between, ctx: &mut Ctx<Between>, request: &Request<'_>) -> Result<Answer, Fail> {
    let name = String::from_utf8_lossy(request.packet.command).into_owned();
    let Some(other) = between.other.get(&request.link).copied() else { return Ok(Answer::None) };
    let mut data = request.data().unescape().into_owned();
    if name == "ROUTES" {
        if let Some((lie, left @ 1..)) = &mut between.lie {
            *left -= 1;
            between.lies += 1;
            data = changed(*lie, &String::from_utf8(data).expect("text")).into_bytes();
        }
    }
    between.loads += u32::from(name == "PORTION" && data == b"0");
    let fields: &[&[u8]] = if data.is_empty() { &[] } else { &[&data] };
    if ["ROUTES", "SERVERS", "MAPCHANGED", "KEEPERS"].contains(&&*name) {
        ctx.push(other, &name, fields)?;
        return Ok(Answer::None);
    }
    let later = request.later();
    ctx.request(other, &name, fields, move |_, ctx, answer| {
        ctx.answer(&later, answer.map(|data| data.unescape().into_owned()));
    });
    Ok(Answer::Later)
}

fn changed(lie: Lie, data: &str) -> String {
    let mut parts = data.splitn(3, '\n');
    let [version, checksum, lines] = [(); 3].map(|()| parts.next().unwrap_or_default());
    match lie {
        Lie::Checksum => format!("{version}\n{:016x}\n{lines}", u64::from_str_radix(checksum, 16).expect("hex") ^ 1),
        Lie::Users => {
            let line = |line: &str| match line.strip_prefix("u|").and_then(|rest| rest.split('|').next()) {
                Some(user) => format!("u|{user}|"),
                None => line.to_owned(),
            };
            let lines: Vec<String> = lines.lines().map(line).collect();
            format!("{version}\n{checksum}\n{}", lines.join("\n"))
        }
    }
}

impl Role for Between {
    type Peer = ();
    const NAME: &'static str = "between";

    fn commands() -> &'static [Command<Between>] {
        const {
            &[
                row("MAINSERVER"),
                row("PRESENCE"),
                row("LOOKUP"),
                row("LINKS"),
                row("PORTION"),
                row("MOVE"),
                row("KEEPS"),
                row("KEEPERS"),
                row("TALKS"),
                row("DRAINING"),
                row("WATCHMAP"),
                row("SYNCMAP"),
                row("SERVERS"),
                row("ROUTES"),
                row("MAPCHANGED"),
                row("DRAIN"),
                row("MOVECLIENTS"),
                row("DISCONNECT"),
            ]
        }
    }

    fn opened(&mut self, ctx: &mut Ctx<Between>, link: LinkId) {
        match self.other.get(&link) {
            Some(main) => ctx.pause(*main, false),
            None => {
                let other = ctx.connect(PortKey::MainManagement, Target::Local(HIDDEN), ());
                self.other.extend([(link, other), (other, link)]);
                ctx.pause(link, true);
            }
        }
    }

    fn closed(&mut self, ctx: &mut Ctx<Between>, link: LinkId, _: Gone<()>) {
        if let Some(other) = self.other.remove(&link) {
            ctx.close(other, "the other end is gone");
        }
    }
}

fn between(net: &mut Network) -> NodeId {
    let listen = [(PortKey::MainManagement, PortKey::MainManagement.name())];
    net.sim.add(None, Limits::default(), [0; 32], &listen, Between::default).unwrap()
}

#[test]
fn a_wrong_checksum_is_noticed_and_nothing_is_lost() {
    let all = Cell::new(0);
    seeds(40, |seed| {
        let mut net = Network::of(seed, &["a", "b", "c"], &["alice", "bob", "carol"]);
        let between = between(&mut net);
        net.sim.run_for(3_000);
        let (alice, heard) = client_at(&mut net, "alice", 0);
        let (bob, told) = client_at(&mut net, "bob", 1);
        let (carol, known) = client_at(&mut net, "carol", 2);
        let mut streams = [
            Stream::new(alice, "alice", "bob"),
            Stream::new(bob, "bob", "alice"),
            Stream::new(carol, "carol", "alice"),
            Stream::new(alice, "alice to carol", "carol"),
        ];
        let loads = |net: &mut Network| net.sim.with(between, |one: &mut Between, _| (one.loads, one.lies)).unwrap();
        let (before, _) = loads(&mut net);
        for round in 0..240 {
            for stream in &mut streams {
                stream.send(&mut net);
            }
            let pause = net.sim.rng().random_range(0..20);
            net.sim.run_for(pause);
            if round % 40 == 20 {
                // Somebody moves, and that is told wrongly to some.
                let lie = if net.sim.rng().random() { Lie::Checksum } else { Lie::Users };
                let count = net.sim.rng().random_range(1..=3);
                net.sim.with(between, |one: &mut Between, _| one.lie = Some((lie, count))).unwrap();
                let (from, to) = (net.sim.rng().random_range(0..3), net.sim.rng().random_range(0..3));
                let main = net.mains[from];
                net.sim.with(main, |main: &mut Main, ctx| main.move_clients(ctx, 10, ["a", "b", "c"][to])).unwrap();
            }
        }
        net.sim.run_for(15_000);
        for (stream, log) in streams.iter().zip([&told, &heard, &heard, &known]) {
            stream.check(log, 0);
        }
        assert!([&heard, &told, &known].into_iter().all(is_undisturbed));
        let (after, lies) = loads(&mut net);
        assert!(lies == 0 || after > before, "{lies} lies, and the table was not loaded anew");
        all.set(all.get() + lies);
    });
    assert!(all.get() > 0, "nothing was told wrongly");
}
