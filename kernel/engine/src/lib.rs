//! The live session and its typed verbs: load, data, lora, train, chat, save.
//!
//! It owns the model, the adapters, the data, the optimizer and the conversation. It is not a user
//! interface: it prints nothing, knows no command syntax, and does not know who listens. A verb takes a
//! [`Context`] (where events go, and whether somebody asked to stop) and gives back a typed report.

mod adapters;
pub mod advice;
mod answers;
mod bad_sample;
mod boxes;
mod cgroup;
pub mod chat_requests;
mod checkpoint;
mod chosen_data;
mod common_prefix;
mod compare;
mod conversation;
mod device;
pub mod difference;
mod draft_length;
pub mod drafts;
mod error;
mod evaluate;
mod event;
mod export;
mod feature_store;
mod file_state;
mod finite;
pub mod generate;
pub mod hub;
pub mod instead;
pub mod lang;
pub mod machine;
mod markdown;
mod memory;
mod methods;
mod metrics;
pub mod model;
mod model_card;
pub mod nearest;
mod neftune;
mod optimizer;
pub mod output;
mod own_template;
pub mod pictures;
mod predict;
pub mod prefix;
pub mod probes;
pub mod recipe;
pub mod recovery;
pub mod regions;
pub mod report;
mod resume;
mod run_state;
pub mod sample_text;
mod sampling;
mod schedule;
mod sequence;
pub mod serialize;
mod session;
pub mod settings;
mod snapshot_store;
pub mod step_metrics;
// Linux tells in files what others are asked for.
#[cfg_attr(not(target_os = "linux"), path = "system_elsewhere.rs")]
mod system;
mod system_prompt;
mod temporary_file;
mod tensor_values;
mod token_scores;
pub mod training;
pub mod training_state;
pub mod workers;
mod worst;

pub use answers::Details;
pub use chosen_data::Split;
pub use error::Error;
pub use error::Result;
pub use event::Cancel;
pub use event::Context;
pub use event::Event;
pub use event::Note;
pub use event::Task;
pub use export::gguf::GgufOptions;
pub use schedule::KwargType;
pub use schedule::ScheduleError;
pub use session::Session;
pub use session::tell_taken_back;
pub use settings::Settings;
pub use system::resident_bytes;
pub use tunebook_nn::gguf::FileType;
