//! The verbs, one a file.

mod adapter;
mod blend;
mod branch;
mod chat;
mod clear;
mod compare;
mod data;
mod demo;
mod env;
mod evaluate;
mod export;
mod freeze;
mod full;
pub(crate) mod help;
mod jobs;
mod lang;
mod load;
mod lora;
mod panel;
mod plot;
pub(crate) mod predict;
mod print;
mod probe;
mod push;
mod quit;
mod recipe;
mod redo;
mod resume;
mod run;
mod rust;
mod sample;
mod save;
mod serve;
pub(crate) mod set;
mod shell;
mod show;
mod status;
mod stop;
mod sweep;
mod time;
mod train;
mod undo;
mod unload;
pub(crate) mod version;
mod wait;
mod watch;
pub(crate) mod workers;
mod worst;

use crate::verb::Verb;

/// Every verb, in the order in which one meets them.
pub(crate) static VERBS: &[&Verb] = &[
    &demo::VERB,
    &load::VERB,
    &unload::VERB,
    &data::VERB,
    &sample::VERB,
    &lora::VERB,
    &freeze::VERB,
    &full::VERB,
    &adapter::VERB,
    &blend::VERB,
    &set::VERB,
    &show::VERB,
    &probe::VERB,
    &train::VERB,
    &jobs::VERB,
    &watch::VERB,
    &wait::VERB,
    &stop::VERB,
    &undo::VERB,
    &redo::VERB,
    &branch::VERB,
    &sweep::VERB,
    &workers::VERB,
    &resume::VERB,
    &plot::VERB,
    &evaluate::VERB,
    &worst::VERB,
    &predict::VERB,
    &chat::VERB,
    &compare::VERB,
    &serve::VERB,
    &panel::VERB,
    &save::VERB,
    &export::VERB,
    &push::VERB,
    &recipe::VERB,
    &status::VERB,
    &clear::VERB,
    &help::VERB,
    &lang::VERB,
    &run::VERB,
    &rust::VERB,
    &shell::VERB,
    &time::VERB,
    &print::VERB,
    &version::VERB,
    &env::VERB,
    &quit::VERB,
];
