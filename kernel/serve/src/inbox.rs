//! Requests that wait to be taken.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;

use crate::Asked;
use crate::metrics::Metrics;

/// The requests that nobody has taken yet, in the order in which they came. A client that gives up takes its request along.
#[derive(Debug)]
pub struct Inbox {
    waiting: Mutex<Waiting>,
    most: usize,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(u64, Asked)>,
    pushed: u64,
}

/// A request's place in the inbox. Dropped, the request leaves, if it is still there.
#[derive(Debug)]
pub(crate) struct Place {
    inbox: Arc<Inbox>,
    number: u64,
}

impl Inbox {
    pub(crate) fn new(most: usize, metrics: Arc<Metrics>) -> Self {
        Self { waiting: Mutex::default(), most, metrics }
    }

    /// The request that has waited longest and whose client still waits for the answer; None if there is none now.
    pub fn next(&self) -> Option<Asked> {
        let mut waiting = self.waiting();
        while let Some((_, mut asked)) = waiting.queue.pop_front() {
            if !asked.reply.is_forsaken() {
                asked.reply.running = true;
                self.metrics.running.inc();
                return Some(asked);
            }
        }
        None
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting().queue.len()
    }

    /// None where too many wait.
    pub(crate) fn push(self: &Arc<Self>, asked: Asked) -> Option<Place> {
        let mut waiting = self.waiting();
        if waiting.queue.len() >= self.most {
            return None;
        }
        let number = waiting.pushed;
        waiting.pushed += 1;
        waiting.queue.push_back((number, asked));
        Some(Place { inbox: Arc::clone(self), number })
    }

    /// Lets go of all that wait.
    pub(crate) fn clear(&self) {
        let left = std::mem::take(&mut self.waiting().queue);
        drop(left);
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let left = {
            let queue = &mut self.inbox.waiting().queue;
            let at = queue.iter().position(|(number, _)| *number == self.number);
            at.and_then(|at| queue.remove(at))
        };
        // Only now, with the inbox free again: a request may hold megabytes.
        drop(left);
    }
}
