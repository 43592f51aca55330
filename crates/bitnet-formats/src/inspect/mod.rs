//! What a model's files hold: each convention with its evidence, each tensor with its codes or values, and what is odd.

mod report;
mod tensor;

pub use report::{Convention, Report};
pub use tensor::{Codes, TensorReport, Values};
