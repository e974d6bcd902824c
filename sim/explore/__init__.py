"""A local page that answers what-if questions about one scenario: sliders, a preview, then the full run."""
