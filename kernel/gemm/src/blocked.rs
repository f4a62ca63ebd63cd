//! Matmuls of many rows by vector instructions, on CPUs without tile registers and in f32.
//!
//! A task packs a block of W into a buffer that stays in the L2 cache and multiplies it with packed rows of x, one
//! register tile at a time. For `x Wᵀ` a block is long parts of rows, which memory delivers fast. For `dy W` it is
//! short parts of many rows; their sums pass through memory more often for that. Both operands are packed by one
//! function ([`pack`]). Tasks are as many for one thread as for another.
//!
//! While a block is multiplied, the next one is prefetched a cache line at a time, since a core that asks for many
//! lines at once has to wait for them. Prefetching more often than necessary is slower: one prefetch per four k-steps
//! of a 6 × 16 tile costs 20 % on AVX2. Lines are fetched to the L1 cache, because AMD's CPUs take a hint for the L2
//! cache as one for the L3 cache.
//!
//! A LoRA pair is computed on the way. x is packed once: it gives h first, and then y. A block of W has the adapter's
//! part beside it, and one register tile sums both. As a matmul of its own, the 64 columns of a LoRA take as long for
//! writing their sums as for computing them.

use std::mem::MaybeUninit;
use std::ops::Range;

use half::bf16;
use rayon::prelude::*;

use crate::epilogue::Epilogue;
use crate::output::{Order, Output, Part};
use crate::pack::{MAX_RUN, Panels, STAGING, VECTORS, pack, panel_width, strip_width};
use crate::product::{Dims, LoraDown, Product};
use crate::scratch::{Scratch, Staging, uninit};
use crate::simd::{Job, Lane, MAX_LANES, Reads, Simd};
use crate::source::{CACHE_LINE, Factor, Lines, Major, Rows, Source, Stored};

/// The most lanes along the contraction, and the most lanes of W, that a task packs at a time, if the elements of rows
/// are contracted: rows are read whole or in long parts, and take 256 KiB.
const OF_ROWS: [usize; 2] = [1024, 1 << 16];
/// The same if rows are contracted: short parts of each of many rows are read.
const OF_COLUMNS: [usize; 2] = [512, 1 << 17];
/// The most rows of x that are packed at a time: bounds the buffer, and is enough for packing W to cost nothing.
const ROWS: usize = 1024;
/// Splitting rows among tasks means packing W once more; this many rows are worth it.
const ROWS_PER_TASK: usize = 96;
/// Strips of x that are packed together if its rows are contracted: long enough parts of its rows to be read fast.
const STRIPS: usize = 8;
/// Multiplications that other threads need not be woken for.
const ALONE: usize = 1 << 18;
/// So many rows of x are enough to fetch all of the next block of W, a cache line at a time, while this one is
/// multiplied.
const FETCHING_ROWS: usize = 96;
/// The tallest register tile.
const MAX_HEIGHT: usize = 12;

/// Computes a matmul. b's factor is major as w is; x, h and the a of its LoRA pair are read as b is.
pub(crate) fn multiply<'a, V, W, B>(simd: V, mut product: Product<'a>, w: Factor<W>, b: B)
where
    W: Source,
    B: Source + From<Stored<'a, f32>>,
    V: Reads<W::Elem> + Reads<B::Elem> + Reads<bf16>,
{
    let mut lora_down = product.lora_down.take();
    let Dims { rows, width, depth, rank } = product.dims;
    let lanes = [depth, rank].map(|depth| depth.div_ceil(V::Lane::DEPTH).next_multiple_of(V::LANES));
    let strips = Strips { len: strip_width::<V>() * (lanes[0] + lanes[1]), lanes };
    let major = product.x.major;
    let block = rows.div_ceil(rows.div_ceil(ROWS)).next_multiple_of(V::ROWS);
    let mut packed = Scratch::<V::Lane>::new(block.min(rows).div_ceil(V::ROWS) * strips.len);
    for first in (0..rows).step_by(block) {
        let rows = first..rows.min(first + block);
        let alone = !product.threads || rows.len() * width * (depth + rank) <= ALONE;
        let packed = &mut packed[..rows.len().div_ceil(V::ROWS) * strips.len];
        let mut packed = PackedRows { packed, strips, rows: rows.len(), alone };
        match product.x.source {
            Rows::F32(x) => packed.pack(simd, Factor { source: B::from(x), major }, rows.clone(), Columns::X(depth)),
            Rows::Bf16(x) => packed.pack(simd, Factor { source: x, major }, rows.clone(), Columns::X(depth)),
        }
        let h = match lora_down.take() {
            None => product.h.rows_from(rows.start),
            Some(LoraDown { a, scaling, h }) => {
                let (h, later) = h.split_at_mut(rows.len() * rank);
                lora_down = Some(LoraDown { a, scaling, h: later });
                let of_h = Product {
                    x: product.x,
                    h: Stored::default(),
                    lora_down: None,
                    dims: Dims { rows: rows.len(), width: rank, depth, rank: 0 },
                    y: Output::new(uninit(h), rows.len(), rank, rank),
                    epilogue: Epilogue { alpha: scaling, bias: None, accumulate: false },
                    precision: product.precision,
                    threads: product.threads,
                };
                let a = Factor { source: B::from(a), major: w.major };
                packed.multiply(simd, &of_h, a, B::from(Stored::default()), 0);
                Stored { data: &*h, stride: rank }
            }
        };
        if rank > 0 {
            let h = Factor { source: B::from(h), major: Major::K };
            packed.pack(simd, h, 0..rows.len(), Columns::H(rank));
        }
        packed.multiply(simd, &product, w, b, rows.start);
    }
}

/// The output cut into regions of about equal size, neighbours along a row first.
struct Tasks {
    rows: usize,
    width: usize,
    across: usize,
    down: usize,
}

impl Tasks {
    /// Several for each thread if there is work enough, and as many for one as for the other.
    fn new<V: Simd>(rows: usize, width: usize, columns: usize, threads: usize) -> Self {
        let panels = width.div_ceil(panel_width::<V>());
        let least = panels.div_ceil((columns / panel_width::<V>()).clamp(1, MAX_RUN / panel_width::<V>()));
        let across = least.max(3 * threads).next_multiple_of(threads).min(panels);
        let down = (2 * threads).div_ceil(across).min(rows / ROWS_PER_TASK).max(1);
        Tasks { rows, width, across, down }
    }

    /// The rows and columns of a task.
    fn get<V: Simd>(&self, task: usize) -> (Range<usize>, Range<usize>) {
        let cut = |size: usize, unit: usize, parts: usize, part: usize| {
            let end = |part: usize| (part * size.div_ceil(unit) / parts * unit).min(size);
            end(part)..end(part + 1)
        };
        (
            cut(self.rows, V::ROWS, self.down, task / self.across),
            cut(self.width, panel_width::<V>(), self.across, task % self.across),
        )
    }
}

/// How x and h are packed: in strips of as many rows as a register tile is high, each with the lanes of x and, after
/// them, those of h.
#[derive(Clone, Copy)]
struct Strips {
    /// A row's lanes of x and of h.
    lanes: [usize; 2],
    len: usize,
}

/// What is packed to strips, with the elements of a row.
#[derive(Clone, Copy)]
enum Columns {
    X(usize),
    H(usize),
}

/// Some rows of x and h, packed.
struct PackedRows<'a, L> {
    packed: &'a mut [L],
    strips: Strips,
    rows: usize,
    /// Whether no other thread takes a part.
    alone: bool,
}

impl<L: Lane> PackedRows<'_, L> {
    /// Packs `rows` of x or h to the columns of the strips that are theirs.
    fn pack<V, X>(&mut self, simd: V, x: Factor<X>, rows: Range<usize>, columns: Columns)
    where
        X: Source,
        V: Reads<X::Elem> + Simd<Lane = L>,
    {
        let together = if x.major == Major::MN { STRIPS } else { 1 };
        let (first_lane, depth) = match columns {
            Columns::X(depth) => (0, depth),
            Columns::H(rank) => (self.strips.lanes[0], rank),
        };
        let (strip_len, first_lane) = (self.strips.len, first_lane * strip_width::<V>());
        let pack = |(index, to): (usize, &mut [L])| {
            let start = rows.start + index * together * V::ROWS;
            let rows = start..rows.end.min(start + together * V::ROWS);
            simd.run(PackStrips { x, depth, rows, strip_len, to: &mut to[first_lane..] });
        };
        if self.alone {
            self.packed.chunks_mut(together * strip_len).enumerate().for_each(pack);
        } else {
            self.packed.par_chunks_mut(together * strip_len).enumerate().for_each(pack);
        }
    }

    /// Multiplies the rows, which are those of the output from `first_row` on, with w and b.
    fn multiply<V, W, B>(&self, simd: V, product: &Product, w: Factor<W>, b: B, first_row: usize)
    where
        W: Source,
        B: Source,
        V: Reads<W::Elem> + Reads<B::Elem> + Simd<Lane = L>,
    {
        let Dims { width, depth, .. } = product.dims;
        let [longest, most_lanes] = if w.major == Major::K { OF_ROWS } else { OF_COLUMNS };
        // Parts of about equal length, in whole vectors.
        let of_w = depth.div_ceil(L::DEPTH).max(1);
        let depth = of_w.div_ceil(of_w.div_ceil(longest)).next_multiple_of(V::LANES);
        let threads = if self.alone { 1 } else { rayon::current_num_threads() };
        let tasks = Tasks::new::<V>(self.rows, width, most_lanes / depth, threads);
        let (x, strips) = (&*self.packed, self.strips);
        let region = |task: usize| {
            let (rows, columns) = tasks.get::<V>(task);
            simd.run(Region { product, x, strips, w, b, depth, first_row, rows, columns });
        };
        let all = 0..tasks.across * tasks.down;
        if self.alone { all.for_each(region) } else { all.into_par_iter().for_each(region) }
    }
}

/// Packs strips of x or h: as many rows as a register tile is high, or the fewer that are left.
struct PackStrips<'a, X, L> {
    x: Factor<X>,
    depth: usize,
    rows: Range<usize>,
    strip_len: usize,
    to: &'a mut [L],
}

impl<V: Reads<X::Elem>, X: Source> Job<V> for PackStrips<'_, X, V::Lane> {
    #[inline(always)]
    unsafe fn run(self) {
        let panels = Panels { pitch: V::ROWS, width: strip_width::<V>(), len: self.strip_len };
        let mut staging = Staging::new::<X>(STAGING);
        // SAFETY: the caller is within `run`.
        unsafe { pack::<V, X>(&self.x, self.rows, 0..self.depth, self.to, panels, &mut staging) };
    }
}

/// A region of the output, computed by one thread.
struct Region<'a, L, W, B> {
    product: &'a Product<'a>,
    /// Packed x and h.
    x: &'a [L],
    strips: Strips,
    w: Factor<W>,
    b: B,
    /// Lanes along the contraction that are packed at a time.
    depth: usize,
    /// The row of the output that `rows` are counted from.
    first_row: usize,
    rows: Range<usize>,
    columns: Range<usize>,
}

impl<V, W, B> Job<V> for Region<'_, V::Lane, W, B>
where
    W: Source,
    B: Source,
    V: Reads<W::Elem> + Reads<B::Elem>,
{
    #[inline(always)]
    unsafe fn run(self) {
        let Product { y, epilogue, .. } = self.product;
        let rows = self.first_row + self.rows.start..self.first_row + self.rows.end;
        // Sums that do not stay rows of f32 are such first, in the L2 cache.
        let in_place = y.order() == Order::Rows;
        let width = if in_place { 0 } else { self.columns.len().next_multiple_of(panel_width::<V>()) };
        let mut first = Scratch::<f32>::new(self.rows.len() * width);
        let of = Output::new(uninit(&mut first), self.rows.len(), width, width);
        let sums = if in_place {
            Sums { of: y, epilogue: *epilogue, origin: [rows.start, self.columns.start], width: self.columns.len() }
        } else {
            Sums { of: &of, epilogue: Epilogue::PLAIN, origin: [0, 0], width }
        };
        // SAFETY: the caller is within `run`. Tasks have disjoint regions.
        unsafe {
            self.compute::<V>(sums);
            match y.order() {
                Order::Rows => {}
                Order::Columns => {
                    for (place, column) in self.columns.clone().enumerate() {
                        let sums = first.chunks_exact(width).map(|row| row[place]);
                        epilogue.write(true, sums, y.column(column, rows.clone()), column..column + 1);
                    }
                }
                Order::RoundedRows => {
                    for (row, sums) in rows.zip(first.chunks_exact(width)) {
                        epilogue.write_rounded(sums, y.rounded_row(row, self.columns.clone()), self.columns.clone());
                    }
                }
            }
        }
    }
}

/// Panels of w and b, packed.
#[derive(Clone, Copy)]
struct PackedPanels<'a, L> {
    lanes: &'a [L],
    /// Lanes from one panel to the next.
    panel_len: usize,
}

/// Where a region's sums go.
#[derive(Clone, Copy)]
struct Sums<'a> {
    of: &'a Output<'a>,
    epilogue: Epilogue<'a>,
    /// The row and column of the region's first one.
    origin: [usize; 2],
    /// The columns of the region, or as many as its panels have.
    width: usize,
}

impl<L: Lane, W: Source, B: Source> Region<'_, L, W, B> {
    /// Computes the sums.
    ///
    /// # Safety
    /// That of [`Simd`], and nothing else is in use of the places that they go to.
    #[inline(always)]
    unsafe fn compute<V>(&self, sums: Sums<'_>)
    where
        V: Reads<W::Elem> + Reads<B::Elem> + Simd<Lane = L>,
    {
        let Dims { depth, rank, .. } = self.product.dims;
        let [of_x, of_h] = self.strips.lanes;
        let width = panel_width::<V>();
        let panels = Panels { pitch: width, width, len: (self.depth + of_h) * width };
        let mut packed = Scratch::new(self.columns.len().div_ceil(width) * panels.len);
        let (mut staging, mut staging_of_b) = (Staging::new::<W>(STAGING), Staging::new::<B>(STAGING));
        let b = Factor { source: self.b, major: self.w.major };
        let longest = self.depth * L::DEPTH;
        // One part at least, since b goes with the last one.
        for from in (0..depth.max(1)).step_by(longest) {
            let part = from..depth.min(from + longest);
            let (first, mut lanes) = (from / L::DEPTH, part.len().div_ceil(L::DEPTH));
            let is_last = part.end == depth;
            let mut next = self.next(&part, longest);
            // SAFETY: the caller is within `run`.
            unsafe {
                pack::<V, W>(&self.w, self.columns.clone(), part, &mut packed, panels, &mut staging);
                if is_last && rank > 0 {
                    let whole = of_x - first;
                    for panel in packed.chunks_exact_mut(panels.len) {
                        panel[lanes * width..whole * width].fill(L::zeroed());
                    }
                    let packed = &mut packed[whole * width..];
                    pack::<V, B>(&b, self.columns.clone(), 0..rank, packed, panels, &mut staging_of_b);
                    lanes = whole + rank.div_ceil(L::DEPTH);
                }
                let packed = PackedPanels { lanes: &packed, panel_len: panels.len };
                self.multiply_packed::<V>(first, lanes, packed, sums, &mut || next.fetch_next());
            }
        }
    }

    /// What of w this thread will most likely pack after `part`, of at most `longest` elements.
    #[inline(always)]
    fn next(&self, part: &Range<usize>, longest: usize) -> Lines<'_, W> {
        let Dims { width, depth, .. } = self.product.dims;
        let (free, contracted) = if part.end < depth {
            (self.columns.clone(), part.end..depth.min(part.end + longest))
        } else {
            (self.columns.end..width.min(self.columns.end + self.columns.len()), 0..depth.min(longest))
        };
        match self.w.major {
            Major::K => Lines::new(&self.w.source, free, contracted),
            Major::MN => Lines::new(&self.w.source, contracted, free),
        }
    }

    /// Multiplies `lanes` lanes of x, from `first`, with panels that have been packed; calls `meanwhile` every
    /// [`steps`] steps.
    ///
    /// # Safety
    /// That of `compute`.
    #[inline(always)]
    unsafe fn multiply_packed<V: Simd<Lane = L>>(
        &self,
        first: usize,
        lanes: usize,
        packed: PackedPanels<'_, L>,
        Sums { of: y, epilogue, origin, width: columns }: Sums<'_>,
        meanwhile: &mut impl FnMut(),
    ) {
        let width = strip_width::<V>();
        for i in self.rows.clone().step_by(V::ROWS) {
            let height = V::ROWS.min(self.rows.end - i);
            let tile_height = tile_height::<V>(height);
            let x = &self.x[i / V::ROWS * self.strips.len + first * width..][..lanes * width];
            let first_row = origin[0] + i - self.rows.start;
            for (j, panel) in (0..columns).step_by(panel_width::<V>()).zip(packed.lanes.chunks(packed.panel_len)) {
                let rows = first_row..first_row + height;
                let columns = origin[1] + j..origin[1] + columns.min(j + panel_width::<V>());
                let w = &panel[..lanes * panel_width::<V>()];
                let is_whole = height == tile_height && columns.len() == panel_width::<V>();
                let in_place = first == 0 && is_whole && epilogue.is_plain();
                let mut sums = [const { MaybeUninit::uninit() }; MAX_HEIGHT * VECTORS * MAX_LANES];
                let sums_of_rows = Output::new(&mut sums, tile_height, panel_width::<V>(), panel_width::<V>());
                let part = match in_place {
                    true => y.part(rows.clone(), columns.clone()),
                    false => sums_of_rows.part(0..tile_height, 0..panel_width::<V>()),
                };
                // SAFETY: the caller is within `run`, and this task holds one part at a time; the first lanes come
                // before the others.
                unsafe {
                    tile_of_height::<V>(tile_height, x, w, part, meanwhile);
                    if in_place {
                        continue;
                    }
                    let sums = sums[..height * panel_width::<V>()].assume_init_ref();
                    for (row, sums) in rows.zip(sums.chunks_exact(panel_width::<V>())) {
                        let y = y.row(row, columns.clone());
                        epilogue.write(first == 0, sums.iter().copied(), y, columns.clone());
                    }
                }
            }
        }
    }
}

/// The height of the tile that computes so many rows. There are tiles of few heights, since each is compiled for every pair
/// of operands and CPU, which is most of this crate's build time; what one computes of rows that are none is dropped.
const fn tile_height<V: Simd>(rows: usize) -> usize {
    let height = rows.next_power_of_two();
    if height < V::ROWS { height } else { V::ROWS }
}

/// [`tile`] for a height that is known only now; no more heights are compiled than `V` uses.
///
/// # Safety
/// That of [`tile`].
#[inline(always)]
unsafe fn tile_of_height<V: Simd>(
    height: usize,
    x: &[V::Lane],
    w: &[V::Lane],
    sums: Part,
    meanwhile: &mut impl FnMut(),
) {
    macro_rules! tiles {
        ($($height:literal)*) => {
            match height {
                $($height if tile_height::<V>($height) == $height => tile::<V, $height>(x, w, sums, meanwhile),)*
                _ => {}
            }
        };
    }
    // SAFETY: the caller is within `run`.
    unsafe { tiles!(1 2 4 6 8 12) }
}

/// Steps of the register tile to each cache line of W that is fetched: rarely enough that asking for one costs nothing.
const fn steps<V: Simd>() -> usize {
    let bytes_in_a_step = panel_width::<V>() * V::Lane::DEPTH * size_of::<bf16>();
    FETCHING_ROWS / V::ROWS * CACHE_LINE / bytes_in_a_step
}

/// Writes the product of `M` packed rows of x and a panel of W.
///
/// # Safety
/// That of [`Simd`]; `sums` has `M` rows as wide as a panel, of which nothing else is in use.
#[inline(always)]
#[expect(clippy::needless_range_loop, reason = "iterators over `totals` would keep it in memory instead of registers")]
unsafe fn tile<V: Simd, const M: usize>(x: &[V::Lane], w: &[V::Lane], sums: Part, meanwhile: &mut impl FnMut()) {
    // SAFETY: the caller is within `run`.
    unsafe {
        let mut totals = [[V::zero(); VECTORS]; M];
        for (x, w) in x.chunks(steps::<V>() * strip_width::<V>()).zip(w.chunks(steps::<V>() * panel_width::<V>())) {
            meanwhile();
            for (x, w) in x.chunks_exact(strip_width::<V>()).zip(w.chunks_exact(panel_width::<V>())) {
                let w = [V::load(&w[..V::LANES]), V::load(&w[V::LANES..])];
                for (totals, &x) in totals.iter_mut().zip(x) {
                    let x = V::splat(x);
                    for (total, w) in totals.iter_mut().zip(w) {
                        *total = V::dot(*total, x, w);
                    }
                }
            }
        }
        for i in 0..M {
            for v in 0..VECTORS {
                V::store_sums(totals[i][v], sums.vector(i, v * V::LANES, V::LANES));
            }
        }
    }
}
