//! What the operating system and the machine give: large pages, threads, and the limits that products run into.

pub(crate) mod fresh;
pub(crate) mod pages;
pub(crate) mod parallel;
pub mod probe;
pub(crate) mod shared_out;
