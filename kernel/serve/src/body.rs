//! Reads the body of a request: not too much of it, not too slowly, and only while there is room in memory.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::body::BodyDataStream;
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio::time::timeout;
use tokio::time::timeout_at;

use crate::error::ApiError;
use crate::error::Result;
use crate::limits;
use crate::limits::Limits;

/// The memory that all requests together may take, shared out by the KiB.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Semaphore>);

/// A request's part of it, until it is dropped.
pub(crate) type Part = OwnedSemaphorePermit;

impl Room {
    /// At least as much as one request may take.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(kib(bytes.max(limits::BODY)) as usize)))
    }

    /// Waits for room.
    ///
    /// # Errors
    /// There is none after `patience`, still.
    pub(crate) async fn reserve(&self, bytes: usize, patience: Duration) -> Result<Part> {
        let part = timeout(patience, Arc::clone(&self.0).acquire_many_owned(kib(bytes))).await;
        part.ok().and_then(|part| part.ok()).ok_or_else(ApiError::no_room)
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

/// A request's body, and its part of the room. A body that does not say how long it is gets as much as the longest one.
///
/// # Errors
/// It is too long or too slow, it breaks off, or there is no room for it.
pub(crate) async fn read(body: Body, headers: &HeaderMap, room: &Room, limits: &Limits) -> Result<(Vec<u8>, Part)> {
    let announced = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let announced = announced.map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let reserved = match announced {
        Some(length) if length > limits::BODY => Err(ApiError::too_large()),
        length => room.reserve(length.unwrap_or(limits::BODY), limits.wait).await,
    };
    let mut pieces = body.into_data_stream();
    let read = match reserved {
        Ok(part) => collect(&mut pieces, limits).await.map(|read| (read, part)),
        Err(error) => Err(error),
    };
    match read {
        Ok((read, mut part)) => {
            let taken = kib(read.len()) as usize;
            drop(part.split(part.num_permits().saturating_sub(taken)));
            Ok((read, part))
        }
        Err(error) => {
            // Whoever was waited for is waited for no longer.
            if error.status != StatusCode::REQUEST_TIMEOUT {
                discard_pieces(pieces, limits).await;
            }
            Err(error)
        }
    }
}

async fn collect(pieces: &mut BodyDataStream, limits: &Limits) -> Result<Vec<u8>> {
    let end = Instant::now() + limits.body;
    let mut read = Vec::new();
    loop {
        let piece = timeout_at(end.min(Instant::now() + limits.piece), pieces.next()).await;
        let Some(piece) = piece.map_err(|_| ApiError::too_slow())? else { return Ok(read) };
        let piece = piece.map_err(|_| ApiError::bad_request("The body breaks off."))?;
        if read.len() + piece.len() > limits::BODY {
            return Err(ApiError::too_large());
        }
        read.extend_from_slice(&piece);
    }
}

/// Reads a body that nobody wants, if it does not take too long: a client that still sends when its connection is closed often
/// does not see the answer, and would take a wrong key for a fault of the network.
pub(crate) async fn discard(body: Body, limits: &Limits) {
    discard_pieces(body.into_data_stream(), limits).await;
}

async fn discard_pieces(mut pieces: BodyDataStream, limits: &Limits) {
    let all = async {
        let mut left = 4 * limits::BODY;
        while let Some(Ok(piece)) = pieces.next().await
            && piece.len() <= left
        {
            left -= piece.len();
        }
    };
    drop(timeout(limits.piece, all).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn room_is_shared_out_and_given_back() {
        let room = Room::new(0);
        let soon = Duration::from_millis(50);
        let first = room.reserve(40 << 20, soon).await.unwrap();
        let refused = room.reserve(40 << 20, soon).await.unwrap_err();
        assert_eq!(refused.status.as_u16(), 429);
        let second = room.reserve(24 << 20, soon).await.unwrap();
        assert!(room.reserve(1, soon).await.is_err());
        drop(first);
        assert!(room.reserve(40 << 20, soon).await.is_ok());
        drop(second);
        assert!(room.reserve(limits::BODY, soon).await.is_ok());
    }
}
