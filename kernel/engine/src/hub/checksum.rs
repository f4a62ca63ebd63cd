//! What a hub says of a file's content, and the same of the bytes that have come.

use std::fs::File;
use std::io;
use std::io::Read;

use sha1::Sha1;
use sha2::Digest;
use sha2::Sha256;
use sha2::digest::DynDigest;

use crate::event::Cancel;

const CHUNK: usize = 1 << 20;

/// The hash of a file's content, as a hub gives it in hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Checksum {
    Sha256(String),
    /// The name that git gives to a file which is no LFS file: the SHA-1 of `blob LENGTH\0` and the content.
    Git(String),
}

impl Checksum {
    /// Of a file that is stored with git LFS; `None` if `text` is no SHA-256.
    pub(super) fn sha256(text: &str) -> Option<Self> {
        is_hexadecimal(text, 64).then(|| Self::Sha256(text.to_string()))
    }

    /// Of a file that is stored in git itself; `None` if `text` is no SHA-1.
    pub(super) fn git(text: &str) -> Option<Self> {
        is_hexadecimal(text, 40).then(|| Self::Git(text.to_string()))
    }

    /// What it is called.
    pub(super) fn algorithm(&self) -> &'static str {
        match self {
            Self::Sha256(_) => "SHA-256",
            Self::Git(_) => "git SHA-1",
        }
    }

    pub(super) fn text(&self) -> &str {
        match self {
            Self::Sha256(text) | Self::Git(text) => text,
        }
    }

    /// To hash the content of a file of `size` bytes, of which nothing was read yet.
    pub(super) fn hasher(&self, size: u64) -> Hasher {
        Hasher(match self {
            Self::Sha256(_) => Box::new(Sha256::default()),
            Self::Git(_) => {
                let mut hash = Sha1::default();
                DynDigest::update(&mut hash, format!("blob {size}\0").as_bytes());
                Box::new(hash)
            }
        })
    }

    /// Whether it is that of the bytes that were hashed; else the hash that these have.
    pub(super) fn check(&self, hasher: Hasher) -> Result<(), String> {
        let found = hexadecimal(&hasher.0.finalize());
        if found.eq_ignore_ascii_case(self.text()) { Ok(()) } else { Err(found) }
    }
}

/// The state of a hash.
pub(super) struct Hasher(Box<dyn DynDigest>);

impl Hasher {
    pub(super) fn update(&mut self, piece: &[u8]) {
        self.0.update(piece);
    }

    /// Hashes all that can still be read of a file; whether it was not stopped before.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn read(&mut self, file: &mut File, cancel: &Cancel) -> io::Result<bool> {
        let mut chunk = vec![0; CHUNK];
        while !cancel.is_cancelled() {
            match file.read(&mut chunk)? {
                0 => return Ok(true),
                count => self.update(&chunk[..count]),
            }
        }
        Ok(false)
    }
}

/// The SHA-256 of all that can be read of a file; `None` if it was stopped before. `tell` hears how many bytes were read.
///
/// # Errors
/// The file cannot be read.
pub(super) fn sha256_of(file: &mut File, mut tell: impl FnMut(usize), cancel: &Cancel) -> io::Result<Option<String>> {
    let (mut hash, mut chunk) = (Sha256::default(), vec![0; CHUNK]);
    while !cancel.is_cancelled() {
        match file.read(&mut chunk)? {
            0 => return Ok(Some(hexadecimal(&hash.finalize()))),
            count => {
                Digest::update(&mut hash, &chunk[..count]);
                tell(count);
            }
        }
    }
    Ok(None)
}

/// The SHA-256 of `bytes`.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn is_hexadecimal(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_that_of(checksum: &Checksum, content: &[u8]) -> bool {
        let mut hasher = checksum.hasher(content.len() as u64);
        content.chunks(3).for_each(|piece| hasher.update(piece));
        checksum.check(hasher).is_ok()
    }

    #[test]
    fn a_file_of_git_is_hashed_as_git_hashes_it() {
        // `git hash-object` of an empty file, and of one that holds a line.
        for (content, hash) in [
            (&b""[..], "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"),
            (b"hello world\n", "3b18e512dba79e4c8300dd08aeb37f8e728b8dad"),
        ] {
            let checksum = Checksum::git(hash).unwrap();
            assert!(is_that_of(&checksum, content));
            assert!(!is_that_of(&checksum, b"hello World\n"));
        }
    }

    #[test]
    fn a_file_of_lfs_is_hashed_by_its_content_alone() {
        // `sha256sum`
        let hash = "a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447";
        let upper = Checksum::sha256(&hash.to_uppercase()).unwrap();
        assert!(is_that_of(&Checksum::sha256(hash).unwrap(), b"hello world\n") && is_that_of(&upper, b"hello world\n"));
    }

    #[test]
    fn what_is_no_hash_is_none() {
        for text in ["", "../../x", &"x".repeat(40), &"a".repeat(41), "图"] {
            assert_eq!((Checksum::git(text), Checksum::sha256(text)), (None, None), "{text}");
        }
    }
}
