//! STORAGESTATUS (64483): how storage does, for the operator.

use super::servers::Server;
use super::DataManagement;
use crate::engine::Ctx;
use crate::storage::copies;
use crate::storage::copies::Health;

/// How often it is told, when it has changed; milliseconds.
const EVERY: u64 = 5_000;

/// What was told last.
#[derive(Debug, Default)]
pub struct Status {
    next: u64,
    told: String,
    asking: bool,
}

impl Status {
    /// Management knows nothing.
    pub fn forget(&mut self) {
        self.told.clear();
        self.next = 0;
    }
}

/// Once a second.
pub fn tick(dm: &mut DataManagement, ctx: &mut Ctx<DataManagement>) {
    let due = ctx.now() >= dm.status.next && dm.uplink.link().is_some() && !ctx.is_stopping();
    if !due || std::mem::replace(&mut dm.status.asking, true) {
        return;
    }
    dm.status.next = ctx.now().saturating_add(EVERY);
    let live = dm.live(ctx.now(), 0);
    ctx.query(
        move |db| copies::health(db, &live),
        |dm, ctx, health| {
            dm.status.asking = false;
            let (Ok(health), Some(link)) = (health, dm.uplink.link()) else { return };
            let text = text(dm, &health);
            if text != dm.status.told {
                ctx.request(link, "STORAGESTATUS", &[text.as_bytes()], |_, _, _| {});
                dm.status.told = text;
            }
        },
    );
}

fn text(dm: &DataManagement, health: &Health) -> String {
    let servers = dm.servers.up.values().map(|server| {
        format!("{} ({} of {} bytes, {} blocks)", server.name, server.used, server.capacity, server.blocks)
    });
    let repair = match dm.repair.is_walking() && health.short > 0 {
        true => format!("under way: {} blocks to copy, {} copied", health.short, dm.repair.made),
        false => format!("{} blocks copied", dm.repair.made),
    };
    let rows = [
        ("blocks", health.blocks.to_string()),
        ("bytes stored", health.bytes.to_string()),
        ("bytes used", sum(dm, |server| server.used).to_string()),
        ("capacity", sum(dm, |server| server.capacity).to_string()),
        ("blocks with too few copies", health.short.to_string()),
        ("blocks without a copy", health.lost.to_string()),
        ("blocks with too many copies", health.surplus.to_string()),
        ("repair", repair),
        ("storage users", dm.users.len().to_string()),
        ("storage", servers.collect::<Vec<_>>().join(", ")),
    ];
    rows.map(|(key, value)| format!("{key}|{value}")).join("\n")
}

/// Over the data servers that are up.
fn sum(dm: &DataManagement, of: impl Fn(&Server) -> u64) -> u64 {
    dm.servers.up.values().fold(0, |sum, server| sum.saturating_add(of(server)))
}
