//! What a voice user may do: bits on the wire, words in the configuration.

use std::fmt;

/// A set of rights; each is one bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights(pub u64);

impl Rights {
    /// None at all.
    pub const NONE: Rights = Rights(0);
    /// Register users.
    pub const REGISTER_USER: Rights = Rights(2);
    /// Unregister any user.
    pub const DELETE_USER: Rights = Rights(4);
    /// Create channels.
    pub const ADD_CHANNEL: Rights = Rights(8);
    /// Delete any channel.
    pub const RM_CHANNEL: Rights = Rights(16);
    /// Make any user a member of any channel.
    pub const ADD_USER: Rights = Rights(32);
    /// Remove any member from any channel.
    pub const KICK_USER: Rights = Rights(64);
    /// All of them, and those to come.
    pub const ADMIN: Rights = Rights(0x7FFF_FFFF);

    const WORDS: &'static [(&'static str, Rights)] = &[
        ("register_user", Rights::REGISTER_USER),
        ("delete_user", Rights::DELETE_USER),
        ("add_channel", Rights::ADD_CHANNEL),
        ("rm_channel", Rights::RM_CHANNEL),
        ("add_user", Rights::ADD_USER),
        ("kick_user", Rights::KICK_USER),
        ("admin", Rights::ADMIN),
    ];

    /// Whether every right in `other` is among these.
    pub fn has(self, other: Rights) -> bool {
        other.0 & !self.0 == 0
    }

    /// These and those of `other`.
    pub fn with(self, other: Rights) -> Rights {
        Rights(self.0 | other.0)
    }

    /// The right of one word of the configuration.
    pub fn word(word: &str) -> Option<Rights> {
        Rights::WORDS.iter().find(|(name, _)| *name == word).map(|(_, rights)| *rights)
    }

    /// From words with commas between them; `none` and nothing are no rights. None: a word is unknown.
    pub fn parse(words: &str) -> Option<Rights> {
        if ["", "none"].contains(&words.trim()) {
            return Some(Rights::NONE);
        }
        words.split(',').try_fold(Rights::NONE, |all, word| Some(all.with(Rights::word(word.trim())?)))
    }
}

/// As `parse` takes it. Bits without a word are not shown.
impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.has(Rights::ADMIN) {
            return f.write_str("admin");
        }
        let words = Rights::WORDS.iter().filter(|(_, rights)| self.has(*rights)).map(|(word, _)| *word);
        let words: Vec<_> = words.collect();
        f.write_str(if words.is_empty() { "none".to_owned() } else { words.join(",") }.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_bits() {
        for (words, bits) in [("none", 0), ("add_channel", 8), ("register_user,kick_user", 66), ("admin", 0x7FFF_FFFF)]
        {
            assert_eq!(Rights::parse(words), Some(Rights(bits)), "{words}");
            assert_eq!(Rights(bits).to_string(), words);
        }
        assert_eq!(Rights::parse(" add_user , admin "), Some(Rights::ADMIN));
        assert_eq!(Rights::parse(""), Some(Rights::NONE));
        for bad in ["all", "add_user,", "add_user add_channel", "ADMIN"] {
            assert_eq!(Rights::parse(bad), None, "{bad}");
        }
        assert_eq!(Rights(1 << 40).to_string(), "none");
    }

    #[test]
    fn nobody_gives_what_he_lacks() {
        let some = Rights::ADD_CHANNEL.with(Rights::KICK_USER);
        assert!(some.has(Rights::ADD_CHANNEL) && some.has(Rights::NONE) && some.has(some));
        assert!(!some.has(Rights::ADMIN) && !some.has(Rights::RM_CHANNEL));
        assert!(Rights::ADMIN.has(some) && !Rights::ADMIN.has(Rights(1 << 31)) && !Rights::NONE.has(Rights(1)));
    }
}
