"""Cosines with images of one vector or of several."""

import torch

from mmgrad_explain.metrics.similarities import own_similarities, similarities


def test_the_nearest_of_an_images_vectors_counts():
    queries, gallery = torch.randn(3, 8), torch.randn(5, 4, 8)
    expected = torch.tensor([[max(float(q @ v) for v in image) for image in gallery] for q in queries])
    torch.testing.assert_close(similarities(queries, gallery), expected)
    torch.testing.assert_close(similarities(queries, gallery[:, :1]), similarities(queries, gallery[:, 0]))
    own = gallery.expand(3, -1, -1, -1)
    torch.testing.assert_close(own_similarities(queries, own), expected)
    torch.testing.assert_close(own_similarities(queries, own[:, :, 0]), queries @ gallery[:, 0].T)
