"""Which place of which image each cell of a recorded output stands for."""
