"""Training of the embedded model's second edition: stickers over scenes."""
