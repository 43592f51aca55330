//! What a server allows, and what it is told.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

/// How a server runs. The default listens on loopback, port 8080, without a key.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where it listens; port 0 is any that is free.
    pub address: SocketAddr,
    /// Keys of which a request gives one (`Authorization: Bearer KEY`); none asks for none.
    pub api_keys: Vec<String>,
    /// Origins whose pages may ask (`*` is all); none but its own.
    pub cors: Vec<String>,
    /// Names that a `Host` header may have besides loopback's, where the server listens on loopback.
    pub allowed_hosts: Vec<String>,
    /// What is too much.
    pub limits: Limits,
    /// Whether the log has what users and models wrote.
    pub log_text: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 8080)),
            api_keys: Vec::new(),
            cors: Vec::new(),
            allowed_hosts: Vec::new(),
            limits: Limits::default(),
            log_text: false,
        }
    }
}

/// What is too much. Every limit is there so that nobody takes what others need.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a request's body.
    pub body_bytes: usize,
    /// Bytes of all bodies that are being read or understood at a time.
    pub bodies_bytes: usize,
    /// Time for a body to arrive.
    pub body_time: Duration,
    /// Bytes of a request's head: its first line and its headers.
    pub head_bytes: usize,
    /// Time for a head to arrive, from the start of the connection or the end of the answer before: how long a connection
    /// may idle.
    pub head_time: Duration,
    /// Connections at a time. One more takes the place of the one that has idled longest.
    pub connections: usize,
    /// Texts of a model that wait or are written at a time; every choice of an answer is one.
    pub queue: usize,
    /// Choices of one request: `n` times the number of prompts, or the texts to embed.
    pub choices: usize,
    /// Most tokens of an answer, whatever a request asks for.
    pub answer_tokens: usize,
    /// Time for a whole answer, from the end of its request.
    pub request_time: Duration,
    /// Time in which a client takes some bytes of its answer.
    pub write_time: Duration,
    /// Events of an answer that wait for a client that reads slowly; with more it loses the answer.
    pub buffered_events: usize,
    /// Time for running answers to end when the server is told to.
    pub shutdown_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 4 << 20,
            bodies_bytes: 64 << 20,
            body_time: Duration::from_secs(30),
            head_bytes: 32 << 10,
            head_time: Duration::from_secs(20),
            connections: 4096,
            queue: 128,
            choices: 64,
            answer_tokens: 4096,
            request_time: Duration::from_secs(600),
            write_time: Duration::from_secs(30),
            buffered_events: 1024,
            shutdown_time: Duration::from_secs(30),
        }
    }
}
