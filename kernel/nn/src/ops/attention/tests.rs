//! Attention against its formula in f64, and against candle's own operations on larger sizes.

use std::sync::Arc;

use candle_core::{D, DType, Device};

use super::super::testing::{assert_close, both_ways, check, random};
use super::*;

/// The textbook formula over packed rows.
fn reference([q, k, v]: [&[f64]; 3], segments: &Segments, heads: usize, kv_heads: usize, head_dim: usize) -> Vec<f64> {
    let mut o = vec![0f64; q.len()];
    for (q_bounds, k_bounds) in segments.q.windows(2).zip(segments.k.windows(2)) {
        let (n_q, n_k) = (q_bounds[1] - q_bounds[0], k_bounds[1] - k_bounds[0]);
        for (i, head) in (0..n_q).flat_map(|i| (0..heads).map(move |head| (i, head))) {
            let q_at = ((q_bounds[0] + i) * heads + head) * head_dim;
            let k_at = |j: usize| ((k_bounds[0] + j) * kv_heads + head / (heads / kv_heads)) * head_dim;
            let seen = if segments.causal { n_k - n_q + i + 1 } else { n_k };
            let score = |j: usize| (0..head_dim).map(|d| q[q_at + d] * k[k_at(j) + d]).sum::<f64>();
            let weights: Vec<f64> = (0..seen).map(|j| (score(j) / (head_dim as f64).sqrt()).exp()).collect();
            let sum: f64 = weights.iter().sum();
            for (j, d) in (0..seen).flat_map(|j| (0..head_dim).map(move |d| (j, d))) {
                o[q_at + d] += weights[j] / sum * v[k_at(j) + d];
            }
        }
    }
    o
}

fn check_against_reference(q: &[usize], k: &[usize], causal: bool, heads: usize, kv_heads: usize, head_dim: usize) {
    let segments = Segments { q: q.into(), k: k.into(), causal };
    let (q_rows, k_rows) = (q[q.len() - 1], k[k.len() - 1]);
    let kv = (k_rows, kv_heads * head_dim);
    check(
        &[(q_rows, heads * head_dim), kv, kv],
        |x| attention(&x[0], &x[1], &x[2], &segments, [heads, kv_heads], Precision::F32),
        |x, d_o| {
            let o = attention(&x[0], &x[1], &x[2], &segments, [heads, kv_heads], Precision::F32)?;
            Ok(attention_backward([&x[0], &x[1], &x[2], &o], d_o, &segments, [heads, kv_heads], Precision::F32)?.into())
        },
        |x| reference([&x[0], &x[1], &x[2]], &segments, heads, kv_heads, head_dim),
    );
}

#[test]
fn one_causal_sequence() {
    check_against_reference(&[0, 5], &[0, 5], true, 2, 2, 6);
}

#[test]
fn several_segments_with_grouped_heads() {
    check_against_reference(&[0, 3, 4, 8], &[0, 3, 4, 8], true, 4, 2, 3);
    check_against_reference(&[0, 2, 7], &[0, 2, 7], false, 6, 2, 4);
}

#[test]
fn fewer_queries_than_keys() {
    check_against_reference(&[0, 2, 3], &[0, 5, 9], true, 2, 1, 4);
    check_against_reference(&[0, 2, 5], &[0, 5, 6], false, 2, 1, 4);
}

#[test]
fn empty_segments_do_no_harm() {
    check_against_reference(&[0, 0, 3, 3], &[0, 0, 3, 3], true, 2, 1, 2);
    check_against_reference(&[0, 0, 3], &[0, 2, 5], true, 2, 1, 2);
}

#[test]
fn one_query_each_has_gradients() {
    check_against_reference(&[0, 1], &[0, 7], true, 4, 2, 5);
    check_against_reference(&[0, 1, 2, 3], &[0, 4, 5, 8], false, 4, 1, 3);
}

/// x in blocks of so many rows, the last one with rows that hold nothing.
fn blocks(x: &Tensor, rows: usize, dtype: DType) -> Vec<Tensor> {
    let (tokens, width) = x.dims2().unwrap();
    let empty = Tensor::full(9f32, (tokens.next_multiple_of(rows) - tokens, width), &Device::Cpu).unwrap();
    let all = Tensor::cat(&[x, &empty], 0).unwrap().to_dtype(dtype).unwrap();
    all.chunk(all.dim(0).unwrap() / rows, 0).unwrap().iter().map(|block| block.copy().unwrap()).collect()
}

#[test]
fn cached_queries_equal_the_last_rows_of_their_whole_sequences() {
    let (heads, kv_heads, head_dim) = (8, 2, 32);
    for dtype in [DType::F32, DType::BF16] {
        // Tokens and queries: one, a few, many, all.
        let sizes = [(70, 1), (33, 5), (3, 3), (150, 40), (64, 64), (200, 16)];
        let sequences: Vec<_> = sizes
            .iter()
            .map(|&(tokens, _)| {
                let [q, k, v] = packed(tokens, heads, kv_heads, head_dim);
                [q, k.to_dtype(dtype).unwrap(), v.to_dtype(dtype).unwrap()].map(|x| x.to_dtype(DType::F32).unwrap())
            })
            .collect();
        let stored: Vec<_> = sequences.iter().map(|[_, k, v]| [blocks(k, 16, dtype), blocks(v, 16, dtype)]).collect();
        let keys = |index: usize| {
            let (tokens, queries) = sizes[index];
            let [k, v] = &stored[index];
            CachedKeys { queries, tokens, k: k.iter().collect(), v: v.iter().collect() }
        };
        let q = |index: usize| sequences[index][0].narrow(0, sizes[index].0 - sizes[index].1, sizes[index].1).unwrap();
        let all: Vec<Tensor> = (0..sizes.len()).map(q).collect();
        let attend =
            |q: &Tensor, keys: &[CachedKeys]| cached_attention(q, keys, [heads, kv_heads], Precision::F32).unwrap();
        for made in
            both_ways(|| attend(&Tensor::cat(&all, 0).unwrap(), &(0..sizes.len()).map(keys).collect::<Vec<_>>()))
        {
            let mut first = 0;
            for (index, &(tokens, queries)) in sizes.iter().enumerate() {
                let [q, k, v] = &sequences[index];
                let whole = attention(q, k, v, &whole(tokens, true), [heads, kv_heads], Precision::F32).unwrap();
                let found = made.narrow(0, first, queries).unwrap();
                first += queries;
                compare("cached", &found, &whole.narrow(0, tokens - queries, queries).unwrap());
            }
        }
        let batch = attend(&Tensor::cat(&all, 0).unwrap(), &(0..sizes.len()).map(keys).collect::<Vec<_>>());
        let alone = attend(&all[1].narrow(0, 4, 1).unwrap(), &[CachedKeys { queries: 1, ..keys(1) }]);
        let bits = |x: Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(bits(batch.narrow(0, 5, 1).unwrap()), bits(alone), "a query's output does not depend on the others");
    }
}

#[test]
fn cached_keys_that_do_not_fit_are_refused() {
    let [q, k, v] = packed(6, 4, 2, 4);
    let refuse = |queries, tokens, k: &Tensor| {
        let keys = CachedKeys { queries, tokens, k: vec![k], v: vec![&v] };
        cached_attention(&q, &[keys], [4, 2], Precision::F32).unwrap_err().to_string()
    };
    assert!(refuse(5, 6, &k).contains("6 queries do not fit"));
    assert!(refuse(6, 7, &k).contains("6 queries do not fit"));
    assert!(refuse(6, 6, &q).contains("6 queries do not fit"));
}

#[test]
fn long_sequences_equal_candles_composite_in_value_and_gradients() {
    for (tokens, causal, head_dim) in [(300, true, 24), (150, false, 80), (1100, true, 16), (130, true, 64)] {
        let (heads, kv_heads) = (4, 2);
        let vars = packed(tokens, heads, kv_heads, head_dim).map(|x| candle_core::Var::from_tensor(&x).unwrap());
        let [q, k, v] = [0, 1, 2].map(|i| vars[i].as_tensor());
        let segments = whole(tokens, causal);
        let c = random(5, tokens * heads * head_dim);
        let c = Tensor::from_vec(c, (tokens, heads * head_dim), &Device::Cpu).unwrap();
        let ours = both_ways(|| {
            let o = attention(q, k, v, &segments, [heads, kv_heads], Precision::F32).unwrap();
            let gradients = attention_backward([q, k, v, &o], &c, &segments, [heads, kv_heads], Precision::F32);
            (o, gradients.unwrap())
        });
        let theirs = composite(q, k, v, causal, heads, kv_heads);
        let their_gradients = (&theirs * &c).unwrap().sum_all().unwrap().backward().unwrap();
        for (o, gradients) in ours {
            compare("value", &o, &theirs);
            for ((name, var), gradient) in ["dq", "dk", "dv"].iter().zip(&vars).zip(&gradients) {
                compare(name, gradient, their_gradients.get(var).unwrap());
            }
        }
    }
}

#[test]
fn sizes_that_do_not_fit_are_refused_with_the_numbers() {
    let [q, k, v] = packed(6, 4, 2, 4);
    let refuse = |segments: Segments, heads, kv_heads| {
        attention(&q, &k, &v, &segments, [heads, kv_heads], Precision::F32).unwrap_err().to_string()
    };
    assert!(refuse(whole(6, true), 3, 2).contains("3 heads over 2 key heads"));
    assert!(refuse(whole(6, true), 4, 0).contains("4 heads over 0 key heads"));
    assert!(refuse(whole(6, true), 4, 4).contains("`k` has shape [6, 8], expected [6, 16]"));
    assert!(refuse(whole(5, true), 4, 2).contains("rise from 0 to 6, but are [0, 5]"));
    let falling = Segments { q: [0, 4, 2, 6].into(), k: [0, 6].into(), causal: true };
    assert!(refuse(falling, 4, 2).contains("[0, 4, 2, 6]"));
    let uneven = Segments { q: [0, 3, 6].into(), k: [0, 1, 6].into(), causal: true };
    assert!(refuse(uneven, 4, 2).contains("segment 0 has 3 queries for only 1 keys"));
    let unequal = Segments { q: [0, 3, 6].into(), k: [0, 6].into(), causal: false };
    assert!(refuse(unequal, 4, 2).contains("2 segments of queries, but 1 of keys"));
    let empty = Segments { q: [].into(), k: [].into(), causal: false };
    assert!(refuse(empty, 4, 2).contains("rise from 0 to 6, but are []"));
}

/// One sequence that attends to itself.
fn whole(tokens: usize, causal: bool) -> Segments {
    let bounds: Arc<[usize]> = [0, tokens].into();
    Segments { q: bounds.clone(), k: bounds, causal }
}

fn packed(tokens: usize, heads: usize, kv_heads: usize, head_dim: usize) -> [Tensor; 3] {
    [(1, heads), (2, kv_heads), (3, kv_heads)].map(|(seed, heads)| {
        let values = random(seed, tokens * heads * head_dim);
        Tensor::from_vec(values, (tokens, heads * head_dim), &Device::Cpu).unwrap()
    })
}

/// The formula out of candle's differentiable operations.
fn composite(q: &Tensor, k: &Tensor, v: &Tensor, causal: bool, heads: usize, kv_heads: usize) -> Tensor {
    let (tokens, width) = q.dims2().unwrap();
    let head_dim = width / heads;
    let by_head = |x: &Tensor, own: usize| {
        let x = x.reshape((tokens, own, 1, head_dim)).unwrap();
        let x = x.broadcast_as((tokens, own, heads / own, head_dim)).unwrap().contiguous().unwrap();
        x.reshape((tokens, heads, head_dim)).unwrap().transpose(0, 1).unwrap().contiguous().unwrap()
    };
    let (q, k, v) = (by_head(q, heads), by_head(k, kv_heads), by_head(v, kv_heads));
    let scores = (q.matmul(&k.t().unwrap()).unwrap() / (head_dim as f64).sqrt()).unwrap();
    let mask: Vec<f32> =
        (0..tokens * tokens).map(|at| if causal && at % tokens > at / tokens { -1e9 } else { 0.0 }).collect();
    let mask = Tensor::from_vec(mask, (1, tokens, tokens), &Device::Cpu).unwrap();
    let p = candle_nn::ops::softmax(&scores.broadcast_add(&mask).unwrap(), D::Minus1).unwrap();
    p.matmul(&v).unwrap().transpose(0, 1).unwrap().reshape((tokens, width)).unwrap()
}

fn compare(what: &str, ours: &Tensor, theirs: &Tensor) {
    let theirs = theirs.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
    assert_close(what, &ours.flatten_all().unwrap().to_vec1::<f32>().unwrap(), &theirs);
}
