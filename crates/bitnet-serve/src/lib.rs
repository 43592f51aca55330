//! An OpenAI-compatible HTTP server over the CPU engine, with a chat page.
