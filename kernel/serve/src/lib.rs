//! A live session as an OpenAI-compatible HTTP server, below everything that knows what a session is.
//!
//! The server reads requests, checks them and queues what they ask for in an [`Inbox`]; whoever answers takes it from there
//! when there is time, and gives the answer piece by piece to its [`Reply`], never waiting for a client. This crate knows
//! HTTP, JSON and stop strings, and no sessions, tensors or models. Its only words are those of HTTP errors, in English as
//! OpenAI's are.
//!
//! A port on the loopback device is open to every web page that its user visits. So without a key only loopback is served
//! and the `Host` header must name it (else a page could have its own name resolve to 127.0.0.1 and read the answers), no
//! other origin is allowed by CORS, and a request must say that it is JSON, which makes a browser ask for that permission.

mod address;
mod answerer;
mod asked;
mod body;
mod completions;
mod connection;
mod error;
mod fetch;
mod guard;
mod inbox;
mod limits;
mod metrics;
mod models;
mod picture;
mod reply;
mod request;
mod routes;
mod server;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
mod whole;
mod wire;

// The answerer of the tests is that of the example.
#[cfg(test)]
extern crate self as tunebook_serve;

pub use answerer::Answerer;
pub use answerer::Gauge;
pub use asked::Asked;
pub use asked::AskedOptions;
pub use asked::Message;
pub use asked::Part;
pub use asked::Role;
pub use inbox::Inbox;
pub use reply::Ended;
pub use reply::Refusal;
pub use reply::Reply;
pub use reply::Scored;
pub use server::Options;
pub use server::Server;
pub use server::StartError;
