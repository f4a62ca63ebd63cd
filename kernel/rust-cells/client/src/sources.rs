//! The files of this crate, for the program that writes them to where cells can depend on them. A crate has no others: a
//! registry packs each crate alone.

/// What each file is called within the crate, and its text.
pub const FILES: [(&str, &str); 10] = [
    ("Cargo.toml", include_str!("../Cargo.toml")),
    ("src/connection.rs", include_str!("connection.rs")),
    ("src/console.rs", include_str!("console.rs")),
    ("src/error.rs", include_str!("error.rs")),
    ("src/lib.rs", include_str!("lib.rs")),
    ("src/records.rs", include_str!("records.rs")),
    ("src/request.rs", include_str!("request.rs")),
    ("src/session.rs", include_str!("session.rs")),
    ("src/sources.rs", include_str!("sources.rs")),
    ("src/wire.rs", include_str!("wire.rs")),
];
