//! What the session asks, in its order.

use std::collections::VecDeque;
use std::sync::mpsc::Receiver;
use std::sync::mpsc::TryRecvError;

use crate::workers::wire::Request;

/// What the session asks, in its order.
pub(super) struct Inbox {
    requests: Receiver<(Request, Vec<f32>)>,
    /// What came while something else was waited for.
    waiting: VecDeque<(Request, Vec<f32>)>,
}

impl Inbox {
    pub(super) fn new(requests: Receiver<(Request, Vec<f32>)>) -> Self {
        Self { requests, waiting: VecDeque::new() }
    }

    /// The next request; none when the session is gone.
    pub(super) fn next(&mut self) -> Option<(Request, Vec<f32>)> {
        self.waiting.pop_front().or_else(|| self.requests.recv().ok())
    }

    /// The next one, if it is here.
    pub(super) fn try_next(&mut self) -> std::result::Result<(Request, Vec<f32>), TryRecvError> {
        self.waiting.pop_front().map_or_else(|| self.requests.try_recv(), Ok)
    }

    /// The file that was asked for; none if it cannot be had.
    pub(super) fn file(&mut self) -> Option<(usize, Vec<f32>)> {
        loop {
            match self.requests.recv().ok()? {
                (Request::File { bytes }, values) => return bytes.map(|bytes| (bytes, values)),
                (Request::Cancel, _) => {}
                other => self.waiting.push_back(other),
            }
        }
    }
}
