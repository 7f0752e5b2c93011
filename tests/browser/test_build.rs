//! The executable as it is, with the hooks of the feature `test-hooks`.

#[path = "../../src/main.rs"]
mod product;

fn main() -> std::process::ExitCode {
    product::main()
}
