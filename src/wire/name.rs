//! Names of users, servers, workspaces, path segments.

use std::borrow::Cow;

use unicode_normalization::is_nfc;
use unicode_normalization::UnicodeNormalization;

use super::fail::Fail;

/// The longest name, in bytes (contract 1).
pub const MAX_NAME: usize = 64;

/// What would end or turn the line that a name is shown in: control characters, line and paragraph separators, and the
/// embeddings, overrides and isolates of the bidirectional algorithm. The marks that Arabic and Hebrew need are allowed.
fn is_control(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Checks a name: UTF-8, 1–64 bytes, NFC, no control characters, no `|`, `/`, `:`, and not `.` or `..`.
/// Another Unicode form is refused, not normalised: two spellings of one name must not both reach a table.
pub fn check(name: &str) -> Result<(), Fail> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Err(Fail::bad_args("a name is 1 to 64 bytes long"));
    }
    // Most are that; and each message of another server is looked at.
    if name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(());
    }
    if name.chars().any(|c| is_control(c) || matches!(c, '|' | '/' | ':')) {
        return Err(Fail::bad_args("a name has no control characters and none of | / :"));
    }
    if name == "." || name == ".." {
        return Err(Fail::bad_args("a name is not . or .."));
    }
    if !is_nfc(name) {
        return Err(Fail::bad_args("a name is in Unicode form NFC"));
    }
    Ok(())
}

/// Checks a user's name: a name without white space.
pub fn check_user(name: &str) -> Result<(), Fail> {
    check(name)?;
    if name.chars().any(char::is_whitespace) {
        return Err(Fail::bad_args("a user name has no space"));
    }
    Ok(())
}

/// The longest host of a realm, in bytes: that of a name on the Internet.
const MAX_HOST: usize = 253;

/// Checks a realm's id: `host:port`, in lower case. The host is a name of letters, digits, `-`, `_` and `.`, or an address, one with
/// colons in brackets; the port is 1 to 65535.
///
/// # Errors
/// BADARGS.
pub fn check_realm(realm: &str) -> Result<(), Fail> {
    let bad = || Fail::bad_args("a realm is host:port, in lower case");
    let (host, port) = realm.rsplit_once(':').ok_or_else(bad)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    let good = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.len() <= MAX_HOST && host.chars().all(plain),
    };
    let number = port.parse::<u16>().ok().filter(|number| *number != 0 && number.to_string() == port);
    match good && number.is_some() {
        true => Ok(()),
        false => Err(bad()),
    }
}

/// Whom `host:port::name` means: the realm, in lower case, and the user. None: it names no realm.
///
/// # Errors
/// BADARGS: one of the two is none.
pub fn of_realm(user: &str) -> Result<Option<(String, &str)>, Fail> {
    // From the end: an address may have two colons too, a user has none.
    let Some((realm, user)) = user.rsplit_once("::") else { return Ok(None) };
    let realm = realm.to_ascii_lowercase();
    check_realm(&realm)?;
    check_user(user)?;
    Ok(Some((realm, user)))
}

/// The form in which user names are compared: without regard to case. Two names that look the same in capitals are the
/// same: lower case alone would tell a final sigma from a sigma, and `ß` from `SS`.
pub fn fold(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| b.is_ascii() && !b.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let lower = name.nfd().flat_map(char::to_lowercase);
    Cow::Owned(lower.flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect())
}

/// The NFC form, for what a person typed.
pub fn normalise(name: &str) -> String {
    name.nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_and_bad_names() {
        for good in ["alice", "Å", "名前", "a.b", "...", &"x".repeat(64)] {
            assert!(check_user(good).is_ok(), "{good:?}");
        }
        for bad in ["", ".", "..", "a b", "a|b", "a/b", "a:b", "a\nb", "A\u{30a}", &"x".repeat(65)] {
            assert!(check_user(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn realms() {
        for good in ["chat.example:63745", "127.0.0.1:1", "[::1]:65535", "a_b-c:80"] {
            assert!(check_realm(good).is_ok(), "{good:?}");
        }
        let long = format!("{}:1", "x".repeat(254));
        for bad in
            ["", "a", "a:", ":1", "a:0", "a:01", "a:65536", "A:1", "a b:1", "a|b:1", "[x]:1", "a:1:2", "::1:2", &long]
        {
            assert!(check_realm(bad).is_err(), "{bad:?}");
        }
        assert_eq!(of_realm("Chat.Example:1::Bob").unwrap(), Some(("chat.example:1".to_owned(), "Bob")));
        assert_eq!(of_realm("[::1]:1::bob").unwrap(), Some(("[::1]:1".to_owned(), "bob")));
        assert_eq!(of_realm("bob").unwrap(), None);
        for bad in ["a:1::", "::bob", "a::bob", "a:1::b c"] {
            assert!(of_realm(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn folding() {
        assert_eq!(fold("alice"), "alice");
        assert_eq!(fold("ALICE"), "alice");
        assert_eq!(fold("ÅSA"), fold("åsa"));
    }
}
