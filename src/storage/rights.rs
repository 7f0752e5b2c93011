//! Who may do what with an entry.

use super::Caller;

/// Whom a right is given to: [`super::args::SubjectName`] with its account, which is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A local account; [`super::accounts::welcome`] has seen it, or it is made known by what takes the subject.
    Account(Caller),
    /// `realm::user`.
    Remote(String),
    /// Everybody.
    Everybody,
}
