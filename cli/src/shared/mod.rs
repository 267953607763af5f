//! What the command and the main job (`examples/backfill`) have in common: how a program begins and ends, where
//! it says things, what outlives its runs, and how it shows numbers. It is a module of both, and of neither alone:
//! whatever stands here both use.

pub(crate) mod console;
pub(crate) mod failure;
pub(crate) mod files;
pub(crate) mod lines;
pub(crate) mod numbers;
pub(crate) mod program;
pub(crate) mod saved;
pub(crate) mod screen;
pub(crate) mod stop;
