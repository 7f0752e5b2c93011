//! Time as roles see it: Unix milliseconds that never run backwards.

use std::sync::OnceLock;
use std::time::Instant;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;

/// Unix milliseconds: the wall clock at start, moved on by the monotonic clock.
pub fn now() -> u64 {
    static START: OnceLock<(u64, Instant)> = OnceLock::new();
    let (wall, instant) = START.get_or_init(|| {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        (u64::try_from(wall.as_millis()).unwrap_or(u64::MAX), Instant::now())
    });
    wall.saturating_add(u64::try_from(instant.elapsed().as_millis()).unwrap_or(u64::MAX))
}
