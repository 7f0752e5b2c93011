//! Uids and channel ids: a row's number, which SQLite gives once and never again, above 32 random bits. Neither half is all ones, and
//! the upper one is less than 0x7FFFFFFF, so that an id is also a positive number of SQLite.

use crate::wire::Fail;

/// Numbers of rows are below this.
const END: i64 = 0x7FFF_FFFF;

/// The lower half of a new id, of any random bits.
pub fn low(random: u32) -> u32 {
    if random == u32::MAX {
        return 0;
    }
    random
}

/// The id of a row.
///
/// # Errors
/// INTERNAL: two thousand million were given.
pub fn join(seq: i64, low: u32) -> Result<u64, Fail> {
    match u64::try_from(seq) {
        Ok(upper) if (1..END).contains(&seq) => Ok(upper << 32 | u64::from(low)),
        _ => Err(Fail::internal("no voice id is left")),
    }
}

/// An id or another number as SQLite keeps it; ids and rights always fit.
pub fn sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number from SQLite; we write no negative one.
pub fn unsql(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// The row's number and the lower half of what may be an id.
pub fn split(id: u64) -> (i64, u32) {
    let (seq, low) = (id >> 32, id & u64::from(u32::MAX));
    (i64::try_from(seq).unwrap_or(0), u32::try_from(low).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_halves_are_never_all_ones() {
        assert_eq!(join(1, low(u32::MAX)).unwrap(), 1 << 32);
        assert_eq!(join(7, low(9)).unwrap(), 7 << 32 | 9);
        assert_eq!(split(7 << 32 | 9), (7, 9));
        let most = join(END - 1, u32::MAX - 1).unwrap();
        assert!(i64::try_from(most).is_ok() && most >> 32 != u64::from(u32::MAX));
        for bad in [END, 0, -1, i64::MAX] {
            assert!(join(bad, 0).is_err(), "{bad}");
        }
        assert_eq!(split(u64::MAX), (i64::from(u32::MAX), u32::MAX));
    }
}
