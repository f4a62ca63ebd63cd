//! Writes the creatures data set: `cargo run --release -p tunebook-data --example creatures -- DIR [COUNT] [SEED]`

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::error::Error;

use tunebook_data::creatures::{Sizes, write_creatures};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("usage: creatures DIR [COUNT] [SEED]")?;
    let count = args.next().map_or(Ok(120), |count| count.parse())?;
    let seed = args.next().map_or(Ok(42), |seed| seed.parse())?;
    write_creatures(dir.as_ref(), count, seed, Sizes::MIXED)?;
    println!("{count} creatures in {dir}");
    Ok(())
}
