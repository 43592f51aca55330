//! The rows of `q` and `k` in the two orders of RoPE.
//!
//! RoPE turns pairs of a head's columns. Hugging Face pairs column `j` with `j + d/2` (rotate-half, NeoX); GGUF files of
//! the architecture `llama` pair `2j` with `2j + 1` (interleaved), and their writer moves the rows of the two matrices to
//! match: row `2j + h` of a head is row `h·d/2 + j` of Hugging Face's, h = 0, 1. Everything is handed out in
//! Hugging Face's order; `bitnet`, `bitnet-b1.58`, `bitnet-25` and `qwen3` keep it in GGUF too.

/// The row in a file with interleaved order that is row `row` in rotate-half order.
pub(crate) fn interleaved_row(row: usize, head_dim: usize) -> usize {
    let (head, at) = (row / head_dim, row % head_dim);
    let (half, j) = (at / (head_dim / 2), at % (head_dim / 2));
    head * head_dim + 2 * j + half
}

#[cfg(test)]
mod tests {
    use super::interleaved_row;

    #[test]
    fn rows_of_two_heads() {
        let rows: Vec<_> = (0..12).map(|row| interleaved_row(row, 6)).collect();
        assert_eq!(rows, [0, 2, 4, 1, 3, 5, 6, 8, 10, 7, 9, 11]);
    }
}
