//! The vision transformer that the families share: patches to tokens of the language model's width.
//!
//! What differs between families is in [`VisionConfig`], which each reads out of its own config.json: the norms, the
//! feed-forward, attention within windows, learned positions, and where features leave the tower.

mod block;
mod config;
mod feed_forward;
mod layout;
mod merger;
mod position_embedding;
mod tower;
pub mod windows;

pub(crate) use block::EPS;
pub use config::FeedForwardKind;
pub use config::MergerNames;
pub use config::NormKind;
pub use config::VisionConfig;
pub use config::WindowAttention;
pub(crate) use tower::VisionTransformer;
