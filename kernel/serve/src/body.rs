//! Reads the body of a request: not too much of it, not too slowly, and only while there is room in memory.

use std::sync::Arc;

use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use futures_util::StreamExt;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::Semaphore;
use tokio::time::Instant;
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

    /// Waits for room until then.
    ///
    /// # Errors
    /// There is none, still.
    pub(crate) async fn reserve(&self, bytes: usize, until: Instant) -> Result<Part> {
        let part = timeout_at(until, Arc::clone(&self.0).acquire_many_owned(kib(bytes))).await;
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
    if announced.is_some_and(|length| length > limits::BODY) {
        return Err(ApiError::too_large());
    }
    let end = Instant::now() + limits.body;
    let mut part = room.reserve(announced.unwrap_or(limits::BODY), end).await?;
    let mut pieces = body.into_data_stream();
    let mut read = Vec::new();
    loop {
        let piece = timeout_at(end.min(Instant::now() + limits.piece), pieces.next()).await;
        let Some(piece) = piece.map_err(|_| ApiError::too_slow())? else { break };
        let piece = piece.map_err(|_| ApiError::bad_request("The body breaks off."))?;
        if read.len() + piece.len() > limits::BODY {
            return Err(ApiError::too_large());
        }
        read.extend_from_slice(&piece);
    }
    let taken = kib(read.len()) as usize;
    drop(part.split(part.num_permits().saturating_sub(taken)));
    Ok((read, part))
}
