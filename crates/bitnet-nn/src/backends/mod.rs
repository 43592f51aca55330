//! How each backend runs the operations of [`TernaryBackend`](crate::ternary::TernaryBackend) and
//! [`FloatBackend`](crate::float::FloatBackend): one file a family of operations.

#[cfg(feature = "autodiff")]
mod autodiff;
#[cfg(any(feature = "flex", feature = "ndarray"))]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "flex")]
mod flex;
#[cfg(feature = "ndarray")]
mod ndarray;
