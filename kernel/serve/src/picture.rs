//! The address of a picture in a message.

use data_url::DataUrl;

use crate::error::quoted;

/// Where a picture is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Picture {
    /// In the address: a data URL. This is the file.
    Here(Vec<u8>),
    /// On another server, and it may be fetched.
    Elsewhere,
}

/// Nothing but data URLs and, if they are allowed, addresses on the web: a path would let a client read this machine's files.
/// What kind of file a data URL says it has does not matter, since whoever decodes it looks into it.
///
/// # Errors
/// Another kind of address, or a data URL that cannot be decoded.
pub(crate) fn read(url: &str, allow_urls: bool) -> Result<Picture, String> {
    let scheme = url.split_once(':').map(|(scheme, _)| scheme.to_ascii_lowercase());
    match scheme.as_deref() {
        Some("data") => {
            let data = DataUrl::process(url).map_err(|_| "This is no data URL: expected data:image/png;base64,….")?;
            let (file, _) = data.decode_to_vec().map_err(|_| "The picture is not valid base64.")?;
            match file.is_empty() {
                true => Err("The picture is empty.".into()),
                false => Ok(Picture::Here(file)),
            }
        }
        Some("http" | "https") if allow_urls => Ok(Picture::Elsewhere),
        Some("http" | "https") => {
            Err("This server does not fetch pictures. Send it as a data URL (data:image/png;base64,…), or start the server \
                 with urls=true."
                .into())
        }
        _ => Err(format!("A picture must be a data URL (data:image/png;base64,…), but this one is '{}'.", quoted(url))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_in_its_address_or_on_the_web() {
        assert_eq!(read("data:image/png;base64,aGk=", false), Ok(Picture::Here(b"hi".to_vec())));
        assert_eq!(read("DATA:image/jpeg;base64,aG k=\n", false), Ok(Picture::Here(b"hi".to_vec())));
        assert_eq!(read("HTTPS://x.example/a.png", true), Ok(Picture::Elsewhere));
        for url in [
            "data:image/png;base64,aGk*",
            "data:",
            "data:image/png;base64,",
            "http://x.example/a.png",
            "/etc/passwd",
            "file:///etc/passwd",
            "ftp://x.example/a.png",
            "",
            "C:\\a.png",
        ] {
            assert!(read(url, false).is_err(), "{url}");
        }
        for url in ["/etc/passwd", "file:///etc/passwd", "ftp://x.example/a.png", " http://x.example/"] {
            assert!(read(url, true).is_err(), "{url}");
        }
    }
}
