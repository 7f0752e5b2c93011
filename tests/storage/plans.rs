//! Every statement finds its rows by an index: how long it takes does not depend on how many others there are.

use std::fs;

use crate::database;

/// Tables that are read whole: of places and servers there are few, and of the queues only the first row is taken.
const WHOLE: &[&str] = &["places", "servers", "trash", "leaving", "acknowledged", "tree", "CONSTANT ROW"];

/// The string literals of the source that are statements.
fn statements() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/storage");
    for file in fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()) {
        if file.ends_with("schema.rs") {
            continue;
        }
        let source = fs::read_to_string(&file).unwrap();
        let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        for literal in code.join("\n").split('"').skip(1).step_by(2) {
            let verbs = ["SELECT ", "INSERT ", "UPDATE ", "DELETE ", "WITH "];
            if verbs.iter().any(|verb| literal.starts_with(verb)) {
                let name = file.file_name().unwrap().to_string_lossy().into_owned();
                found.push((name, literal.to_owned()));
            }
        }
    }
    found
}

#[test]
fn every_statement_uses_an_index() {
    let db = database();
    let statements = statements();
    assert!(statements.len() > 100, "only {} statements were found", statements.len());
    let mut slow = Vec::new();
    for (file, text) in &statements {
        let mut explain = db.prepare(&format!("EXPLAIN QUERY PLAN {text}")).unwrap_or_else(|e| panic!("{text}: {e}"));
        let mut rows = explain.raw_query();
        while let Some(row) = rows.next().unwrap() {
            let step: String = row.get(3).unwrap();
            // The oldest message that was not sent is the first of its index.
            let first = text.contains("ORDER BY m.id LIMIT 1") && step.contains("messages_unsent");
            let whole = step.strip_prefix("SCAN ").is_some_and(|of| !WHOLE.iter().any(|table| of.starts_with(table)));
            // Without an index, SQLite may make one each time; sorting is for lists that are bounded.
            if (whole && !first && !of_subquery(&step)) || step.contains("AUTOMATIC") {
                slow.push(format!("{file}: {text}\n    {step}"));
            }
        }
    }
    assert!(slow.is_empty(), "these read a table whole:\n{}", slow.join("\n"));
}

/// What SQLite calls the rows of a part that it has computed already.
fn of_subquery(step: &str) -> bool {
    step.starts_with("SCAN (subquery")
}
