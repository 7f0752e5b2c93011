//! Tables for the terminal.

/// A table with a title; all columns but the first are right-aligned.
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table with its heading.
    pub fn new(title: impl Into<String>, heading: &[&str]) -> Table {
        Table { title: title.into(), rows: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Prints it.
    pub fn print(&self) {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |n: usize| self.rows.iter().filter_map(|row| row.get(n)).map(|c| c.chars().count()).max();
        let widths: Vec<usize> = (0..columns).map(|n| width(n).unwrap_or(0)).collect();
        println!("\n{}", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            let mut line = String::new();
            for (n, (cell, width)) in row.iter().zip(&widths).enumerate() {
                match n {
                    0 => line.push_str(&format!("  {cell:<width$}")),
                    _ => line.push_str(&format!("  {cell:>width$}")),
                }
            }
            println!("{}", line.trim_end());
            if number == 0 {
                println!("  {}", "-".repeat(widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1)));
            }
        }
    }
}

/// The verdict on a goal: `<= 2.0: yes`.
pub fn goal(value: f64, at_most: f64, unit: &str) -> String {
    let verdict = if value <= at_most { "met" } else { "MISSED" };
    format!("<= {at_most}{unit}: {verdict}")
}
