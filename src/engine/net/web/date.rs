//! A time as HTTP writes it.

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
/// Days of four hundred years: then the calendar begins anew.
const CYCLE: u64 = 146_097;

/// Unix milliseconds as `Sun, 06 Nov 1994 08:49:37 GMT`.
pub fn http(now: u64) -> String {
    let seconds = now / 1_000;
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Counted from the first of March of the year 0: so the leap day is the last of its year.
    let since = days + 719_468;
    let (cycle, day) = (since / CYCLE, since % CYCLE);
    let year = (day - day / 1_460 + day / 36_524 - day / (CYCLE - 1)) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * shifted + 2) / 5 + 1;
    let month = (shifted + 2) % 12;
    let year = cycle * 400 + year + u64::from(month < 2);
    let name = |names: &[&'static str], at: u64| names.get(usize::try_from(at).unwrap_or_default()).copied();
    let (weekday, month) = (name(&DAYS, days % 7).unwrap_or_default(), name(&MONTHS, month).unwrap_or_default());
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{weekday}, {of_month:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 GMT"),
            (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
        ] {
            assert_eq!(http(seconds * 1_000), text);
        }
    }
}
