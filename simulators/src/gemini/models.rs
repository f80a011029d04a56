//! The models, their prices and how many tokens things take: the simulator's own copy, on purpose.
//!
//! The fleet has a price table too. If both read one file, an error in it would never show; here the invoice and the
//! ledger agree only if both got it right. Prices in micro-dollars per million tokens.

/// What a model makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Makes {
    Images,
    Films,
}

/// A model that is alive.
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) name: &'static str,
    pub(super) makes: Makes,
    input_price: u64,
    text_price: u64,
    media_price: u64,
}

const MODELS: &[Model] = &[
    model("gemini-3.1-flash-image", Makes::Images, 500_000, 3_000_000, 60_000_000),
    model("gemini-3-pro-image", Makes::Images, 2_000_000, 12_000_000, 120_000_000),
    model("gemini-3.1-flash-lite-image", Makes::Images, 250_000, 1_500_000, 30_000_000),
    model("gemini-omni-1.1-flash", Makes::Films, 1_500_000, 9_000_000, 17_500_000),
    model("gemini-omni-1.2-flash", Makes::Films, 1_050_000, 6_300_000, 12_250_000),
];

const RETIRED: &[&str] = &[
    "gemini-2.5-flash-image",
    "gemini-3.1-flash-image-preview",
    "gemini-3-pro-image-preview",
    "imagen-3.0-generate-002",
    "imagen-4.0-generate-001",
    "imagen-4.0-ultra-generate-001",
    "imagen-4.0-fast-generate-001",
    "veo-2.0-generate-001",
    "veo-3.0-generate-001",
    "veo-3.1-generate-preview",
    "veo-3.1-fast-generate-preview",
    "veo-3.1-lite-generate-preview",
];

const fn model(
    name: &'static str,
    makes: Makes,
    input_price: u64,
    text_price: u64,
    media_price: u64,
) -> Model {
    Model { name, makes, input_price, text_price, media_price }
}

pub(super) fn all() -> &'static [Model] {
    MODELS
}

pub(super) fn find(name: &str) -> Option<&'static Model> {
    MODELS.iter().find(|model| model.name == name)
}

pub(super) fn is_retired(name: &str) -> bool {
    RETIRED.contains(&name)
}

/// Tokens of one answer, by class.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(super) input: u64,
    pub(super) text: u64,
    pub(super) thoughts: u64,
    pub(super) media: u64,
}

impl Tokens {
    pub(super) fn total(self) -> u64 {
        self.input + self.text + self.thoughts + self.media
    }
}

impl Model {
    /// The bill of one answer: all classes added, rounded up once to whole micro-dollars.
    pub(super) fn price(&self, tokens: Tokens) -> u64 {
        let text = (tokens.text + tokens.thoughts) * self.text_price;
        (tokens.input * self.input_price + text + tokens.media * self.media_price).div_ceil(1_000_000)
    }

    /// Tokens of one picture of this size.
    pub(super) fn image_tokens(&self, size: &str) -> u64 {
        match (self.name, size) {
            ("gemini-3.1-flash-image", "512") => 747,
            ("gemini-3.1-flash-image", "2K") => 1680,
            ("gemini-3.1-flash-image", "4K") => 2520,
            ("gemini-3-pro-image", "4K") => 2000,
            _ => 1120,
        }
    }

    pub(super) fn offers_size(&self, size: &str) -> bool {
        match self.name {
            "gemini-3.1-flash-image" => matches!(size, "512" | "1K" | "2K" | "4K"),
            "gemini-3-pro-image" => matches!(size, "1K" | "2K" | "4K"),
            _ => size == "1K",
        }
    }

    /// Longest film in seconds.
    pub(super) fn max_seconds(&self) -> u64 {
        if self.name == "gemini-omni-1.2-flash" { 15 } else { 10 }
    }
}

/// Tokens of one second of film, and its height.
pub(super) fn resolution(name: &str) -> Option<(u64, u32)> {
    match name {
        "360p" => Some((1931, 360)),
        "720p" => Some((5792, 720)),
        "1080p" => Some((8688, 1080)),
        "4k" => Some((17_376, 2160)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_prices_come_out() {
        let flash = find("gemini-3.1-flash-image").unwrap();
        let image = |size: &str| flash.price(Tokens { media: flash.image_tokens(size), ..Tokens::default() });
        assert_eq!([image("512"), image("1K"), image("2K"), image("4K")], [44_820, 67_200, 100_800, 151_200]);
        let omni = find("gemini-omni-1.1-flash").unwrap();
        assert_eq!(omni.price(Tokens { media: 5792, ..Tokens::default() }), 101_360);
        // 12 × 0.5 + 90 × 3 + 1120 × 60 = 67 476 exactly; one token more of input is half a micro-dollar: up.
        let usage = Tokens { input: 12, text: 0, thoughts: 90, media: 1120 };
        assert_eq!(flash.price(usage), 67_476);
        assert_eq!(flash.price(Tokens { input: 13, ..usage }), 67_477);
    }
}
