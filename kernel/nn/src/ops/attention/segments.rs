//! Which queries see which keys.

use std::ops::Range;
use std::sync::Arc;

/// Sequences packed one after the other: segment s holds the queries `q[s]..q[s + 1]` and the keys
/// `k[s]..k[s + 1]` (`cu_seqlens`, each starting at 0 and ending at the number of rows).
///
/// Queries see the keys of their own segment. With `causal`, the queries are the last tokens of their segment:
/// query i of n_q sees the first n_k - n_q + i + 1 of n_k keys, so that one new query sees a whole cache.
#[derive(Clone, Debug)]
pub struct Segments {
    pub q: Arc<[usize]>,
    pub k: Arc<[usize]>,
    pub causal: bool,
}

/// The rows of one segment.
pub(super) struct Segment {
    pub q: Range<usize>,
    pub k: Range<usize>,
    pub causal: bool,
}

impl Segments {
    pub(super) fn len(&self) -> usize {
        self.q.len() - 1
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Segment> + '_ {
        self.q.windows(2).zip(self.k.windows(2)).map(|(q, k)| Segment {
            q: q[0]..q[1],
            k: k[0]..k[1],
            causal: self.causal,
        })
    }

    /// What keeps these segments from covering `q_rows` queries and `k_rows` keys, each query with a key to see.
    pub(super) fn check(&self, q_rows: usize, k_rows: usize) -> Result<(), String> {
        for (what, bounds, rows) in [("queries", &self.q, q_rows), ("keys", &self.k, k_rows)] {
            if bounds.first() != Some(&0) || bounds.last() != Some(&rows) || !bounds.is_sorted() {
                return Err(format!("the bounds of the {what} must rise from 0 to {rows}, but are {bounds:?}"));
            }
        }
        if self.q.len() != self.k.len() {
            return Err(format!("{} segments of queries, but {} of keys", self.q.len() - 1, self.k.len() - 1));
        }
        for (index, segment) in self.iter().enumerate() {
            let (queries, keys) = (segment.q.len(), segment.k.len());
            if (queries > 0 && keys == 0) || (self.causal && queries > keys) {
                return Err(format!("segment {index} has {queries} queries for only {keys} keys"));
            }
        }
        Ok(())
    }
}

impl Segment {
    /// How many keys a query sees, the query counted from the segment's first.
    pub(super) fn visible(&self, query: usize) -> usize {
        if self.causal { self.k.len() - self.q.len() + query + 1 } else { self.k.len() }
    }
}
