"""Methods that change the image and run the model again."""
