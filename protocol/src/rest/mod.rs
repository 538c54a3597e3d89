//! REST in Upstash's dialect: the commands of a request, and its replies as JSON. Who may send it, and what
//! HTTP is, others know.

pub mod commands;
pub mod json;
