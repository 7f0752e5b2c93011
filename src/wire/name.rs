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
    fn folding() {
        assert_eq!(fold("alice"), "alice");
        assert_eq!(fold("ALICE"), "alice");
        assert_eq!(fold("ÅSA"), fold("åsa"));
    }
}
