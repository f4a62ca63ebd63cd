//! A LoRA by itself.

use tunebook_gguf::Metadata;
use tunebook_gguf::Value;

use super::FileType;
use super::GgufFile;
use super::LlamaCppError;
use super::Source;
use super::Values;
use super::text;
use super::whole;
use crate::adapter::Adapter;
use crate::adapter::Lora;
use crate::adapter::Part;
use crate::error::Error;
use crate::error::Result;
use crate::merge::Merge;

/// The LoRA `adapter`, which is not merged in `merge`. A PiSSA becomes the LoRA of twice the rank that does the same.
///
/// llama.cpp scales all layers by `adapter.lora.alpha / rank`. That is the first layer's alpha (with rsLoRA, times √rank);
/// of a layer with another scaling, B is written multiplied by what its own is larger.
///
/// # Errors
/// It is no LoRA, or one that llama.cpp cannot apply.
pub fn adapter<'a>(
    merge: &'a Merge<'a>,
    adapter: &Adapter,
    file_type: FileType,
    general: Metadata,
) -> Result<GgufFile<'a>> {
    let family = merge.net.family;
    check(adapter, |module| family.names.part(module) != Part::LanguageModel).map_err(Error::LlamaCpp)?;
    let alpha = adapter.loras().next().map(own_alpha).transpose()?.unwrap_or(0.0);
    let mut sources = Vec::new();
    for lora in adapter.loras() {
        let Some(name) = text::name(&format!("{}.weight", lora.module), &family.names) else { continue };
        let (a, b) = lora.plain_factors()?;
        let b = (b * (own_alpha(lora)? / alpha))?;
        for (tensor, side) in [(a, "lora_a"), (b, "lora_b")] {
            let (rows, cols) = tensor.dims2()?;
            let values = Values::Own(tensor.flatten_all()?.to_vec1()?);
            let pieces = vec![whole(format!("{name}.{side}"), &[rows, cols], file_type.of_matrix(cols))];
            sources.push(Source { values, pieces });
        }
    }
    let rest =
        vec![("adapter.type".to_string(), "lora".into()), ("adapter.lora.alpha".to_string(), Value::F32(alpha as f32))];
    Ok(GgufFile::new(merge, (family.llama_cpp.architecture, "adapter"), general, rest, sources))
}

/// The alpha that, divided by the rank of the plain factors, is the layer's scaling.
fn own_alpha(lora: &Lora) -> Result<f64> {
    Ok(lora.scaling * lora.plain_factors()?.0.dims2()?.0 as f64)
}

fn check(adapter: &Adapter, sees_pictures: impl Fn(&str) -> bool) -> std::result::Result<(), LlamaCppError> {
    if adapter.module_count() == 0 {
        return Err(LlamaCppError::NoLora);
    }
    if let Some(name) = adapter.copies().next() {
        return Err(LlamaCppError::Copy { name: name.to_string() });
    }
    if adapter.loras().any(|lora| lora.magnitude.is_some()) {
        return Err(LlamaCppError::Dora);
    }
    let pictures: Vec<&str> =
        adapter.loras().map(|lora| lora.module.as_str()).filter(|name| sees_pictures(name)).collect();
    match pictures.first() {
        Some(first) => Err(LlamaCppError::Pictures { count: pictures.len(), first: first.to_string() }),
        None => Ok(()),
    }
}
