"""Vision-language models behind one small interface."""
