//! Who may do what: refusals in words.

use crate::voice::Rights;
use crate::wire::Code;
use crate::wire::Fail;

/// What the names in the configuration give; they are checked there.
pub fn configured(names: &[String]) -> Rights {
    names.iter().filter_map(|name| Rights::word(name)).fold(Rights::NONE, Rights::with)
}

/// Whether `has` holds all of `needed`.
///
/// # Errors
/// DENIED.
pub fn need(has: Rights, needed: Rights) -> Result<(), Fail> {
    match has.has(needed) {
        true => Ok(()),
        false => Err(Fail::new(Code::Denied, format!("this needs the right {needed}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::VOICE_RIGHTS;

    #[test]
    fn every_name_of_the_configuration_is_a_right() {
        for name in VOICE_RIGHTS {
            let right = configured(&[(*name).to_owned()]);
            assert_eq!(right.to_string(), **name);
            assert!(need(Rights::ADMIN, right).is_ok());
            assert_eq!(need(Rights::NONE, right).unwrap_err().code, Code::Denied);
        }
        let two = configured(&["add_user".to_owned(), "kick_user".to_owned()]);
        assert_eq!(two, Rights(96));
    }
}
