//! The table of FAILs: every refusal a peer can read.

use std::borrow::Cow;
use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal,)*) => {
        /// Why a request was refused: the contract's closed list.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The word on the wire.
            pub fn word(self) -> &'static str {
                match self { $(Code::$name => $word,)* }
            }

            /// The code of a word on the wire.
            pub fn parse(word: &[u8]) -> Option<Code> {
                Code::ALL.iter().copied().find(|code| code.word().as_bytes() == word)
            }
        }
    };
}

codes! {
    /// The line is no packet.
    BadPacket = "BADPACKET",
    /// No such command here, or not in this state.
    BadCommand = "BADCOMMAND",
    /// Fields are missing, too many, or ill-formed.
    BadArgs = "BADARGS",
    /// Longer than the limit.
    TooLong = "TOOLONG",
    /// Sign on first.
    SignIn = "SIGNIN",
    /// Not allowed.
    Denied = "DENIED",
    /// No such user, entry, message, …
    NotFound = "NOTFOUND",
    /// There is one already.
    Exists = "EXISTS",
    /// The recipient is not signed on.
    Offline = "OFFLINE",
    /// The quota would be passed.
    Quota = "QUOTA",
    /// A limit on count or tries is reached.
    Limit = "LIMIT",
    /// Too late.
    Expired = "EXPIRED",
    /// Wrong password, ticket, answer, or key.
    Wrong = "WRONG",
    /// Retry later.
    Busy = "BUSY",
    /// A server that is needed is down.
    Unavailable = "UNAVAILABLE",
    /// Policy, or the other side, says no.
    Refused = "REFUSED",
    /// A fault of the server; its log tells, the peer is not told.
    Internal = "INTERNAL",
}

/// A refusal: the code for programs, and words for people. The cause goes to the log, never in here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fail {
    /// The code on the wire.
    pub code: Code,
    /// Public words; may be empty.
    pub text: Cow<'static, str>,
}

impl Fail {
    /// A refusal with words for people.
    pub fn new(code: Code, text: impl Into<Cow<'static, str>>) -> Fail {
        Fail { code, text: text.into() }
    }

    /// FAIL BADARGS.
    pub fn bad_args(text: impl Into<Cow<'static, str>>) -> Fail {
        Fail::new(Code::BadArgs, text)
    }

    /// FAIL INTERNAL, after `cause` went to the log.
    pub fn internal(cause: impl fmt::Display) -> Fail {
        log::error!("internal fault: {cause}");
        Fail::new(Code::Internal, "the server has a fault; its operator can read it in the log")
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.is_empty() {
            true => f.write_str(self.code.word()),
            false => write!(f, "{} ({})", self.text, self.code.word()),
        }
    }
}

impl std::error::Error for Fail {}
