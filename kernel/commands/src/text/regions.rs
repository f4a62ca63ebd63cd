//! What an answer rests on in its pictures, as text: the strongest regions and where they are.

use tunebook_engine::report::PictureRegions;
use tunebook_engine::report::Region;

use crate::lang::Lang;
use crate::lang::localized;
use crate::localized;
use crate::output::Table;
use crate::page::Page;
use crate::text::table::draw_table;
use crate::text::table::lines;

/// So many regions of a picture are listed.
const LISTED: usize = 5;

/// For each picture its strongest regions, and what their numbers mean.
pub(super) fn regions(pictures: &[PictureRegions], page: Page) -> String {
    let tables = pictures.iter().map(|picture| draw_table(&table(picture, page.lang), page));
    let note = lines(about_regions(page.lang), page);
    tables.chain([note]).collect::<Vec<_>>().join("\n")
}

fn table(picture: &PictureRegions, lang: Lang) -> Table {
    let headers = [
        localized("x in pixels", "x（像素）"),
        localized("y in pixels", "y（像素）"),
        localized("relevance", "相关度"),
        localized("share", "占比"),
    ];
    let total = picture.total().max(f32::MIN_POSITIVE);
    let row = |Region { left, top, right, bottom, relevance }: Region| {
        let share = 100.0 * relevance.abs() / total;
        vec![format!("{left}–{right}"), format!("{top}–{bottom}"), format!("{relevance:+.4}"), format!("{share:.1} %")]
    };
    Table {
        title: regions_title(picture, lang),
        headers: headers.map(|header| header.in_lang(lang)).to_vec(),
        rows: picture.strongest(LISTED).into_iter().map(row).collect(),
        note: String::new(),
    }
}

/// Which picture it is, and into what it is divided.
pub fn regions_title(picture: &PictureRegions, lang: Lang) -> String {
    let (path, columns, rows) = (picture.path.display(), picture.columns, picture.rows);
    localized!(
        lang,
        "the answer and the {columns} × {rows} regions of {path}",
        "回答与 {path} 的 {columns} × {rows} 个区域"
    )
}

/// The strongest regions in a line, for those who do not see the picture.
pub fn regions_named(picture: &PictureRegions, lang: Lang) -> String {
    let named = |Region { left, top, right, bottom, relevance }: Region| {
        format!("x {left}–{right}, y {top}–{bottom}: {relevance:+.3}")
    };
    let named = picture.strongest(LISTED).into_iter().map(named).collect::<Vec<_>>().join("; ");
    localized!(lang, "the strongest regions: {named}", "最强的区域：{named}")
}

/// What the numbers mean, and what they do not.
pub fn about_regions(lang: Lang) -> &'static str {
    localized(
        "relevance: gradient × input of a region's image features, to first order the nats by which the answer's \
         log-probability would fall without them; + speaks for the answer, - against it. A region's features know the \
         whole picture, so this is a hint and no proof.",
        "相关度：区域图像特征的梯度 × 输入，即（一阶近似下）去掉这些特征后回答的对数概率下降多少 nat；+ 支持该回答，- 反对\
         该回答。每个区域的特征都已包含整张图片的信息，所以这只是线索，不是证明。",
    )
    .in_lang(lang)
}
