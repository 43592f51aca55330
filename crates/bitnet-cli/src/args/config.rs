//! Flags of `bitnet config`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// What a key means, what it takes and what holds where it is not written; of a section its keys
    Explain {
        /// A key such as train.steps, or a section such as train
        key: String,
    },
    /// A JSON schema of config files, for editors
    Schema,
    /// Write the page with every key, in Markdown
    Reference,
}
