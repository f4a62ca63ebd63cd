//! `lora`: a new adapter.

use tunebook_engine::Session;
use tunebook_engine::settings::Group;

use crate::error::Result;
use crate::output::Output;
use crate::parse::Args;
use crate::verb::Complete;
use crate::verb::Stage;
use crate::verb::Takes;
use crate::verb::Verb;

pub static VERB: Verb = Verb {
    name: "lora",
    aliases: &[],
    usage: "lora [NAME] [lora_rank= lora_alpha= lora_dropout= lora_target= use_rslora= use_dora= pissa_init= …]",
    help: "make a new LoRA adapter and turn it on",
    details: "It changes nothing until it is trained. all stands for the linear layers of the language model, and with \
              freeze_vision_tower=false of the vision tower as well. Short names: rank, alpha, dropout, target.",
    examples: &[
        ("lora", "rank 8, alpha 16, all linear layers of the language model"),
        ("lora big rank=64 alpha=128 dropout=0.1", "a larger one called big"),
        ("lora target=q_proj,v_proj", "only two kinds of layers"),
        ("lora freeze_vision_tower=false", "the vision tower, too"),
        ("lora use_dora=true", "as DoRA"),
        ("lora additional_target=merger", "and a copy of the projector"),
    ],
    takes: Takes::Words(0, 1),
    options: &[],
    settings: &[Group::Lora, Group::Method],
    complete: |_| Complete::Nothing,
    run,
};

fn run(session: &mut Session, args: &Args, _: &Stage) -> Result<Output> {
    Ok(Output::Adapter(session.lora(args.word(0))?))
}
