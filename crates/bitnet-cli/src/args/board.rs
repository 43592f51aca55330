//! Flags of `bitnet board` and `bitnet report`.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Args;

#[derive(Debug, Args)]
pub struct BoardArgs {
    /// Runs, or folders of runs, which may not exist yet
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// Address to listen at; another than a loopback one shows the runs to everybody who reaches it
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub host: IpAddr,
    /// Port; 0 takes a free one
    #[arg(long, default_value_t = 6106, value_name = "N")]
    pub port: u16,
}

#[derive(Debug, Args)]
pub struct ReportArgs {
    /// Runs, or folders of runs
    #[arg(required = true)]
    pub runs: Vec<PathBuf>,
    /// The file; default: board.html in the folder of the run, of several in the working directory
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}
