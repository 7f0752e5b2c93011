//! `convergia share`: who may do what with a file or a folder.

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::session;
use super::text;
use super::work;
use super::work::placed;
use super::work::Work;
use crate::engine::rt;

placed! {
    /// Show who may do what, or change it for one user.
    #[argh(
        subcommand,
        name = "share",
        example = "{command_name} photos\n  shows who may do what",
        example = "{command_name} photos bob rw",
        example = "{command_name} photos chat.example:63745::carol r\n  a user of another realm",
        example = "{command_name} photos '*' r\n  everybody of your own realm",
        example = "{command_name} photos bob none",
        note = "Rights are letters: r read, w write, a change rights. What is in a folder has the folder's rights, unless it has \
                been given its own. A path that does not begin with / is below your own folder, /users/NAME."
    )]
    pub struct Share {
        /// what
        #[argh(positional)]
        path: String,
        /// who (a user, realm::user, or *), and letters of rwa, or none
        #[argh(positional)]
        subject_rights: Vec<String>,
    }
    json "machine-readable output, a line a user"
}

/// What is asked for, in the order `rwa`; nothing for `none`.
fn rights(given: &str) -> Result<String, Stop> {
    if given == "none" {
        return Ok(String::new());
    }
    if given.is_empty() || !given.chars().all(|letter| "rwa".contains(letter)) {
        return Err(Stop::Usage(format!("{}: rights are letters of rwa, or none", text::clean(given))));
    }
    Ok("rwa".chars().filter(|letter| given.contains(*letter)).collect())
}

/// The same user, however it is written.
fn same(a: &str, b: &str) -> bool {
    crate::wire::name::fold(a) == crate::wire::name::fold(b)
}

impl Share {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(self) -> Result<(), Stop> {
        let change = match &self.subject_rights[..] {
            [] => None,
            [subject, given] => {
                let subject = if subject == "*" { subject.clone() } else { session::recipient(subject)? };
                Some((subject, rights(given)?))
            }
            _ => return Err(Stop::Usage("convergia share PATH [SUBJECT RIGHTS]".to_owned())),
        };
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let path = work.remote(&self.path)?.path;
            if let Some((subject, rights)) = change {
                self.change(&work, &path, &subject, &rights).await?;
            }
            let info = work.store.info(&path).await.map_err(|fail| work::refused(&path, &fail))?;
            for (subject, rights) in &info.permissions {
                match self.json {
                    true => outcome::line(json!({ "path": path, "subject": subject, "rights": rights })),
                    false => outcome::line(format_args!("{rights:<3}  {}", text::clean(subject))),
                }
            }
            work.end().await
        })
    }

    async fn change(&self, work: &Work, path: &str, subject: &str, rights: &str) -> Result<(), Stop> {
        let refused = |fail| work::refused(path, &fail);
        let mut list = work.store.info(path).await.map_err(refused)?.permissions;
        list.retain(|(who, _)| !same(who, subject));
        if !rights.is_empty() {
            list.push((subject.to_owned(), rights.to_owned()));
        }
        work.store.set_permissions(path, &list).await.map_err(refused)?;
        if list.is_empty() {
            // Now those of the folder above hold: when they let the user in, a list of its own is needed.
            let now = work.store.info(path).await.map_err(refused)?.permissions;
            if now.iter().any(|(who, _)| same(who, subject)) {
                let own = [(work.session.user.clone(), "rwa".to_owned())];
                work.store.set_permissions(path, &own).await.map_err(refused)?;
            }
        }
        let now = work.store.info(path).await.map_err(refused)?.permissions;
        match now.iter().find(|(who, _)| same(who, subject)) {
            Some((who, has)) if has.chars().any(|letter| !rights.contains(letter)) => Err(Stop::Refused(format!(
                "{} keeps {has} at {}: a user has all rights at home, and a participant r and w in the workspace",
                text::clean(who),
                text::clean(path)
            ))),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters() {
        assert_eq!(rights("wr").unwrap(), "rw");
        assert_eq!(rights("none").unwrap(), "");
        for bad in ["", "x", "R", "read"] {
            assert!(matches!(rights(bad), Err(Stop::Usage(_))), "{bad}");
        }
    }
}
