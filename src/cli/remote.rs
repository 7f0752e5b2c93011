//! Paths of the storage as people write them: from the root with a `/` before, else below the home of whoever is signed on; in another
//! realm as `host:port::/path`.

use super::outcome::Stop;
use super::text;
use crate::wire::name;

/// The longest path, in segments and in bytes.
const LONGEST: (usize, usize) = (64, 4_096);

/// A path as the server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    /// `/`, or `/` and segments without one at the end; of another realm `host:port::` before that.
    pub path: String,
    /// It was written with a `/` at the end, or as `.`: a folder is meant.
    pub folder: bool,
}

/// The home of a user.
pub fn home(user: &str) -> String {
    format!("/users/{user}")
}

/// A segment as the server takes it.
///
/// # Errors
/// In words, when it cannot be one.
pub fn segment(given: &str) -> Result<String, String> {
    let segment = name::normalise(given);
    match name::check(&segment) {
        Ok(()) => Ok(segment),
        Err(fail) => Err(format!("{}: {}", text::clean(given), fail.text)),
    }
}

impl Remote {
    /// Reads what a person wrote.
    ///
    /// # Errors
    /// When it cannot be a path.
    pub fn new(given: &str, user: &str) -> Result<Remote, Stop> {
        let (realm, given) = match given.split_once("::/").filter(|_| !given.starts_with('/')) {
            Some((realm, _)) => given.split_at(realm.len() + 2),
            None => ("", given),
        };
        if let Some(id) = realm.strip_suffix("::") {
            name::check_realm(&id.to_ascii_lowercase())
                .map_err(|fail| Stop::Usage(format!("{}: {}", text::clean(id), fail.text)))?;
        }
        let mut path = if given.starts_with('/') { String::new() } else { home(user) };
        for part in given.split('/').filter(|part| !matches!(*part, "" | ".")) {
            path.push('/');
            path.push_str(&segment(part).map_err(Stop::Usage)?);
        }
        if path.len() > LONGEST.1 || path.matches('/').count() > LONGEST.0 {
            let (segments, bytes) = LONGEST;
            let words = format!("{}: a path has at most {segments} parts and {bytes} bytes", text::clean(given));
            return Err(Stop::Usage(words));
        }
        let folder = path.is_empty() || matches!(given, "" | ".") || given.ends_with('/') || given.ends_with("/.");
        let path = if path.is_empty() { "/" } else { &path };
        Ok(Remote { path: format!("{}{path}", realm.to_ascii_lowercase()), folder })
    }

    /// The last segment; nothing for the root.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (given, path, folder) in [
            ("a.txt", "/users/bob/a.txt", false),
            ("", "/users/bob", true),
            (".", "/users/bob", true),
            ("./a//b/", "/users/bob/a/b", true),
            ("/", "/", true),
            ("/users/carol/x y", "/users/carol/x y", false),
            ("/workspaces/Team/.", "/workspaces/Team", true),
            ("A\u{30a}", "/users/bob/Å", false),
            ("Chat.example:9::/users/carol/x", "chat.example:9::/users/carol/x", false),
            ("[::1]:9::/a//b/", "[::1]:9::/a/b", true),
            ("h:9::/", "h:9::/", true),
        ] {
            assert_eq!(Remote::new(given, "bob").unwrap(), Remote { path: path.to_owned(), folder }, "{given}");
        }
        let long = "x".repeat(65);
        let deep = "a/".repeat(64);
        for bad in ["..", "a/../b", "a:b", "a|b", "a\nb", "h::/x", "h:9::x", "h:9::/../x", "a/h:9::/x", &long, &deep] {
            assert!(matches!(Remote::new(bad, "bob"), Err(Stop::Usage(_))), "{bad:?}");
        }
    }
}
