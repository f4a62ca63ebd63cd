//! The live session of tunebook, as a Rust cell sees it: [`session()`] drives the same model, adapters and training that
//! the commands do.
//!
//! ```no_run
//! use tunebook_client::session;
//!
//! # fn main() -> tunebook_client::Result<()> {
//! let mut best = f32::MAX;
//! while session().step() < 200 {
//!     let made = session().train(5)?;
//!     if made.loss < best {
//!         best = made.loss;
//!     } else {
//!         session().set("learning_rate", made.learning_rate * 0.5)?;
//!     }
//! }
//! println!("{}", session().chat("Describe this creature.", &["images/0001.png"])?);
//! # Ok(())
//! # }
//! ```
//!
//! The session lives in another process; this crate talks with it over a Unix socket and needs nothing but the standard
//! library. It is embedded in the program, which writes it to the user's cache folder and has cells depend on it there.
//! It knows nothing of tensors, models or files.

mod connection;
mod console;
mod error;
mod records;
mod request;
mod session;
#[doc(hidden)]
pub mod sources;
pub mod wire;

pub use connection::Connection;
pub use connection::SOCKET;
pub use connection::TOKEN;
#[doc(hidden)]
pub use console::eprint_line;
#[doc(hidden)]
pub use console::print_line;
#[doc(hidden)]
pub use console::print_text;
pub use error::Error;
pub use error::Kind;
pub use error::Result;
pub use records::Adapter;
pub use records::Answer;
pub use records::Data;
pub use records::Evaluation;
pub use records::Model;
pub use records::Prediction;
pub use records::Predictions;
pub use records::Probed;
pub use records::SampleLoss;
pub use records::Step;
pub use records::Tensor;
pub use records::Token;
pub use records::Trained;
pub use records::Trial;
pub use request::Part;
pub use request::Request;
pub use session::Session;

/// The live session. It is a function and no variable, so that it is there after a panic and after a restart as well.
pub fn session() -> Session {
    Session::connect()
}
