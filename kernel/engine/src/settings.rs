//! The settings of a session, each declared once.

/// Every setting, typed.
#[derive(Clone, Debug, Default)]
pub struct Settings {}
