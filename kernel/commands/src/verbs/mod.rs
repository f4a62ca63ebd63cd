//! The verbs, one a file.

mod adapter;
mod chat;
mod clear;
mod data;
pub mod help;
mod load;
mod lora;
mod plot;
mod print;
mod quit;
mod recipe;
mod run;
mod sample;
mod save;
mod set;
mod show;
mod status;
mod train;
mod unload;
pub mod version;

use crate::verb::Verb;

/// Every verb, in the order in which one meets them.
pub static VERBS: &[&Verb] = &[
    &load::VERB,
    &unload::VERB,
    &data::VERB,
    &sample::VERB,
    &lora::VERB,
    &adapter::VERB,
    &set::VERB,
    &show::VERB,
    &train::VERB,
    &plot::VERB,
    &chat::VERB,
    &save::VERB,
    &recipe::VERB,
    &status::VERB,
    &clear::VERB,
    &help::VERB,
    &run::VERB,
    &print::VERB,
    &version::VERB,
    &quit::VERB,
];
