//! The report of a loaded model, in words.

use tunebook_engine::report::LoadReport;
use tunebook_engine::settings::QuantizationBit;

use crate::lang::Lang;
use crate::lang::Localized;
use crate::lang::localized;
use crate::localized;
use crate::quantities::seconds;
use crate::quantities::thousands;

/// The model, where it computes and what of its files is unusual.
pub(super) fn loaded(report: &LoadReport, lang: Lang) -> String {
    let LoadReport { architecture, name, stored_dtype, dtype, text_layers, vision_layers, .. } = report;
    let (time, quantized) = (seconds(report.elapsed, lang), quantized(report, lang));
    let (parameters, vocabulary) = (thousands(report.parameters), thousands(report.vocabulary));
    let place = place(report, lang);
    let found = localized!(
        lang,
        "{architecture} from {name} in {time}\n{parameters} parameters in {stored_dtype}{quantized}, computing in \
         {dtype}{place}; {text_layers} text layers, {vision_layers} vision layers, vocabulary of {vocabulary} tokens",
        "{architecture}，来自 {name}，用时 {time}\n{parameters} 个参数，以 {stored_dtype} 存储{quantized}，以 {dtype} \
         计算{place}；文本层 {text_layers}，视觉层 {vision_layers}，词表 {vocabulary}"
    );
    found + &unexpected(report, lang)
}

/// What of the files is not as config.json says.
fn unexpected(report: &LoadReport, lang: Lang) -> String {
    const MOST: usize = 6;
    const OWN_HEAD: Localized = localized(
        "\nthe output head is lm_head.weight from the files: it differs from the embedding, although config.json sets \
         tie_word_embeddings",
        "\n输出层用文件中的 lm_head.weight：它与嵌入层不同，尽管 config.json 设了 tie_word_embeddings",
    );
    const FLOAT16: Localized = localized(
        "\nfloat16 is converted to float32 on first use, which takes twice the memory of the files; dtype=bfloat16 \
         takes half of that, but rounds",
        "\nfloat16 在首次使用时转换为 float32，占用的内存是文件的两倍；dtype=bfloat16 只需一半，但会舍入",
    );
    let widened = report.stored_dtype == "float16" && report.dtype == "float32" && report.quantized.is_none();
    let notes = [(widened, FLOAT16), (report.own_head, OWN_HEAD)].into_iter().filter(|(is_so, _)| *is_so);
    let mut text: String = notes.map(|(_, text)| text.in_lang(lang)).collect();
    let (shown, more) = report.unused.split_at(report.unused.len().min(MOST));
    if !shown.is_empty() {
        let names = shown.join(", ");
        text += &localized!(
            lang,
            "\nunused tensors, which this model does not have: {names}",
            "\n未使用的张量（这个模型没有）：\
                                                                                      {names}"
        );
    }
    if !more.is_empty() {
        let more = more.len();
        text += &localized!(lang, " and {more} more", " 等，另有 {more} 种");
    }
    text
}

/// The device that computes, unless it is the CPU.
pub(super) fn place(model: &LoadReport, lang: Lang) -> String {
    model.device.as_ref().map_or_else(String::new, |device| localized!(lang, " on {device}", "（{device}）"))
}

pub(super) fn quantized(model: &LoadReport, lang: Lang) -> String {
    let bits = model.quantized.map(|bits| match bits {
        QuantizationBit::Four => localized(", linear layers in 4 bits (NF4)", "，线性层 4 比特（NF4）"),
        QuantizationBit::Eight => localized(", linear layers in 8 bits (LLM.int8)", "，线性层 8 比特（LLM.int8）"),
    });
    bits.map_or("", |bits| bits.in_lang(lang)).to_string()
}
