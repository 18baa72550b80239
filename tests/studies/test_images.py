from __future__ import annotations

import numpy as np

from litefront.studies.images import in_three_channels, resized


def test_an_image_of_the_same_size_stays_as_it_is() -> None:
    images = np.random.default_rng(0).random((3, 5, 5)).astype(np.float32)
    np.testing.assert_allclose(resized(images, 5), images, rtol=1e-6)


def test_twice_the_size_by_hand() -> None:
    # New centres lie at -1/4, 1/4, 3/4 and 5/4 old pixels; what lies outside takes the edge's value.
    rows = [0.0, 1.0, 3.0, 4.0]
    expected = [[value + column for column in (0.0, 2.0, 6.0, 8.0)] for value in rows]
    np.testing.assert_allclose(resized(np.array([[[0, 8], [4, 12]]]), 4)[0], expected)


def test_images_are_resized_each_for_itself() -> None:
    images = np.random.default_rng(0).random((4, 6, 6))
    each = np.concatenate([resized(image[np.newaxis], 11) for image in images])
    np.testing.assert_allclose(resized(images, 11), each, rtol=1e-6)


def test_three_channels_hold_the_same() -> None:
    images = np.arange(8.0).reshape(2, 2, 2)
    coloured = in_three_channels(images)
    assert coloured.shape == (2, 2, 2, 3)
    assert all(np.array_equal(coloured[..., channel], images) for channel in range(3))
