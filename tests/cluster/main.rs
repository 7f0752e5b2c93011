//! The harness for networks of several processes, and what holds for every such network. docs/testing.md says how to use it.

#[path = "../support/mod.rs"]
mod support;

mod checker;
mod one;
mod several;
mod sites;
