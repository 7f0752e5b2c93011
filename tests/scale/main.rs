//! The route module at the size it is made for: management and main servers in one thread, without sockets. It checks that
//! all tables agree and all ways lead there, and measures what that costs; docs/scale.md has the figures.
//!
//! `cargo test --test scale` runs 100 servers with 20,000 users. The whole:
//! `cargo test --release --test scale -- --ignored --nocapture`. `CONVERGIA_SEED=n` repeats a run.

mod measure;
mod world;

use convergia::route::Change;
use measure::Memory;
use measure::Report;
use measure::Watch;
use world::Size;
use world::World;

#[test]
fn a_hundred_servers() {
    run(Size { servers: 100, users: 20_000, samples: 500, tables: 2 });
}

/// What a sign-on sends to each main server is under 200 bytes, whatever the names.
#[test]
fn the_longest_names() {
    let mut network = convergia::route::Network::new(1_800_000_000_000_000);
    let server = "s".repeat(64);
    network.up(&server).unwrap();
    network.page(&server, 0, 1_000).unwrap();
    network.presence(&server, &"n".repeat(64), 1).unwrap();
    let updates = network.take();
    assert_eq!(updates.iter().map(|update| world::packet(update).len()).collect::<Vec<_>>(), [184]);
}

/// Needs half a GB of memory and, in a release build, ten seconds.
#[test]
#[ignore = "takes minutes but in a release build"]
fn a_thousand_servers() {
    run(Size { servers: 1_000, users: 1_000_000, samples: 5_000, tables: 2 });
}

fn run(size: Size) {
    let seed = std::env::var("CONVERGIA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_micros() as u64);
    // Shown when the test fails.
    println!("CONVERGIA_SEED={seed}: {} main servers, {} users", size.servers, size.users);
    let mut report = Report::default();
    let mut world = World::new(seed, &size);

    users(&mut world, &size, &mut report);
    plan(&mut world, &size, &mut report);
    load(&mut world, &size, &mut report);
    let (longest, cut_off) = world.check();
    report.row("the longest way", format!("{longest} hops"));
    assert_eq!(cut_off, 0);
    sign_ons(&mut world, &size, &mut report);
    gathered(&mut world, &size, &mut report);
    moves(&mut world, &size, &mut report);
    failures(&mut world, &size, &mut report);
    let (longest, cut_off) = world.check();
    report.row("after that: the longest way", format!("{longest} hops, {cut_off} pairs of servers without any"));
    report.print();
}

fn users(world: &mut World, size: &Size, report: &mut Report) {
    let (memory, watch) = (Memory::start(), Watch::start());
    for n in 0..size.users {
        let server = world.any_server();
        world.network.presence(&world.ids[server], &world::user(n), 1).unwrap();
        if n % 1_000 == 999 {
            world.network.take();
        }
    }
    report.row("management: CPU of a sign-on while nobody listens", Report::time(watch.cpu() / size.users as u64));
    report.row("management: memory of all users", format!("{} a user", bytes(memory.more() / size.users)));
}

fn plan(world: &mut World, size: &Size, report: &mut Report) {
    let (memory, watch) = (Memory::start(), Watch::start());
    let edges = world.report_links();
    report.row("edges of the graph", format!("{edges}"));
    report.row("management: CPU of a LINKS report", Report::time(watch.cpu() / size.servers as u64));
    let watch = Watch::start();
    assert!(world.network.replan());
    report.row("management: CPU of the whole plan", Report::time(watch.cpu()));
    report.row("management: memory of links and columns", bytes(memory.more()));
}

fn load(world: &mut World, size: &Size, report: &mut Report) {
    let (memory, watch) = (Memory::start(), Watch::start());
    let (pages, total, building) = world.load_tables(size.tables);
    let tables = size.tables as u64;
    report.row("a portion", format!("{} in {pages} pages", bytes(total)));
    report.row("management: CPU of building a portion", Report::time(building));
    report.row("main: CPU of loading a portion", Report::time(watch.cpu() / tables - building));
    let memory = memory.more() / size.tables;
    report.row("main: memory of a portion", format!("{}, {} a user", bytes(memory), bytes(memory / size.users)));
    world.load_columns();
}

/// One by one, each sent at once to all.
fn sign_ons(world: &mut World, size: &Size, report: &mut Report) {
    let (mut management, mut sent, mut largest) = (0, 0, 0);
    let mut given = Vec::new();
    for n in 0..size.samples {
        let (server, user) = (world.any_server(), world::user(size.users + n));
        let watch = Watch::start();
        world.network.presence(&world.ids[server], &user, 1).unwrap();
        let mut updates = world.network.take();
        management += watch.cpu();
        assert_eq!(updates.len(), size.servers, "one packet for each server");
        assert!(updates.iter().all(|update| update.routes.is_empty()));
        let packet = world::packet(&updates[0]).len();
        (sent, largest) = (sent + packet, largest.max(packet));
        // The first servers are those with tables.
        given.push(updates.drain(..size.tables).collect::<Vec<_>>());
    }
    let watch = Watch::start();
    for updates in given {
        let changes = world.give_tables(&updates);
        assert_eq!(changes.len(), size.tables, "one entry in each table");
    }
    let main = watch.cpu();
    let samples = size.samples as u64;
    report.row("sign-on: sent to each main server", format!("{} B, {largest} B at most", sent / size.samples));
    report.row("sign-on: entries changed in each main server", "1".to_owned());
    report.row("management: CPU of a sign-on, all updates made", Report::time(management / samples));
    report.row("main: CPU of a sign-on elsewhere", Report::time(main / samples / size.tables as u64));
    assert!(largest < 200);
}

/// The longest names there are: still under 200 bytes. And many in one packet.
fn gathered(world: &mut World, size: &Size, report: &mut Report) {
    let server = world.any_server();
    world.network.presence(&world.ids[server], &"n".repeat(64), 1).unwrap();
    let updates = world.network.take();
    let longest = world::packet(&updates[0]).len();
    assert!(longest < 200, "{longest}");
    report.row("sign-on: the same, of the longest user name", format!("{longest} B"));
    world.give_tables(&updates);
    let watch = Watch::start();
    for n in 0..size.samples {
        let server = world.any_server();
        world.network.presence(&world.ids[server], &world::user(n), 1).unwrap();
    }
    let updates = world.network.take();
    let management = watch.cpu();
    let of_first = updates.iter().filter(|update| update.server == updates[0].server);
    let sent: usize = of_first.map(|update| world::packet(update).len()).sum();
    world.give_tables(&updates);
    report.row(
        &format!("{} sign-ons gathered: sent to each main server", size.samples),
        format!("{} B each", sent / size.samples),
    );
    report.row("management: CPU of each of them", Report::time(management / size.samples as u64));
}

fn moves(world: &mut World, size: &Size, report: &mut Report) {
    let (mut sent, mut changed) = (0, 0);
    let moves = size.samples / 10;
    for n in 0..moves {
        let user = world::user(size.users + n);
        let from = world.network.places(&user)[0].0.to_owned();
        let to = world.any_server();
        let to = world.ids[to].clone();
        if *from == *to {
            continue;
        }
        world.network.moved("0123456789abcdef", &user, &from, &to).unwrap();
        let updates = world.network.take();
        sent += world::packet(&updates[0]).len();
        let changes = world.give_tables(&updates);
        changed += changes.iter().filter(|change| matches!(change, Change::Moved { .. })).count();
    }
    assert!(changed > 0);
    report.row("move: sent to each main server", format!("{} B", sent * size.tables / changed));
}

/// A tenth of the servers fail at one moment, public ones among them.
fn failures(world: &mut World, size: &Size, report: &mut Report) {
    let users = world.network.len();
    let failed = world.choose_failed(size.servers / 10);
    let watch = Watch::start();
    for server in &failed {
        world.network.down(&world.ids[*server]);
    }
    let down = watch.cpu();
    let watch = Watch::start();
    world.report_links();
    let links = watch.cpu();
    let watch = Watch::start();
    assert!(world.network.replan());
    let plan = watch.cpu();
    let watch = Watch::start();
    let updates = world.network.take();
    let take = watch.cpu();
    let gone = users - world.network.len();
    println!("{} servers and {gone} users are gone", failed.len());
    let watch = Watch::start();
    world.give_tables(&updates);
    let main = watch.cpu() / size.tables as u64;
    world.give_columns(&updates);
    let (mut routes, mut lines) = (0, 0);
    let (mut packets, mut total, mut most) = (0, 0, 0);
    for server in world.up() {
        let of_server = updates.iter().filter(|update| *update.server == *world.ids[server]);
        let (mut here, mut count) = (0, 0);
        for update in of_server {
            here += world::packet(update).len();
            routes += update.routes.len();
            lines += update.routes.lines().count();
            count += 1;
        }
        (packets, total, most) = (packets + count, total + here, most.max(here));
    }
    let left = size.servers - failed.len();
    let of_each = |total: usize| bytes(total / left);
    report.row("10 % of the servers fail: users that are gone", format!("{gone}"));
    report.row("management: CPU for servers and users that are gone", Report::time(down));
    report.row("management: CPU for LINKS of all that are left", Report::time(links));
    report.row("management: CPU of the plan", Report::time(plan));
    report.row("management: CPU of building all updates", Report::time(take));
    report.row(
        "sent to each that is left",
        format!("{} in {} packets, {} at most", of_each(total), packets / left, bytes(most)),
    );
    report.row("of that, routes", format!("{}, {} entries", of_each(routes), lines / left));
    report.row("sent by management", bytes(total));
    report.row("main: CPU of applying it", Report::time(main));
}

fn bytes(bytes: usize) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}
