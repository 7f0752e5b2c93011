//! `convergia ls`: what is in a folder of the storage.

use std::io::IsTerminal;

use argh::FromArgs;
use serde_json::json;

use super::outcome;
use super::outcome::Stop;
use super::remote::Remote;
use super::text;
use super::text::Clock;
use super::text::Paint;
use super::work::placed;
use super::work::Work;
use crate::client::store::join;
use crate::client::store::Entry;
use crate::client::store::Trouble;
use crate::client::store::Walk;
use crate::engine::rt;
use crate::wire::Code;
use crate::wire::Fail;

placed! {
    /// List what is stored. A path that does not begin with / is below your own folder, /users/NAME.
    #[argh(
        subcommand,
        name = "ls",
        example = "{command_name} -l photos",
        example = "{command_name} -R /workspaces/team",
        note = "Names that begin with a dot are shown with -a only."
    )]
    pub struct Ls {
        /// what (default: your own folder)
        #[argh(positional)]
        path: Vec<String>,
        /// with sizes and times
        #[argh(switch, short = 'l')]
        long: bool,
        /// with all that is below
        #[argh(switch, short = 'R')]
        recursive: bool,
        /// with names that begin with a dot
        #[argh(switch, short = 'a')]
        all: bool,
    }
    json "machine-readable output, a line an entry"
}

/// How entries are shown.
struct View {
    paint: Paint,
    clock: Clock,
    /// Of the terminal; None: a line an entry.
    columns: Option<usize>,
}

impl Ls {
    /// Runs it.
    ///
    /// # Errors
    /// In words.
    pub fn run(mut self) -> Result<(), Stop> {
        if self.path.is_empty() {
            self.path.push(".".to_owned());
        }
        let terminal = std::io::stdout().is_terminal();
        let view = View {
            paint: Paint(text::colour()),
            clock: if self.long && !self.json { Clock::local() } else { Clock::default() },
            columns: (terminal && !self.long).then(text::columns),
        };
        rt::block_on(async {
            let work = Work::begin(self.place(), None).await?;
            let paths = self.path.iter().map(|path| work.remote(path)).collect::<Result<Vec<_>, _>>()?;
            let headings = self.recursive || paths.len() > 1;
            for (n, remote) in paths.iter().enumerate() {
                if n > 0 && !self.json {
                    outcome::line("");
                }
                self.one(&work, remote, headings, &view).await;
            }
            work.end().await
        })
    }

    async fn one(&self, work: &Work, remote: &Remote, headings: bool, view: &View) {
        let mut walk = Walk::new(&work.store, remote.path.clone());
        let mut first = true;
        while let Some((folder, entries)) = walk.next().await {
            let hidden = folder.get(remote.path.len()..).is_some_and(|below| below.contains("/."));
            match entries {
                Ok(_) if hidden && !self.all => {}
                Ok(entries) => {
                    if headings && !self.json {
                        let gap = if first { "" } else { "\n" };
                        outcome::line(format_args!("{gap}{}:", text::clean(&folder)));
                    }
                    self.show(&folder, entries, view);
                }
                Err(fail) if first && !remote.folder => self.file(work, remote, fail, view).await,
                Err(fail) => work.failed(&folder, &Trouble::Remote(fail)),
            }
            first = false;
            if !self.recursive || work.is_over() {
                return;
            }
        }
    }

    /// It is no folder, then: it may be a file.
    async fn file(&self, work: &Work, remote: &Remote, fail: Fail, view: &View) {
        let worth = matches!(fail.code, Code::BadArgs | Code::NotFound);
        let entry = if worth { work.store.find(&remote.path).await } else { Err(fail) };
        let above = remote.path.rsplit_once('/').map_or("/", |(above, _)| above);
        match entry {
            Ok(entry) => self.show(above, vec![Entry { folder: false, ..entry }], view),
            Err(fail) => work.failed(&remote.path, &Trouble::Remote(fail)),
        }
    }

    fn show(&self, folder: &str, mut entries: Vec<Entry>, view: &View) {
        entries.retain(|entry| self.all || !entry.name.starts_with('.'));
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        if self.json {
            for entry in entries {
                let kind = if entry.folder { "folder" } else { "file" };
                let path = join(folder, &entry.name);
                let mut line = json!({ "path": path, "name": entry.name, "type": kind, "modified": entry.modified });
                if !entry.folder {
                    line["size"] = json!(entry.size);
                }
                outcome::line(line);
            }
        } else if self.long {
            let sizes: Vec<String> = entries.iter().map(size).collect();
            let width = sizes.iter().map(String::len).max().unwrap_or(0);
            for (entry, size) in entries.iter().zip(sizes) {
                let date = view.clock.date(entry.modified);
                outcome::line(format_args!("{size:>width$}  {date}  {}", view.name(entry)));
            }
        } else if let Some(columns) = view.columns {
            view.columns(&entries, columns).iter().for_each(outcome::line);
        } else {
            entries.iter().for_each(|entry| outcome::line(view.name(entry)));
        }
    }
}

fn size(entry: &Entry) -> String {
    if entry.folder {
        "-".to_owned()
    } else {
        text::size(entry.size)
    }
}

impl View {
    /// A folder has a `/` behind it.
    fn name(&self, entry: &Entry) -> String {
        let name = text::clean(&entry.name);
        match entry.folder {
            true => self.paint.bold(&format!("{name}/")).into_owned(),
            false => name,
        }
    }

    /// Names beside each other, in order from top to bottom.
    fn columns(&self, entries: &[Entry], width: usize) -> Vec<String> {
        let length = |entry: &Entry| text::clean(&entry.name).chars().count() + usize::from(entry.folder);
        let widest = entries.iter().map(length).max().unwrap_or(0) + 2;
        let across = (width / widest).max(1);
        let down = entries.len().div_ceil(across);
        let row = |n: usize| {
            let mut line = String::new();
            let mut gap = 0;
            for entry in entries.iter().skip(n).step_by(down.max(1)) {
                line.extend(std::iter::repeat_n(' ', gap));
                line.push_str(&self.name(entry));
                gap = widest - length(entry);
            }
            line
        };
        (0..down).map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_fit_the_terminal() {
        let view = View { paint: Paint(false), clock: Clock::default(), columns: None };
        let entry = |name: &str| Entry { name: name.to_owned(), folder: name == "dir", size: 0, modified: 0 };
        let entries: Vec<Entry> = ["a", "bb", "ccc", "dir", "e"].map(entry).into();
        assert_eq!(view.columns(&entries, 20), ["a     ccc   e", "bb    dir/"]);
        assert_eq!(view.columns(&entries, 1).len(), 5);
        assert!(view.columns(&[], 80).is_empty());
    }
}
