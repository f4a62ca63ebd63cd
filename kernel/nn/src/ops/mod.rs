//! Differentiable operations: each a candle `CustomOp` with its backward pass.
