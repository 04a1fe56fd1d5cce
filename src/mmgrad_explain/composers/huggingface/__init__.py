"""Image-text models of transformers as they are."""
