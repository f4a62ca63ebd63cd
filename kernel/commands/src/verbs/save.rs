//! `save`: writes the adapter.

use tunebook_engine::Session;

use crate::error::Result;
use crate::lang::both;
use crate::output::Output;
use crate::parse;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "save",
    aliases: &[],
    usage: "save FOLDER",
    help: both("write the adapter and the log of its training to a folder", "把适配器和训练日志写到文件夹"),
    details: both(
        "The adapter is one that PEFT and LLaMA-Factory load; `adapter load FOLDER` brings it back.",
        "适配器的格式是 PEFT 和 LLaMA-Factory 能加载的；`adapter load FOLDER` 把它读回来。",
    ),
    examples: &[("save saves/creatures", both("makes the folder where there is none", "文件夹不存在时会新建"))],
    takes: Takes::Words(1, 1),
    options: &[],
    settings: &[],
    complete: |_| Complete::Folders,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Saved(session.save(&parse::path(&args.words[0]))?))
}
