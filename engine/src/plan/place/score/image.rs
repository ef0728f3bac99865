//! Rather where the image is.

use super::At;

pub(super) fn number(at: &At<'_>) -> i64 {
    let image = at.want.image.as_ref();
    i64::from(image.is_some_and(|image| !at.fleet.slot_at(at.node).images.contains(image)))
}

pub(super) fn words(at: &At<'_>) -> Option<String> {
    (at.want.image.is_some() && number(at) == 0).then(|| "has the image".to_owned())
}
