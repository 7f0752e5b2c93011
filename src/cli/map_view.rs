//! The server map as the client holds it, and as it is drawn.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::VecDeque;
use std::fmt::Write;

use serde_json::json;
use serde_json::Value;

use super::text;
use super::text::Paint;
use crate::wire::name;

/// A server, or a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// The same in every answer.
    pub id: String,
    /// Shown.
    pub name: String,
    /// `client`, `mainserver`, `managementserver`, …
    pub kind: String,
    /// `online`, `offline`, …
    pub status: String,
    /// What a user says of itself, or a server.
    pub notes: String,
    /// The ids of what it is connected to.
    pub links: Vec<String>,
}

impl Node {
    /// A line of GETSERVERMAP. None: it is none.
    pub fn parse(line: &str) -> Option<Node> {
        let mut columns = line.split('|').map(str::to_owned);
        let (id, name, kind, status) = (columns.next()?, columns.next()?, columns.next()?, columns.next()?);
        let notes = columns.next().unwrap_or_default();
        let links = columns.filter(|link| !link.is_empty()).collect();
        (!id.is_empty()).then_some(Node { id, name, kind, status, notes, links })
    }

    /// Whether it is a user.
    pub fn is_user(&self) -> bool {
        self.kind == "client"
    }

    fn is_management(&self) -> bool {
        self.kind == "managementserver"
    }

    /// Whether it is there.
    pub fn is_online(&self) -> bool {
        self.status == "online"
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({ "id": self.id, "name": self.name, "type": self.kind, "status": self.status, "notes": self.notes,
            "links": self.links })
    }

    fn label(&self, paint: Paint) -> String {
        let name = text::clean(&self.name);
        let (mark, name) = match (self.is_online(), self.is_user()) {
            (true, true) => (paint.good("●"), paint.name(&name).into_owned()),
            (true, false) => (paint.good("●"), paint.bold(&name).into_owned()),
            (false, _) => (paint.dim("○"), paint.dim(&name).into_owned()),
        };
        let mut label = format!("{mark} {name}");
        if !self.is_user() {
            let kind = text::clean(match self.kind.strip_suffix("server") {
                Some(kind) if !kind.is_empty() => kind,
                _ => &self.kind,
            });
            let _ = write!(label, " {}", paint.dim(&format!("({kind})")));
        }
        if !self.is_online() && !self.is_user() {
            let _ = write!(label, " {}", paint.bad(&text::clean(&self.status)));
        }
        if !self.notes.is_empty() {
            let _ = write!(label, "  {}", paint.dim(&format!("“{}”", text::clean(&self.notes))));
        }
        label
    }
}

/// Every node, by id.
#[derive(Clone, Debug, Default)]
pub struct ServerMap {
    nodes: BTreeMap<String, Node>,
}

impl ServerMap {
    /// The map of an answer.
    pub fn new(lines: &[String]) -> ServerMap {
        let mut map = ServerMap::default();
        map.apply(lines);
        map
    }

    /// Takes changed lines; tells which nodes differ now.
    pub fn apply(&mut self, lines: &[String]) -> Vec<Node> {
        let fresh = lines.iter().filter_map(|line| Node::parse(line));
        let mut changed = Vec::new();
        for node in fresh {
            if self.nodes.get(&node.id) != Some(&node) {
                self.nodes.insert(node.id.clone(), node.clone());
                changed.push(node);
            }
        }
        changed
    }

    /// Every node.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values()
    }

    /// Users, those who are there first, then by name.
    pub fn users(&self) -> Vec<&Node> {
        let mut users: Vec<&Node> = self.nodes().filter(|node| node.is_user() && node.notes != "deleted").collect();
        users.sort_by_key(|node| (!node.is_online(), name::fold(&node.name).into_owned()));
        users
    }

    /// Whether there is such a user.
    pub fn has_user(&self, user: &str) -> bool {
        let user = name::fold(user);
        self.nodes().any(|node| node.is_user() && name::fold(&node.name) == user)
    }

    /// The tree: servers, users beneath the servers that they are signed on to, those who are away at the end.
    pub fn tree(&self, paint: Paint) -> String {
        let children = self.children();
        let mut out = String::new();
        for root in children.get("").into_iter().flatten() {
            self.branch(&mut out, &children, root, "", None, paint);
        }
        let away: Vec<&Node> = self.users().into_iter().filter(|user| !user.is_online()).collect();
        if !away.is_empty() {
            let _ = writeln!(out, "{}", paint.dim(&format!("not signed on ({})", away.len())));
        }
        for (index, user) in away.iter().enumerate() {
            let corner = if index + 1 == away.len() { "└─" } else { "├─" };
            let _ = writeln!(out, "{corner} {}", user.label(paint));
        }
        out
    }

    /// Whose children are whose; those of "" are the roots. Breadth first from management, so that main servers stand
    /// beside and not beneath one another.
    fn children(&self) -> BTreeMap<&str, Vec<&Node>> {
        let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for node in self.nodes().filter(|node| !node.is_user()) {
            for link in &node.links {
                neighbours.entry(&node.id).or_default().insert(link);
                neighbours.entry(link).or_default().insert(&node.id);
            }
        }
        let mut children: BTreeMap<&str, Vec<&Node>> = BTreeMap::new();
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut servers: Vec<&Node> = self.nodes().filter(|node| !node.is_user()).collect();
        servers.sort_by_key(|node| (!node.is_management(), &node.name));
        for root in servers {
            if !seen.insert(&root.id) {
                continue;
            }
            children.entry("").or_default().push(root);
            let mut queue = VecDeque::from([root]);
            while let Some(node) = queue.pop_front() {
                for next in neighbours.get(node.id.as_str()).into_iter().flatten() {
                    let Some(next) = self.nodes.get(*next).filter(|next| !next.is_user()) else { continue };
                    if seen.insert(&next.id) {
                        children.entry(&node.id).or_default().push(next);
                        queue.push_back(next);
                    }
                }
            }
        }
        for user in self.users() {
            // A server that the map does not have, the user is shown beneath nothing.
            let known = user.links.iter().filter(|link| self.nodes.contains_key(*link));
            let mut places: Vec<&str> = known.map(String::as_str).collect();
            if places.is_empty() && user.is_online() {
                places.push("");
            }
            for place in places {
                children.entry(place).or_default().push(user);
            }
        }
        children
    }

    /// The main servers that a main server is linked to: they stand beside it in the tree, not beneath.
    fn beside(&self, node: &Node, paint: Paint) -> String {
        let is_main = |node: &&Node| node.kind == "mainserver" && node.is_online();
        let others = node.links.iter().filter_map(|link| self.nodes.get(link)).filter(is_main);
        let names: Vec<String> = others.map(|other| text::clean(&other.name)).collect();
        match Some(node).filter(is_main).is_some() && !names.is_empty() {
            true => format!("  {}", paint.dim(&format!("⇄ {}", names.join(", ")))),
            false => String::new(),
        }
    }

    /// `last`: None for a root.
    fn branch(
        &self,
        out: &mut String,
        children: &BTreeMap<&str, Vec<&Node>>,
        node: &Node,
        indent: &str,
        last: Option<bool>,
        paint: Paint,
    ) {
        let (corner, deeper) = match last {
            None => ("", String::new()),
            Some(true) => ("└─ ", format!("{indent}   ")),
            Some(false) => ("├─ ", format!("{indent}│  ")),
        };
        let _ = writeln!(out, "{indent}{corner}{}{}", node.label(paint), self.beside(node, paint));
        let Some(below) = children.get(node.id.as_str()) else { return };
        // A user has nothing beneath; servers were visited once each, so this ends.
        for (index, child) in below.iter().enumerate().filter(|_| !node.is_user()) {
            self.branch(out, children, child, &deeper, Some(index + 1 == below.len()), paint);
        }
    }

    /// For Graphviz.
    pub fn dot(&self) -> String {
        let quote = |text: &str| format!("\"{}\"", text::clean(text).replace('\\', "\\\\").replace('"', "\\\""));
        let mut out = String::from("graph convergia {\n");
        let mut edges = BTreeSet::new();
        for node in self.nodes() {
            let shape = if node.is_user() { "ellipse" } else { "box" };
            let style = if node.is_online() { "solid" } else { "dashed" };
            let _ = writeln!(out, "  {} [label={}, shape={shape}, style={style}];", quote(&node.id), quote(&node.name));
            for link in &node.links {
                edges.insert((node.id.as_str().min(link), node.id.as_str().max(link)));
            }
        }
        for (one, other) in edges {
            // What every server is linked to would hide the links between them.
            let to_management = [one, other].iter().filter_map(|id| self.nodes.get(*id)).any(Node::is_management);
            let style = if to_management { " [style=dotted]" } else { "" };
            let _ = writeln!(out, "  {} -- {}{style};", quote(one), quote(other));
        }
        out.push_str("}\n");
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map() -> ServerMap {
        let lines = [
            "management|box|managementserver|online||server-a|server-b",
            "server-a|a|mainserver|online||management|server-b",
            "server-b|b|mainserver|online||management|server-a",
            "user-1|alice|client|online|at lunch|server-a",
            "user-2|bob|client|online||server-a|server-b",
            "user-3|Carol|client|offline||",
            "user-4|gone|client|offline|deleted|",
            "no line",
        ];
        ServerMap::new(&lines.map(str::to_owned))
    }

    #[test]
    fn the_tree() {
        let expected = "\
● box (management)
├─ ● a (main)  ⇄ b
│  ├─ ● alice  “at lunch”
│  └─ ● bob
└─ ● b (main)  ⇄ a
   └─ ● bob
not signed on (1)
└─ ○ Carol
";
        assert_eq!(map().tree(Paint(false)), expected);
    }

    /// Three sites; a and c reach each other only over b.
    fn three_sites() -> ServerMap {
        let lines = [
            "management|box|managementserver|online||server-a|server-b|server-c",
            "server-a|a|mainserver|online|draining|management|server-b",
            "server-b|b|mainserver|online||management|server-a|server-c",
            "server-c|c|mainserver|online||management|server-b",
            "server-d|d|mainserver|offline||",
            "user-1|alice|client|online||server-a",
            "user-2|bob|client|online||server-c",
        ];
        ServerMap::new(&lines.map(str::to_owned))
    }

    #[test]
    fn three_sites_as_a_tree() {
        let expected = "\
● box (management)
├─ ● a (main)  “draining”  ⇄ b
│  └─ ● alice
├─ ● b (main)  ⇄ a, c
└─ ● c (main)  ⇄ b
   └─ ● bob
○ d (main) offline
";
        assert_eq!(three_sites().tree(Paint(false)), expected);
        // Management is away: the rest is drawn as before.
        let mut map = three_sites();
        map.apply(&["management|box|managementserver|offline||".to_owned()]);
        assert_eq!(map.tree(Paint(false)), expected.replace("● box (management)", "○ box (management) offline"));
        // One server is gone, and its links with it.
        map.apply(&["server-b|b|mainserver|offline||".to_owned()]);
        let tree = map.tree(Paint(false));
        assert!(tree.contains("├─ ● a (main)  “draining”\n") && tree.contains("○ b (main) offline\n"), "{tree}");
    }

    #[test]
    fn three_sites_for_graphviz() {
        let dot = three_sites().dot();
        for edge in [
            r#""server-a" -- "server-b";"#,
            r#""server-b" -- "server-c";"#,
            r#""management" -- "server-a" [style=dotted];"#,
            r#""server-a" -- "user-1";"#,
        ] {
            assert_eq!(dot.matches(edge).count(), 1, "{edge} in {dot}");
        }
        assert!(!dot.contains(r#""server-a" -- "server-c""#), "{dot}");
        assert!(dot.contains(r#""server-d" [label="d", shape=box, style=dashed];"#), "{dot}");
    }

    #[test]
    fn a_map_of_nonsense_is_drawn_and_ends() {
        let lines = ["a|\x1b[2J|mainserver|online||a|b|zz", "b|b|client|online|\x07|a|b", "c|c|client|online||nowhere"];
        let map = ServerMap::new(&lines.map(str::to_owned));
        let tree = map.tree(Paint(false));
        assert!(!tree.contains(|c: char| c.is_control() && c != '\n'), "{tree:?}");
        assert!(tree.contains("● c"), "{tree}");
        assert!(!map.dot().contains('\x1b'));
    }

    #[test]
    fn changes() {
        let mut map = map();
        let lines = [
            "user-3|Carol|client|online||server-b".to_owned(),
            "user-1|alice|client|online|at lunch|server-a".to_owned(),
        ];
        let changed = map.apply(&lines);
        assert_eq!(changed.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["Carol"]);
        assert!(map.has_user("CAROL") && !map.has_user("box"));
        assert_eq!(map.users().iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["alice", "bob", "Carol"]);
    }

    #[test]
    fn graphviz() {
        let dot = ServerMap::new(&["x|q\"uo\\te|client|offline||y".to_owned()]).dot();
        assert!(dot.contains(r#""x" [label="q\"uo\\te", shape=ellipse, style=dashed];"#), "{dot}");
        assert!(dot.contains(r#""x" -- "y";"#), "{dot}");
    }
}
